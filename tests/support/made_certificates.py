# SPDX-License-Identifier: Apache-2.0
"""Certificates by `cryptography.x509` and Merkle trees by the book, for tests to check against."""

import hashlib
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
CurveKey = ec.EllipticCurvePrivateKey


def authority(
    name: str,
    key: CurveKey,
    issuer: str,
    issuer_key: CurveKey,
    *,
    path_length: int | None = None,
    purpose: x509.ObjectIdentifier | None = None,
    valid: tuple[datetime, datetime] = (NOW - timedelta(days=300), NOW + timedelta(days=300)),
) -> x509.Certificate:
    """A CA certificate."""
    builder = _builder(name, key, issuer, issuer_key, valid)
    builder = builder.add_extension(x509.BasicConstraints(True, path_length), critical=True)
    builder = builder.add_extension(key_usage(ca=True), critical=True)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(issuer_key, hashes.SHA384())


def timestamper(
    name: str,
    key: CurveKey,
    issuer: str,
    issuer_key: CurveKey,
    *,
    critical: bool = True,
    serial: int | None = None,
    valid: tuple[datetime, datetime] = (NOW - timedelta(days=300), NOW + timedelta(days=300)),
) -> x509.Certificate:
    """A timestamp authority's signing certificate."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    builder = _builder(name, key, issuer, issuer_key, valid, serial).add_extension(usage, critical)
    builder = builder.add_extension(key_usage(), critical=True)
    return builder.sign(issuer_key, hashes.SHA384())


def _builder(
    name: str,
    key: CurveKey,
    issuer: str,
    issuer_key: CurveKey,
    valid: tuple[datetime, datetime],
    serial: int | None = None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(common_name(name))
        .issuer_name(common_name(issuer))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(key_identifier(key), critical=False)
        .add_extension(authority_identifier(issuer_key), critical=False)
    )


def key_identifier(key: CurveKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def authority_identifier(key: CurveKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def key_usage(*, ca: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def fulcio(number: int, value: bytes) -> x509.UnrecognizedExtension:
    oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}")
    return x509.UnrecognizedExtension(oid, value)


def utf8(text: str) -> bytes:
    return tlv(0x0C, text.encode())


def tlv(tag: int, content: bytes) -> bytes:
    if len(content) < 128:
        return bytes((tag, len(content))) + content
    size = (len(content).bit_length() + 7) // 8
    return bytes((tag, 128 | size)) + len(content).to_bytes(size) + content


def hash_name(curve: ec.EllipticCurve) -> str:
    return {"secp256r1": "sha256", "secp384r1": "sha384", "secp521r1": "sha512"}[curve.name]


def spki(key: CurveKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_pem(key: CurveKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: CurveKey) -> bytes:
    return hashlib.sha256(spki(key)).digest()


def to_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def canonical(tree: object) -> bytes:
    return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, as it is written there."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root_of(leaves[:k]) + root_of(leaves[k:])).digest()


def path_of(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, as it is written there."""
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if index < k:
        return [*path_of(index, leaves[:k]), root_of(leaves[k:])]
    return [*path_of(index - k, leaves[k:]), root_of(leaves[:k])]
