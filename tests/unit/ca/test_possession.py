# SPDX-License-Identifier: Apache-2.0
"""Keys and proofs in the forms that clients send; what the API's tests do not reach."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.ca.possession import certifiable_key
from countermark.core.crypto.keys import decode_pem, encode_pem
from countermark.core.errors import AlgorithmRefused, PossessionUnproven, RequestRejected
from countermark.core.wire.fulcio import SigningCertRequest
from tests.support.authority import spki

NAME = "ann@example.com"
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
RSA_PROOF = RSA.sign(NAME.encode(), padding.PKCS1v15(), hashes.SHA256())


def request(key: bytes, proof: bytes = b"") -> SigningCertRequest:
    return SigningCertRequest("", key, proof, None)


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_rsa_keys_under_both_labels(form: PublicFormat) -> None:
    pem = RSA.public_key().public_bytes(Encoding.PEM, form)
    assert certifiable_key(request(pem, RSA_PROOF), NAME).spki == spki(RSA)


def test_pss_is_no_proof() -> None:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    proof = RSA.sign(NAME.encode(), pss, hashes.SHA256())
    with pytest.raises(PossessionUnproven):
        certifiable_key(request(spki(RSA), proof), NAME)


def test_proof_with_another_hash_than_the_curves() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    proof = key.sign(NAME.encode(), ec.ECDSA(hashes.SHA256()))
    with pytest.raises(PossessionUnproven):
        certifiable_key(request(spki(key), proof), NAME)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2304),
        rsa.generate_private_key(65537, 1024),
        rsa.generate_private_key(3, 2048),
        dsa.generate_private_key(1024),
        x25519.X25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256K1()),
    ],
)
def test_keys_that_are_not_certified(
    key: rsa.RSAPrivateKey
    | dsa.DSAPrivateKey
    | x25519.X25519PrivateKey
    | ec.EllipticCurvePrivateKey,
) -> None:
    encoded = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(AlgorithmRefused, match="is insecure"):
        certifiable_key(request(encoded), NAME)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PUBLIC KEY-----\nQUJD\n-----END PUBLIC KEY-----\n",
        spki(P256)[:-1] + b"\x00",  # not on the curve
        spki(P256) + b"\x00",
    ],
)
def test_what_is_no_key(content: bytes) -> None:
    with pytest.raises(RequestRejected, match="could not be parsed"):
        certifiable_key(request(content), NAME)


def csr(label: bytes = b"CERTIFICATE REQUEST") -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = builder.sign(P256, hashes.SHA256()).public_bytes(Encoding.PEM)
    return pem.replace(b"CERTIFICATE REQUEST", label)


@pytest.mark.parametrize("label", [b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"])
def test_csr_under_both_labels(label: bytes) -> None:
    key = certifiable_key(SigningCertRequest("", b"", b"", csr(label)), NAME)
    assert key.spki == spki(P256)


@pytest.mark.parametrize("data", [b"", b"junk", csr(b"CERTIFICATE"), spki(P256)])
def test_what_is_no_csr(data: bytes) -> None:
    with pytest.raises(RequestRejected, match="signing request could not be parsed"):
        certifiable_key(SigningCertRequest("", b"", b"", data), NAME)


def test_csr_signed_by_another_key() -> None:
    _, data = decode_pem(csr().decode(), "csr")
    other = spki(ec.generate_private_key(ec.SECP256R1()))
    forged = encode_pem("CERTIFICATE REQUEST", data.replace(spki(P256), other))
    with pytest.raises(PossessionUnproven):
        certifiable_key(SigningCertRequest("", b"", b"", forged.encode()), NAME)
