# SPDX-License-Identifier: Apache-2.0
"""The certificate profile: a leaf's DER from its identity, its key and its issuer.

Fulcio's certificate specification and the order of extensions that its real certificates have:
key usage, extended key usage, subject key id, authority key id, SAN, 57264.1.N ascending, and
last the poison (precertificate) or the SCT list (certificate). Everything before the last one
is the same bytes in both, so the SCT over one holds for the other.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from countermark.core.crypto import der
from countermark.core.errors import InvariantBroken
from countermark.core.identity.claims import CertificateIdentity

LIFETIME_S = 600
SERIAL_BYTES = 20
FULCIO_ARC = "1.3.6.1.4.1.57264.1"
_LAST_RAW_EXTENSION = 6  # 1 to 6 hold bare UTF-8, later ones a DER UTF8String

_SIGNATURE_ALGORITHMS = {
    "PKIX_ECDSA_P256_SHA_256": der.sequence(der.oid("1.2.840.10045.4.3.2")),
    "PKIX_ECDSA_P384_SHA_384": der.sequence(der.oid("1.2.840.10045.4.3.3")),
    "PKIX_ECDSA_P521_SHA_512": der.sequence(der.oid("1.2.840.10045.4.3.4")),
    "PKIX_ED25519": der.sequence(der.oid("1.3.101.112")),
}
_RSA_SHA256 = der.sequence(der.oid("1.2.840.113549.1.1.11"), der.NULL_VALUE)

_VERSION_3 = der.encode(der.context(0), der.integer(2))
_EMPTY_SUBJECT = der.sequence()
_EXTENSIONS = der.context(3)
_KEY_USAGE = der.sequence(
    der.oid("2.5.29.15"),
    der.boolean(True),
    der.octet_string(der.bit_string(b"\x80", unused_bits=7)),  # digitalSignature
)
_EXTENDED_KEY_USAGE = der.sequence(
    der.oid("2.5.29.37"),
    der.octet_string(der.sequence(der.oid("1.3.6.1.5.5.7.3.3"))),  # codeSigning
)
_SUBJECT_KEY_ID = der.oid("2.5.29.14")
_AUTHORITY_KEY_ID = der.oid("2.5.29.35")
_SUBJECT_ALT_NAME = der.oid("2.5.29.17")
_NAME_TAGS = {
    "email": der.context(1, constructed=False),
    "uri": der.context(6, constructed=False),
}


@dataclass(frozen=True, slots=True)
class IssuerProfile:
    """What a leaf takes over from the certificate that issues it.

    Attributes:
        name: the issuer's subject Name, DER.
        key_id: its subject key identifier.
        key_details: PublicKeyDetails of its key; decides the signature algorithm.
    """

    name: bytes
    key_id: bytes
    key_details: str


@dataclass(frozen=True, slots=True)
class LeafTemplate:
    """A leaf certificate without its last extension and its signature.

    Attributes:
        head: the encoded fields of the TBSCertificate before the extensions.
        extensions: the encoded extensions but the last.
        signature_algorithm: the encoded AlgorithmIdentifier, for both places it stands in.
    """

    head: bytes
    extensions: bytes
    signature_algorithm: bytes

    @classmethod
    def for_identity(
        cls,
        identity: CertificateIdentity,
        spki: bytes,
        key_id: bytes,
        issuer: IssuerProfile,
        *,
        serial: int,
        not_before_s: int,
        lifetime_s: int = LIFETIME_S,
    ) -> "LeafTemplate":
        """Fill in the profile.

        Args:
            identity: who the certificate names.
            spki: the subject's public key, DER, taken over as it is.
            key_id: its `subject_key_id`.
            issuer: who will sign.
            serial: positive, at most 159 bits; see `serial_from`.
            not_before_s: Unix seconds; no backdating.
            lifetime_s: how long it is valid.
        """
        algorithm = signature_algorithm(issuer.key_details)
        validity = der.sequence(_time(not_before_s), _time(not_before_s + lifetime_s))
        head = b"".join(
            (
                _VERSION_3,
                der.integer(serial),
                algorithm,
                issuer.name,
                validity,
                _EMPTY_SUBJECT,
                spki,
            )
        )
        name = der.encode(_NAME_TAGS[identity.san_type], identity.san_value.encode("ascii"))
        extensions = [
            _KEY_USAGE,
            _EXTENDED_KEY_USAGE,
            der.sequence(_SUBJECT_KEY_ID, der.octet_string(der.octet_string(key_id))),
            _authority_key_id(issuer.key_id),
            # Critical because the subject is empty (RFC 5280 section 4.2.1.6).
            der.sequence(
                _SUBJECT_ALT_NAME, der.boolean(True), der.octet_string(der.sequence(name))
            ),
        ]
        extensions += [_fulcio_extension(number, text) for number, text in identity.extensions]
        return cls(head, b"".join(extensions), algorithm)

    def tbs(self, last_extension: bytes = b"") -> bytes:
        """The TBSCertificate with one more extension at the end: poison or SCT list.

        Without either it is what the CT log records and its SCT signs.
        """
        extensions = der.encode(der.SEQUENCE, self.extensions + last_extension)
        return der.encode(der.SEQUENCE, self.head + der.encode(_EXTENSIONS, extensions))

    def certificate(self, tbs: bytes, signature: bytes) -> bytes:
        """The certificate's DER from one of this template's TBS and the signature over it."""
        return der.sequence(tbs, self.signature_algorithm, der.bit_string(signature))


def serial_from(entropy: bytes) -> int:
    """A serial number of 159 random bits from `SERIAL_BYTES` random bytes."""
    if len(entropy) != SERIAL_BYTES:
        raise InvariantBroken("a serial number needs 20 random bytes")
    return max(1, int.from_bytes(entropy) >> 1)


def subject_key_id(spki: bytes) -> bytes:
    """SHA-1 of the key's bits (RFC 5280 section 4.2.1.2, method 1). Raises FormatError."""
    info = der.decode(spki, "public key", der.SEQUENCE).reader("public key")
    info.read(der.SEQUENCE)
    bits = der.decode_bit_string(info.read(), "public key")
    return hashlib.sha1(bits, usedforsecurity=False).digest()


def signature_algorithm(key_details: str) -> bytes:
    """The AlgorithmIdentifier with which a key of those PublicKeyDetails signs certificates."""
    if key_details.startswith("PKIX_RSA_PKCS1V15_"):
        return _RSA_SHA256
    return _SIGNATURE_ALGORITHMS[key_details]


@lru_cache(maxsize=8)
def _time(unix_s: int) -> bytes:
    return der.x509_time(datetime.fromtimestamp(unix_s, UTC))


@lru_cache(maxsize=16)
def _authority_key_id(key_id: bytes) -> bytes:
    value = der.sequence(der.encode(der.context(0, constructed=False), key_id))
    return der.sequence(_AUTHORITY_KEY_ID, der.octet_string(value))


@lru_cache(maxsize=32)
def _fulcio_oid(number: int) -> bytes:
    return der.oid(f"{FULCIO_ARC}.{number}")


@lru_cache(maxsize=64)
def _fulcio_extension(number: int, text: str) -> bytes:
    value = text.encode("utf-8") if number <= _LAST_RAW_EXTENSION else der.utf8_string(text)
    return der.sequence(_fulcio_oid(number), der.octet_string(value))
