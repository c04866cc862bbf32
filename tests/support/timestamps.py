# SPDX-License-Identifier: Apache-2.0
"""A timestamp authority for tests: a real key under a real chain, and a clock that stands still."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from countermark.drivers.keys.file import FileSigner, PrivateKey

NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)


@dataclass
class StandingClock:
    """A clock that shows `time` until somebody sets it."""

    time: datetime = NOW

    def now_ms(self) -> int:
        return int(self.time.timestamp() * 1000)


class SystemEntropy:
    def bytes(self, count: int) -> bytes:
        return os.urandom(count)


@dataclass(frozen=True)
class Authority:
    """A chain (DER, signing certificate first) and the key of its first certificate."""

    chain: tuple[bytes, bytes]
    signer: FileSigner


def make_authority(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    *,
    critical: bool = True,
    purposes: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.TIME_STAMPING,),
    valid: tuple[datetime, datetime] = (NOW - timedelta(days=30), NOW + timedelta(days=300)),
) -> Authority:
    """A two-certificate chain as `countermark init` makes them."""
    root_key = ec.generate_private_key(ec.SECP384R1())
    leaf_key = key or ec.generate_private_key(ec.SECP256R1())
    root = _certificate("tsa-root", root_key, "tsa-root", root_key, valid, ca=True)
    builder = _builder("tsa", leaf_key, "tsa-root", valid, ca=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=critical)
    leaf = builder.sign(root_key, hashes.SHA384())
    chain = (leaf.public_bytes(Encoding.DER), root.public_bytes(Encoding.DER))
    return Authority(chain, FileSigner(leaf_key))


def _certificate(
    subject: str,
    key: PrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    valid: tuple[datetime, datetime],
    *,
    ca: bool,
) -> x509.Certificate:
    return _builder(subject, key, issuer, valid, ca=ca).sign(issuer_key, hashes.SHA384())


def _builder(
    subject: str, key: PrivateKey, issuer: str, valid: tuple[datetime, datetime], *, ca: bool
) -> x509.CertificateBuilder:
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "countermark tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
