# SPDX-License-Identifier: Apache-2.0
"""Keys of TUF roles: ours behind securesystemslib's interface, foreign ones told apart.

A key id is only a name that metadata gives a key. Two names for one key would let one holder pass
for two, so keys are compared by what they are.
"""

import re
from collections.abc import Iterable
from typing import Final

import countermark.core.light_tuf  # noqa: F401 - before tuf itself

# isort: split
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

# The package documents these names here, and marks none of them as exported for type checkers.
from securesystemslib.signer import (  # type: ignore[attr-defined]
    Key,
    SecretsHandler,
    Signature,
    SSlibKey,
)
from securesystemslib.signer import Signer as ForeignSigner  # type: ignore[attr-defined]

from countermark.core.errors import AlgorithmRefused, FormatError
from countermark.ports.signer import Signer

HOLDER: Final = "x-countermark-holder"
"""Field of a key in a root that says who holds it."""
_HEX_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)


class PortSigner(ForeignSigner):
    """One of our signers as securesystemslib, and so python-tuf, wants them: Ed25519 or ECDSA."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._public_key = tuf_key(signer.public_key.spki)

    @property
    def public_key(self) -> SSlibKey:
        """Its public half with TUF's key id."""
        return self._public_key

    def sign(self, payload: bytes) -> Signature:
        """Sign metadata bytes."""
        return Signature(self._public_key.keyid, self._signer.sign(payload).hex())

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> "PortSigner":
        """Part of the base class; our keys are not found by URI."""
        raise ValueError("Countermark's keys are not found by URI")


def tuf_key(spki: bytes, holder: str = "") -> SSlibKey:
    """A public key as TUF has it. Raises AlgorithmRefused for kinds that TUF clients differ in."""
    key = load_der_public_key(spki)
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey):
        raise AlgorithmRefused("TUF keys have to be Ed25519 or ECDSA")
    made = SSlibKey.from_crypto(key)
    if holder:
        made.unrecognized_fields[HOLDER] = holder
    return made


def spki_of(key: Key) -> bytes:
    """What a key of a root is, whatever it is called. Raises FormatError."""
    value = key.keyval.get("public", "") if isinstance(key.keyval, dict) else ""
    if key.keytype == "ed25519" and isinstance(value, str) and _HEX_KEY.fullmatch(value):
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(value)).public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    try:
        loaded = load_pem_public_key(str(value).encode("ascii"))
    except (ValueError, UnicodeEncodeError) as error:
        raise FormatError("TUF key", f"{key.keyid[:16]} cannot be read") from error
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_distinct(keys: Iterable[Key]) -> None:
    """That no key is there under two ids. Raises FormatError."""
    known: dict[bytes, str] = {}
    for key in keys:
        spki = spki_of(key)
        if spki in known:
            both = f"{known[spki][:16]} and {key.keyid[:16]}"
            raise FormatError("TUF root", f"has one key under two ids, {both}")
        known[spki] = key.keyid


def holder_of(key: Key) -> str:
    """Who is said to hold a key; empty if nobody is."""
    name = key.unrecognized_fields.get(HOLDER, "")
    return name if isinstance(name, str) and name.isprintable() else ""
