# SPDX-License-Identifier: Apache-2.0
"""Signed certificate timestamps (RFC 6962 §3.2–3.3): a CT log's promise to publish.

Covers the structure, the list embedded in certificates, and the bytes a log signs. Extensions
are kept as they are and signed over: static-ct logs put a leaf index there.
"""

from typing import NamedTuple

from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError, SCTInvalid, SignatureInvalid

HASH_SHA256 = 4
SIGNATURE_RSA, SIGNATURE_ECDSA = 1, 3
_KINDS = {SIGNATURE_RSA: "PKIX_RSA_PKCS1V15", SIGNATURE_ECDSA: "PKIX_ECDSA"}
_X509_ENTRY, _PRECERT_ENTRY = b"\x00\x00", b"\x00\x01"
_MAX_UINT16, _MAX_UINT24 = 2**16 - 1, 2**24 - 1
MAX_SCTS = 32


class SignedCertificateTimestamp(NamedTuple):
    """One SCT, not verified.

    Attributes:
        log_id: SHA-256 of the CT log key's SPKI, 32 bytes.
        timestamp_ms: when the log took the certificate in, Unix milliseconds.
        extensions: opaque CtExtensions, at most 65,535 bytes.
        hash_alg: TLS HashAlgorithm; 4 is SHA-256, the only one allowed.
        sig_alg: TLS SignatureAlgorithm; 3 is ECDSA, 1 is RSA.
        signature: DER ECDSA or PKCS#1 v1.5 signature.
    """

    log_id: bytes
    timestamp_ms: int
    extensions: bytes
    hash_alg: int
    sig_alg: int
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> "SignedCertificateTimestamp":
        """Read one SCT that fills the whole buffer; inverse of `serialize`."""
        if len(data) < 47 or data[0] != 0:
            raise FormatError("SCT", "is cut short or not version 1")
        extensions, rest = _take_vector(data[41:])
        if len(rest) < 2:
            raise FormatError("SCT", "is cut short")
        signature, trailing = _take_vector(rest[2:])
        if trailing:
            raise FormatError("SCT", "has trailing bytes")
        timestamp_ms = int.from_bytes(data[33:41])
        return cls(data[1:33], timestamp_ms, extensions, rest[0], rest[1], signature)

    def serialize(self) -> bytes:
        """Encode as a SignedCertificateTimestamp structure."""
        return b"".join(
            (
                b"\x00",
                self.log_id,
                self.timestamp_ms.to_bytes(8),
                _vector(self.extensions),
                bytes((self.hash_alg, self.sig_alg)),
                _vector(self.signature),
            )
        )

    def verify(self, key: PublicKey, message: bytes) -> None:
        """Check the log's signature over `message` (from one of the functions below).

        Whether `key` is a trusted log's is the caller's to know. Raises SCTInvalid.
        """
        kind = _KINDS.get(self.sig_alg, "?")
        if self.hash_alg != HASH_SHA256 or not key.details.startswith(kind):
            raise SCTInvalid("the SCT's signature algorithm is not the log key's")
        try:
            key.verify_with_hash(self.signature, message, "sha256", "SCT signature")
        except SignatureInvalid as error:
            raise SCTInvalid("the SCT's signature does not verify under the log's key") from error


def sct_message_precert(
    timestamp_ms: int, issuer_key_hash: bytes, tbs: bytes, extensions: bytes = b""
) -> bytes:
    """What a log signs for a precertificate.

    Args:
        timestamp_ms: the SCT's time.
        issuer_key_hash: SHA-256 of the SPKI of the certificate that will issue the final one.
        tbs: TBSCertificate without poison and without SCT list.
        extensions: the SCT's extensions.
    """
    return _message(timestamp_ms, _PRECERT_ENTRY + issuer_key_hash, tbs, extensions)


def sct_message_x509(timestamp_ms: int, cert_der: bytes, extensions: bytes = b"") -> bytes:
    """What a log signs for a final certificate (detached SCTs)."""
    return _message(timestamp_ms, _X509_ENTRY, cert_der, extensions)


def parse_sct_list(data: bytes) -> tuple[SignedCertificateTimestamp, ...]:
    """Read a SignedCertificateTimestampList, the content of the embedded OCTET STRING."""
    body, trailing = _take_vector(data)
    if trailing or not body:
        raise FormatError("SCT list", "is empty or has trailing bytes")
    scts: list[SignedCertificateTimestamp] = []
    while body:
        if len(scts) == MAX_SCTS:
            raise FormatError("SCT list", f"holds more than {MAX_SCTS} entries")
        item, body = _take_vector(body)
        scts.append(SignedCertificateTimestamp.parse(item))
    return tuple(scts)


def serialize_sct_list(scts: tuple[SignedCertificateTimestamp, ...]) -> bytes:
    """Encode a SignedCertificateTimestampList; inverse of `parse_sct_list`."""
    return _vector(b"".join(_vector(sct.serialize()) for sct in scts))


def _message(timestamp_ms: int, entry: bytes, certificate: bytes, extensions: bytes) -> bytes:
    if len(certificate) > _MAX_UINT24:
        raise FormatError("certificate", "is too large for a CT log")
    return b"".join(
        (
            b"\x00\x00",  # v1, certificate_timestamp
            timestamp_ms.to_bytes(8),
            entry,
            len(certificate).to_bytes(3),
            certificate,
            _vector(extensions),
        )
    )


def _vector(data: bytes) -> bytes:
    if len(data) > _MAX_UINT16:
        raise FormatError("SCT field", "is longer than 65535 bytes")
    return len(data).to_bytes(2) + data


def _take_vector(data: bytes) -> tuple[bytes, bytes]:
    end = 2 + int.from_bytes(data[:2])
    if len(data) < 2 or len(data) < end:
        raise FormatError("SCT", "is cut short")
    return data[2:end], data[end:]
