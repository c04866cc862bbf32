# SPDX-License-Identifier: Apache-2.0
"""cosign's own key files: a PKCS#8 key in a NaCl secret box, under scrypt of the passphrase.

The body of the PEM block is JSON. As with cosign, three sets of scrypt parameters are read and no
others, since whoever changes a file could ask for any amount of work.
"""

import json
from typing import Final

from countermark.client.keys.pkcs8 import scrypt
from countermark.client.keys.sodium import bindings
from countermark.core.bundle.protojson import (
    parse_object,
    required_bytes,
    required_object,
    required_text,
)
from countermark.core.encoding import to_base64
from countermark.core.errors import AlgorithmRefused, FormatError, SettingsError

LABELS: Final = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
"""The label that is written since cosign 2, and the older one."""
SALT_BYTES: Final = 32
NONCE_BYTES: Final = 24
_COSTS: Final = (2**15, 2**16, 2**17)
_WRITTEN_COST: Final = 2**16
_KDF, _CIPHER = "scrypt", "nacl/secretbox"
_MAX_BODY_BYTES: Final = 32 * 1024
_MAX_SALT_BYTES: Final = 128
_PURPOSE: Final = "a key file of cosign's"


def seal(pkcs8: bytes, passphrase: bytes, *, salt: bytes, nonce: bytes) -> bytes:
    """The body of a key file.

    Args:
        pkcs8: DER PrivateKeyInfo.
        passphrase: may be empty, as with cosign.
        salt: `SALT_BYTES` random bytes.
        nonce: `NONCE_BYTES` random bytes.

    Raises SettingsError if PyNaCl is not installed.
    """
    sodium = bindings(_PURPOSE)
    box = sodium.crypto_secretbox_easy(pkcs8, nonce, scrypt(passphrase, salt, _WRITTEN_COST, 1))
    document = {
        "kdf": {
            "name": _KDF,
            "params": {"N": _WRITTEN_COST, "r": 8, "p": 1},
            "salt": to_base64(salt),
        },
        "cipher": {"name": _CIPHER, "nonce": to_base64(nonce)},
        "ciphertext": to_base64(box),
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def unseal(body: bytes, passphrase: bytes, what: str) -> bytes:
    """The DER PrivateKeyInfo in the body of a key file.

    Raises FormatError, AlgorithmRefused for other algorithms and costs, SettingsError for
    another passphrase (or a damaged file: a secret box does not tell which) or without PyNaCl.
    """
    document = parse_object(body, what, limit=_MAX_BODY_BYTES)
    kdf, cipher = required_object(document, "kdf"), required_object(document, "cipher")
    if (required_text(kdf, "name"), required_text(cipher, "name")) != (_KDF, _CIPHER):
        raise AlgorithmRefused(f"{what} is encrypted with something else than {_KDF} and {_CIPHER}")
    parameters = required_object(kdf, "params")
    cost = parameters.get("N")
    if cost not in _COSTS or (parameters.get("r"), parameters.get("p")) != (8, 1):
        raise AlgorithmRefused(f"{what} asks for scrypt parameters that are not allowed")
    salt = required_bytes(kdf, "salt")
    if len(salt) > _MAX_SALT_BYTES:
        raise FormatError(what, "has a salt that is too long")
    nonce = required_bytes(cipher, "nonce", length=NONCE_BYTES)
    box = required_bytes(document, "ciphertext")
    sodium = bindings(_PURPOSE)
    from nacl.exceptions import CryptoError

    try:
        plain: bytes = sodium.crypto_secretbox_open_easy(
            box, nonce, scrypt(passphrase, salt, cost, 1)
        )
    except CryptoError as error:
        raise SettingsError(f"{what} does not open with the passphrase given") from error
    return plain
