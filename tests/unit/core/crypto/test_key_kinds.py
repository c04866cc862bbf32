# SPDX-License-Identifier: Apache-2.0
"""Keys of every kind in the registry: what they are called, and how else they may be used."""

import sys
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import asymmetric, hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.bundle.trusted_root import TransparencyLog
from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import AlgorithmRefused, FormatError, SignatureInvalid
from tests.support.every_key import REGISTRY, _rsa, kind_of
from tests.support.forge import EVER
from tests.support.made_certificates import NOW, common_name, to_der

ML_DSA = {"ML_DSA_44": (44, 1312), "ML_DSA_65": (65, 1952), "ML_DSA_87": (87, 2592)}


@pytest.mark.parametrize("details", REGISTRY)
def test_a_trusted_file_may_name_any_use_of_a_key(details: str) -> None:
    kind = kind_of(details)
    log = TransparencyLog("https://log.example", "SHA2_256", kind.spki, details, EVER, b"i" * 32)
    key = log.public_key
    assert (key.details, key.hash_name) == (details, kind.hash_name)
    key.verify(kind.sign(b"message"), b"message")
    with pytest.raises(SignatureInvalid):
        key.verify(kind.sign(b"message"), b"another")
    with pytest.raises(SignatureInvalid):
        key.verify(b"", b"message")
    wrong = log._replace(key_details="PKIX_ECDSA_P256_HMAC_SHA_256")
    with pytest.raises(AlgorithmRefused, match="declared as PKIX_ECDSA_P256_HMAC"):
        _ = wrong.public_key


@pytest.mark.parametrize(
    ("old", "new"),
    [("PKIX_RSA_PKCS1V5", "PKIX_RSA_PKCS1V15_2048_SHA256"),
     ("PKIX_RSA_PSS", "PKIX_RSA_PSS_2048_SHA256")],
)  # fmt: skip
def test_old_names_of_rsa(old: str, new: str) -> None:
    spki = kind_of("PKIX_RSA_PKCS1V15_2048_SHA256").spki
    assert PublicKey.from_spki(spki).used_as(old).details == new
    bare = der.decode_bit_string(_bits(spki), "key")
    log = TransparencyLog(
        "https://log.example", "SHA2_256", bare, old.replace("PKIX", "PKCS1"), EVER, b"i" * 32
    )
    assert log.public_key.details == new


def _bits(spki: bytes) -> der.Element:
    info = der.decode(spki, "key", der.SEQUENCE).reader("key")
    info.read()
    return info.read()


def test_pss_of_any_salt_and_of_no_other_hash() -> None:
    private = _rsa(2048)
    key = kind_of("PKIX_RSA_PSS_2048_SHA256").key.used_as("PKIX_RSA_PSS_2048_SHA256")
    for salt in (0, 20, 32, 222):
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
        key.verify(private.sign(b"message", scheme, hashes.SHA256()), b"message")
    for mask, algorithm in (
        (hashes.SHA256(), hashes.SHA384()),
        (hashes.SHA384(), hashes.SHA256()),
    ):
        scheme = padding.PSS(padding.MGF1(mask), 32)
        with pytest.raises(SignatureInvalid):
            key.verify(private.sign(b"message", scheme, algorithm), b"message")


def pss_spki(parameters: bytes = b"") -> bytes:
    numbers = der.decode_bit_string(_bits(kind_of("PKIX_RSA_PKCS1V15_2048_SHA256").spki), "key")
    kind = der.sequence(der.oid("1.2.840.113549.1.1.10"), parameters)
    return der.sequence(kind, der.bit_string(numbers))


def test_keys_for_pss_alone_are_never_used_otherwise() -> None:
    key = PublicKey.from_spki(pss_spki(), registry=True)
    assert key.details == "PKIX_RSA_PSS_2048_SHA256"
    assert [use.details for use in key.uses] == ["PKIX_RSA_PSS_2048_SHA256"]
    with pytest.raises(AlgorithmRefused):
        key.used_as("PKIX_RSA_PKCS1V15_2048_SHA256")
    with pytest.raises(AlgorithmRefused, match="with parameters"):
        PublicKey.from_spki(pss_spki(der.sequence()), registry=True)
    certificate = Certificate.parse(to_der(_issued_by_rsa()))
    certificate.verify_signature(kind_of("PKIX_RSA_PKCS1V15_2048_SHA256").key)
    with pytest.raises(AlgorithmRefused, match="makes no RSA_PKCS1V15 signatures"):
        certificate.verify_signature(key)


def _issued_by_rsa() -> x509.Certificate:
    return _builder(ec.generate_private_key(ec.SECP256R1()).public_key()).sign(
        _rsa(2048), hashes.SHA256()
    )


def _builder(public_key: Any) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        common_name("ca"), common_name("leaf"), public_key, 7, NOW, NOW.replace(year=2027)
    )


def test_services_take_no_more_than_they_did() -> None:
    """Rekor and Fulcio know neither; their readers ask for the usual kinds only."""
    for spki in (pss_spki(), ml_dsa_spki("ML_DSA_65")):
        with pytest.raises(AlgorithmRefused, match="are not allowed"):
            PublicKey.from_spki(spki)


def ml_dsa_spki(name: str, size: int = 0) -> bytes:
    number = 17 + list(ML_DSA).index(name)
    kind = der.sequence(der.oid(f"2.16.840.1.101.3.4.3.{number}"))
    return der.sequence(kind, der.bit_string(bytes(size or ML_DSA[name][1])))


def ml_dsa(name: str) -> Any:
    module = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    try:
        return getattr(module, f"MLDSA{ML_DSA[name][0]}PrivateKey").generate()
    except UnsupportedAlgorithm:
        pytest.skip("this build of cryptography has no ML-DSA")


@pytest.mark.parametrize("name", ML_DSA)
def test_ml_dsa_where_cryptography_has_it(name: str) -> None:
    private = ml_dsa(name)
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = PublicKey.from_spki(spki, registry=True)
    assert (key.details, key.hash_name) == (name, "")
    signature = private.sign(b"message")
    key.verify(signature, b"message")
    with pytest.raises(SignatureInvalid):
        key.verify(signature, b"another")
    with pytest.raises(AlgorithmRefused, match="check no bare digest"):
        key.verify_digest(signature, bytes(32), "sha256")
    with pytest.raises(FormatError, match="bytes instead of"):
        PublicKey.from_spki(ml_dsa_spki(name, size=100), registry=True)


def test_ml_dsa_where_cryptography_has_it_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older one: said clearly, not a crash."""
    monkeypatch.delattr(asymmetric, "mldsa", raising=False)
    monkeypatch.setitem(sys.modules, f"{asymmetric.__name__}.mldsa", None)
    with pytest.raises(AlgorithmRefused, match="not there in this build of cryptography"):
        PublicKey.from_spki(ml_dsa_spki("ML_DSA_44"), registry=True)


def test_a_certificate_issued_with_ml_dsa() -> None:
    private = ml_dsa("ML_DSA_65")
    leaf = _builder(ec.generate_private_key(ec.SECP256R1()).public_key()).sign(private, None)
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    certificate = Certificate.parse(to_der(leaf))
    certificate.verify_signature(PublicKey.from_spki(spki, registry=True))
    other = kind_of("PKIX_ECDSA_P256_SHA_256").key
    with pytest.raises(AlgorithmRefused, match="makes no ML_DSA_65 signatures"):
        certificate.verify_signature(other)
