# SPDX-License-Identifier: Apache-2.0
"""How Rekor v1 checks signatures: what it takes beyond the one form that verifiers accept.

Failures carry the words of Go's own checks; upstream's tests look for them.
"""

import hashlib
from typing import Final

from countermark.core.crypto import der
from countermark.core.crypto.ed25519ph import verify_ed25519ph
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError, SignatureInvalid
from countermark.core.rekor.entry import EntryRejected

_MAX_P1363_BYTES: Final = 132
_FAILURES: Final = {
    "PKIX_ECDS": "invalid signature when validating ASN.1 encoded signature",
    "PKIX_RSA_": "crypto/rsa: verification error",
}


def verify_signature(key: PublicKey, signature: bytes, digest: bytes, hash_name: str) -> None:
    """Check a signature over data known by its digest.

    ECDSA signatures may be DER or, as WebCrypto makes them, bare r and s. Ed25519 keys make
    Ed25519ph signatures. Raises EntryRejected with the words of Go's checks.
    """
    if key.details == "PKIX_ED25519":
        if not verify_ed25519ph(_ed25519_raw(key), signature, digest):
            raise EntryRejected("ed25519: invalid signature")
        return
    try:
        key.verify_digest(signature, digest, hash_name)
    except SignatureInvalid as error:
        encoded = _ecdsa_as_der(signature) if key.details.startswith("PKIX_ECDSA") else None
        try:
            if encoded is not None:
                key.verify_digest(encoded, digest, hash_name)
                return
        except SignatureInvalid:
            pass
        raise EntryRejected(_FAILURES[key.details[:9]]) from error


def verify_message(key: PublicKey, signature: bytes, message: bytes) -> None:
    """Check a signature over a whole message: SHA-256 whatever the curve, or pure Ed25519."""
    if key.details == "PKIX_ED25519":
        try:
            key.verify(signature, message)
        except SignatureInvalid as error:
            raise EntryRejected("ed25519: invalid signature") from error
        return
    verify_signature(key, signature, hashlib.sha256(message).digest(), "sha256")


def _ecdsa_as_der(signature: bytes) -> bytes | None:
    """DER of a signature that is bare r and s of equal length, None if it cannot be that."""
    size = len(signature) // 2
    if not signature or len(signature) % 2 or len(signature) > _MAX_P1363_BYTES:
        return None
    try:
        numbers = der.decode(signature, "signature", der.SEQUENCE).reader("signature")
        numbers.integer()
        numbers.integer()
        numbers.end()
    except FormatError:
        r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        return der.sequence(der.integer(r), der.integer(s))
    return None


def _ed25519_raw(key: PublicKey) -> bytes:
    return key.spki[-32:]
