# SPDX-License-Identifier: Apache-2.0
"""Certification requests written by `cryptography`."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError, SignatureInvalid
from countermark.core.identity.csr import CertificationRequest
from tests.support.authority import PrivateKey, spki

P256 = ec.generate_private_key(ec.SECP256R1())
KEYS: list[tuple[PrivateKey, hashes.HashAlgorithm | None, str]] = [
    (P256, hashes.SHA256(), "sha256"),
    (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384(), "sha384"),
    (ec.generate_private_key(ec.SECP521R1()), hashes.SHA512(), "sha512"),
    (rsa.generate_private_key(65537, 2048), hashes.SHA256(), "sha256"),
    (ed25519.Ed25519PrivateKey.generate(), None, ""),
]


def request(key: PrivateKey, hashed: hashes.HashAlgorithm | None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("x")]), False)
    return builder.sign(key, hashed).public_bytes(Encoding.DER)  # type: ignore[arg-type]


@pytest.mark.parametrize(("key", "hashed", "name"), KEYS)
def test_every_kind_of_key(key: PrivateKey, hashed: hashes.HashAlgorithm | None, name: str) -> None:
    csr = CertificationRequest.parse(request(key, hashed))
    assert csr.spki == spki(key)
    assert csr.hash_name == name
    csr.verify(PublicKey.from_spki(csr.spki))


def test_signature_of_somebody_else() -> None:
    csr = CertificationRequest.parse(request(P256, hashes.SHA256()))
    other = PublicKey.from_spki(spki(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(SignatureInvalid):
        csr.verify(other)
    with pytest.raises(SignatureInvalid, match="not one of the key's"):
        csr.verify(PublicKey.from_spki(spki(KEYS[3][0])))


def rebuilt(version: int = 0, *, attributes: bool = True, algorithm: str = "") -> bytes:
    key = spki(P256)
    parts = [der.integer(version), der.sequence(), key]
    if attributes:
        parts.append(der.encode(der.context(0), b""))
    oid = der.oid(algorithm or "1.2.840.10045.4.3.2")
    return der.sequence(der.sequence(*parts), der.sequence(oid), der.bit_string(b"sig"))


def test_attributes_may_be_missing() -> None:
    assert CertificationRequest.parse(rebuilt(attributes=False)).spki == spki(P256)


def test_unknown_signature_algorithm_proves_nothing() -> None:
    csr = CertificationRequest.parse(rebuilt(algorithm="1.2.840.10045.4.1"))  # SHA-1
    assert csr.hash_name == ""
    with pytest.raises(SignatureInvalid):
        csr.verify(PublicKey.from_spki(csr.spki))


@pytest.mark.parametrize(
    "data", [b"", b"\x30\x00", rebuilt(version=1), rebuilt() + b"\x00", bytes(65537)]
)
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(FormatError):
        CertificationRequest.parse(data)
