# SPDX-License-Identifier: Apache-2.0
"""Proofs of possession and certification requests that prove something else."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from countermark.core.crypto import der
from countermark.core.wire.fulcio import parse_signing_cert_response
from tests.support.asgi import Reply
from tests.support.authority import (
    CertifyingInstance,
    PrivateKey,
    email_claims,
    github_claims,
    public_pem,
    spki,
)

ANN, EVE = "ann@example.com", "eve@example.com"
SIGNING_CERT = "/api/v2/signingCert"
SHA256 = hashes.SHA256()
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
UNPROVEN = "The signature supplied in the request could not be verified"
NOT_PERMITTED = "signing algorithm not permitted"
KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def instance() -> Iterator[CertifyingInstance]:
    with CertifyingInstance() as running:
        yield running


def post(instance: CertifyingInstance, body: dict[str, Any], who: str = ANN) -> Reply:
    token = instance.email.token(email_claims(who))
    body = {"credentials": {"oidcIdentityToken": token}, **body}
    return instance.browser.post(SIGNING_CERT, json.dumps(body).encode())


def prove(instance: CertifyingInstance, key: PrivateKey, proof: bytes, who: str = ANN) -> Reply:
    request = {
        "publicKey": {"algorithm": "ECDSA", "content": public_pem(key)},
        "proofOfPossession": base64.b64encode(proof).decode(),
    }
    return post(instance, {"publicKeyRequest": request}, who)


def sign(data: bytes, key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    return key.sign(data, ec.ECDSA(SHA256))


def refusal(reply: Reply) -> str:
    assert reply.status == 400, reply.text
    message: str = json.loads(reply.body)["message"]
    return message


def leaf(reply: Reply) -> x509.Certificate:
    assert reply.status == 200, reply.text
    return x509.load_der_x509_certificate(parse_signing_cert_response(reply.body)[0])


@pytest.mark.parametrize(
    "message",
    [
        b"",
        EVE.encode(),
        ANN.upper().encode(),
        ANN.encode() + b"\n",
        ANN.encode() + b"\x00",
        b" " + ANN.encode(),
        ANN.encode("utf-16"),
        b"subject-1",
        b'"ann@example.com"',
        hashlib.sha256(ANN.encode()).digest(),
        hashlib.sha256(ANN.encode()).hexdigest().encode(),
        spki(KEY),
    ],
)
def test_proofs_over_something_else(instance: CertifyingInstance, message: bytes) -> None:
    assert refusal(prove(instance, KEY, sign(message))) == UNPROVEN


def test_a_proof_is_for_one_key_and_one_name(instance: CertifyingInstance) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert refusal(prove(instance, other, sign(ANN.encode()))) == UNPROVEN
    assert refusal(prove(instance, KEY, sign(ANN.encode()), EVE)) == UNPROVEN
    token = instance.email.token(email_claims(ANN))
    assert refusal(prove(instance, KEY, sign(token.encode()))) == UNPROVEN


def test_a_replayed_proof_gives_the_same_name_to_the_same_key(instance: CertifyingInstance) -> None:
    """It is not bound to a token; whoever replays it has a token of that name, and not the key."""
    proof = sign(ANN.encode())
    first, second = (leaf(prove(instance, KEY, proof)) for _ in range(2))
    for certificate in (first, second):
        name = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert name.value.get_values_for_type(x509.RFC822Name) == [ANN]
        assert certificate.public_key() == KEY.public_key()
    assert first.serial_number != second.serial_number


def test_a_workflows_proof_is_over_its_subject(instance: CertifyingInstance) -> None:
    claims = github_claims()
    token = instance.github.token(claims)
    for signed, status in ((claims["job_workflow_ref"], 400), (ANN, 400), (claims["sub"], 200)):
        request = {
            "publicKey": {"content": public_pem(KEY)},
            "proofOfPossession": base64.b64encode(sign(signed.encode())).decode(),
        }
        body = {"credentials": {"oidcIdentityToken": token}, "publicKeyRequest": request}
        reply = instance.browser.post(SIGNING_CERT, json.dumps(body).encode())
        assert reply.status == status


def numbers() -> tuple[int, int]:
    return decode_dss_signature(sign(ANN.encode()))


def test_the_other_signature_of_a_curve_proves_the_same(instance: CertifyingInstance) -> None:
    """(r, n - s) verifies wherever (r, s) does; nothing is counted or looked up by a proof."""
    r, s = numbers()
    certificate = leaf(prove(instance, KEY, encode_dss_signature(r, P256_ORDER - s)))
    assert certificate.public_key() == KEY.public_key()


@pytest.mark.parametrize(
    "bend",
    [
        lambda r, s: encode_dss_signature(0, s),
        lambda r, s: encode_dss_signature(r, 0),
        lambda r, s: encode_dss_signature(0, 0),
        lambda r, s: encode_dss_signature(1, 1),
        lambda r, s: encode_dss_signature(r + P256_ORDER, s),
        lambda r, s: encode_dss_signature(r, s + P256_ORDER),
        lambda r, s: encode_dss_signature(P256_ORDER, s),
        lambda r, s: encode_dss_signature(s, r),
        lambda r, s: der.sequence(der.integer(-r), der.integer(s)),
        lambda r, s: encode_dss_signature(r, s) + b"\x00",
        lambda r, s: der.sequence(der.integer(r), der.integer(s), der.integer(0)),
        lambda r, s: b"\x30\x80" + der.integer(r) + der.integer(s) + b"\x00\x00",
        lambda r, s: b"\x30\x81" + encode_dss_signature(r, s)[1:],
        lambda r, s: r.to_bytes(32) + s.to_bytes(32),
        lambda r, s: b"",
        lambda r, s: b"\x30\x00",
    ],
)
def test_bent_signatures(instance: CertifyingInstance, bend: Callable[[int, int], bytes]) -> None:
    assert refusal(prove(instance, KEY, bend(*numbers()))) == UNPROVEN


def test_hashes_and_paddings(instance: CertifyingInstance) -> None:
    wide = ec.generate_private_key(ec.SECP384R1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    ann = ANN.encode()
    digest = hashlib.sha256(ann).digest()
    pss = padding.PSS(padding.MGF1(SHA256), padding.PSS.DIGEST_LENGTH)
    pkcs1 = padding.PKCS1v15()
    signature = edwards.sign(ann)
    larger = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    cases: list[tuple[PrivateKey, bytes]] = [
        (KEY, KEY.sign(ann, ec.ECDSA(hashes.SHA384()))),
        (KEY, KEY.sign(ann, ec.ECDSA(hashes.SHA1()))),
        (KEY, KEY.sign(digest[::-1], ec.ECDSA(Prehashed(SHA256)))),
        (wide, wide.sign(ann, ec.ECDSA(SHA256))),
        (RSA_KEY, RSA_KEY.sign(ann, pss, SHA256)),
        (RSA_KEY, RSA_KEY.sign(ann, pkcs1, hashes.SHA512())),
        (RSA_KEY, RSA_KEY.sign(ann, pkcs1, hashes.SHA1())),
        (RSA_KEY, RSA_KEY.sign(ann, pkcs1, SHA256)[:-1]),
        (RSA_KEY, b"\x00" + RSA_KEY.sign(ann, pkcs1, SHA256)),
        (RSA_KEY, bytes(256)),
        (RSA_KEY, b"\x00" * 255 + b"\x01"),
        (edwards, edwards.sign(digest)),
        (edwards, signature[:32] + larger.to_bytes(32, "little")),
        (edwards, bytes(64)),
        (edwards, signature + b"\x00"),
    ]
    for key, proof in cases:
        assert refusal(prove(instance, key, proof)) == UNPROVEN
    for key, proof in (
        (wide, wide.sign(ann, ec.ECDSA(hashes.SHA384()))),
        (RSA_KEY, RSA_KEY.sign(ann, pkcs1, SHA256)),
        (edwards, signature),
    ):
        assert leaf(prove(instance, key, proof)).public_key() == key.public_key()


# --- certification requests --------------------------------------------------------------------


def csr(key: Any = KEY, *, name: str = "", ca: bool = False, algorithm: Any = SHA256) -> Any:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
    builder = x509.CertificateSigningRequestBuilder(subject_name=x509.Name(attributes))
    if ca:
        builder = (
            builder.add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(EVE)]), True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), True
            )
            .add_extension(x509.InhibitAnyPolicy(0), True)
            .add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"x" * 3000)
        )
    return builder.sign(key, algorithm)


def request(instance: CertifyingInstance, data: bytes, who: str = ANN, **more: Any) -> Reply:
    encoded = base64.b64encode(data).decode()
    return post(instance, {"certificateSigningRequest": encoded, **more}, who)


def test_nothing_of_a_request_but_its_key_is_used(instance: CertifyingInstance) -> None:
    plain = leaf(request(instance, csr().public_bytes(Encoding.PEM)))
    greedy = leaf(request(instance, csr(name=EVE, ca=True).public_bytes(Encoding.PEM)))
    assert greedy.subject == x509.Name([])
    assert EVE.encode() not in greedy.tbs_certificate_bytes
    assert [e.oid for e in greedy.extensions] == [e.oid for e in plain.extensions]
    for ours, theirs in zip(plain.extensions, greedy.extensions, strict=True):
        if ours.oid != x509.PrecertificateSignedCertificateTimestamps.oid:
            assert ours == theirs


def test_requests_that_prove_nothing(instance: CertifyingInstance) -> None:
    good = der.decode(csr().public_bytes(Encoding.DER), "csr").reader("csr")
    info, algorithm, signature = good.read(), good.read(), good.read()
    other = der.decode(csr(name="x").public_bytes(Encoding.DER), "csr").reader("csr")
    other_info = other.read()
    stranger = spki(ec.generate_private_key(ec.SECP256R1()))
    with_other_key = info.encoded.replace(spki(KEY), stranger)
    rsa_algorithm = der.sequence(der.oid("1.2.840.113549.1.1.11"), der.NULL_VALUE)
    sha384 = der.sequence(der.oid("1.2.840.10045.4.3.3"))
    unknown = der.sequence(der.oid("1.2.3"))
    for parts in (
        (other_info.encoded, algorithm.encoded, signature.encoded),
        (with_other_key, algorithm.encoded, signature.encoded),
        (info.encoded, rsa_algorithm, signature.encoded),
        (info.encoded, sha384, signature.encoded),
        (info.encoded, unknown, signature.encoded),
        (info.encoded, algorithm.encoded, der.bit_string(b"")),
        (info.encoded, algorithm.encoded, der.bit_string(bytes(70))),
    ):
        pem = pem_of(der.sequence(*parts))
        assert refusal(request(instance, pem)) == UNPROVEN
    assert leaf(
        request(instance, pem_of(der.sequence(info.encoded, algorithm.encoded, signature.encoded)))
    )


def pem_of(data: bytes, label: str = "CERTIFICATE REQUEST") -> bytes:
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


def test_requests_that_are_none(instance: CertifyingInstance) -> None:
    good = csr().public_bytes(Encoding.DER)
    unparsable = "The certificate signing request could not be parsed"
    for data in (
        good,  # not PEM
        pem_of(good + b"\x00"),
        pem_of(good[:-1]),
        pem_of(good, "CERTIFICATE"),
        pem_of(good, "PUBLIC KEY"),
        pem_of(spki(KEY)),
        pem_of(b""),
        b"-----BEGIN CERTIFICATE REQUEST-----",
    ):
        assert refusal(request(instance, data)) == unparsable


def test_of_two_requests_the_first_counts(instance: CertifyingInstance) -> None:
    second = ec.generate_private_key(ec.SECP256R1())
    both = csr().public_bytes(Encoding.PEM) + csr(second).public_bytes(Encoding.PEM)
    assert leaf(request(instance, both)).public_key() == KEY.public_key()


def test_a_key_and_a_request_together_are_refused(instance: CertifyingInstance) -> None:
    proof = base64.b64encode(sign(ANN.encode())).decode()
    key = {"publicKey": {"content": public_pem(KEY)}, "proofOfPossession": proof}
    pem = csr(ec.generate_private_key(ec.SECP256R1())).public_bytes(Encoding.PEM)
    both = request(instance, pem, publicKeyRequest=key)
    assert "both a public key and a CSR" in refusal(both)
    twice = post(instance, {"publicKeyRequest": key, "public_key_request": key})
    assert "given twice" in refusal(twice)


def test_weak_hashes_in_a_request(instance: CertifyingInstance) -> None:
    wide = ec.generate_private_key(ec.SECP384R1())
    for made in (
        csr(wide),
        csr(KEY, algorithm=hashes.SHA512()),
        csr(RSA_KEY, algorithm=hashes.SHA512()),
    ):
        assert NOT_PERMITTED in refusal(request(instance, made.public_bytes(Encoding.PEM)))


def test_a_request_is_bound_to_no_name(instance: CertifyingInstance) -> None:
    """As upstream: another's request gives its key one's own name, and nobody the other's name."""
    certificate = leaf(request(instance, csr().public_bytes(Encoding.PEM), EVE))
    name = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert name.value.get_values_for_type(x509.RFC822Name) == [EVE]
    assert certificate.public_key() == KEY.public_key()
