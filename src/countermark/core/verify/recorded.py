# SPDX-License-Identifier: Apache-2.0
"""What a log entry must record, and comparing its parts with a bundle's."""

import hashlib
from base64 import b64encode
from typing import NamedTuple

from countermark.core.bundle.bundle import MessageSignature
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks
from countermark.core.encoding import from_base64, from_utf8
from countermark.core.errors import InclusionInvalid
from countermark.core.intoto.envelope import Envelope
from countermark.core.verify.artifact import Artifact


class Signed(NamedTuple):
    """What a bundle claims, to be found again in its log entry.

    Attributes:
        content: signature or envelope.
        signature: the raw signature bytes of either.
        certificate: the signer's, None for a managed key.
        key: the signer's.
        artifact: what was signed, or what the envelope's statement is about.
    """

    content: MessageSignature | Envelope
    signature: bytes
    certificate: Certificate | None
    key: PublicKey
    artifact: Artifact


def check_signature(encoded: str, signed: Signed, expected: bytes = b"") -> None:
    """Compare a signature in base64 with the bundle's, or with `expected`, its base64."""
    ours = (expected or b64encode(signed.signature)).decode("ascii")
    if encoded != ours:
        raise InclusionInvalid(
            "the log entry records another signature",
            found=f"signature {encoded[:100]} in the entry",
            expected=f"signature {ours[:100]}",
        )


def check_verifier(encoded: str, signed: Signed) -> None:
    """Compare a PEM in base64 with the bundle's certificate or key."""
    what = "log entry's verifier"
    pem = from_utf8(from_base64(encoded, what), what)
    label, data = decode_pem_blocks(pem, what)[0]
    if signed.certificate is not None:
        expected = ("CERTIFICATE", signed.certificate.der)
    else:
        expected = ("PUBLIC KEY", signed.key.spki)
    if (label, data) != expected:
        digest = hashlib.sha256(data).hexdigest()
        raise InclusionInvalid(
            "the log entry records another signer",
            found=f"{label.lower()} sha256:{digest} in the entry",
            expected=signer_words(signed),
        )


def signer_words(signed: Signed) -> str:
    """The bundle's certificate or key by its hash."""
    if signed.certificate is not None:
        return f"certificate sha256:{hashlib.sha256(signed.certificate.der).hexdigest()}"
    return f"public key sha256:{signed.key.key_id.hex()}"
