# SPDX-License-Identifier: Apache-2.0
"""Fulcio's messages in the spellings that real clients send and expect."""

import base64
import json
from typing import Any

import pytest
from cryptography import x509

from countermark.core.errors import FormatError
from countermark.core.wire.fulcio import (
    SigningCertRequest,
    error_body,
    error_message,
    first_pem_block,
    parse_legacy_request,
    parse_signing_cert_request,
    parse_signing_cert_response,
    pem_chain,
    signing_cert_request,
    signing_cert_response,
)
from tests.support.authority import make_chain

PEM = "-----BEGIN PUBLIC KEY-----\nQUJD\n-----END PUBLIC KEY-----\n"
PROOF = b"\xfb\xff\xfe"
EXPECTED = SigningCertRequest("tok", PEM.encode(), PROOF, None)


def parse(value: Any) -> SigningCertRequest:
    return parse_signing_cert_request(json.dumps(value).encode())


def test_what_we_send_is_what_we_read() -> None:
    assert parse_signing_cert_request(signing_cert_request("tok", PEM, PROOF)) == EXPECTED


@pytest.mark.parametrize("proof", ["+//+", "-__-", "+//+\n"])
@pytest.mark.parametrize("algorithm", ["ECDSA", 2, "whatever", None])
def test_spellings_of_one_request(proof: str, algorithm: object) -> None:
    camel = {
        "credentials": {"oidcIdentityToken": "tok"},
        "publicKeyRequest": {
            "publicKey": {"algorithm": algorithm, "content": PEM},
            "proofOfPossession": proof,
        },
        "certificateSigningRequest": None,
    }
    snake = {
        "credentials": {"oidc_identity_token": "tok", "later": 1},
        "public_key_request": {
            "public_key": {"algorithm": algorithm, "content": PEM},
            "proof_of_possession": proof,
        },
        "unknown": [{}],
    }
    assert parse(camel) == parse(snake) == EXPECTED


def test_absent_parts_are_empty() -> None:
    nothing = SigningCertRequest("", b"", b"", None)
    assert parse_signing_cert_request(b"") == parse({}) == nothing
    assert parse({"credentials": None, "publicKeyRequest": {}}) == nothing
    assert parse({"publicKeyRequest": {"publicKey": {}}}) == nothing
    assert parse_legacy_request(b"") == nothing


def test_csr() -> None:
    encoded = base64.b64encode(b"PEM text").decode()
    assert parse({"certificateSigningRequest": encoded}).csr == b"PEM text"
    assert parse_legacy_request(json.dumps({"certificateSigningRequest": encoded}).encode()) == (
        SigningCertRequest("", b"", b"", b"PEM text")
    )


@pytest.mark.parametrize(
    "value",
    [
        [],
        7,
        {"credentials": "tok"},
        {"credentials": {"oidcIdentityToken": 7}},
        {"credentials": {"oidcIdentityToken": "a", "oidc_identity_token": "a"}},
        {"publicKeyRequest": {"proofOfPossession": "***"}},
        {"publicKeyRequest": {}, "certificateSigningRequest": "QUJD"},
        {"certificateSigningRequest": "QUJD", "certificate_signing_request": "QUJD"},
        {"certificateSigningRequest": "Q"},
    ],
)
def test_what_is_no_request(value: object) -> None:
    with pytest.raises(FormatError):
        parse(value)


def test_v1_request_holds_the_key_in_base64() -> None:
    value = {
        "publicKey": {"content": base64.b64encode(PEM.encode()).decode(), "algorithm": "ecdsa"},
        "signedEmailAddress": "+//+",
    }
    found = parse_legacy_request(json.dumps(value).encode())
    assert found == SigningCertRequest("", PEM.encode(), PROOF, None)


def test_response() -> None:
    chain = make_chain().certificates
    data = signing_cert_response(chain)
    assert parse_signing_cert_response(data) == chain
    texts = json.loads(data)["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    for text, der in zip(texts, chain, strict=True):
        assert not text.endswith("\n")
        assert x509.load_pem_x509_certificate(text.encode()) == x509.load_der_x509_certificate(der)
    detached = data.replace(b"EmbeddedSct", b"DetachedSct")
    assert parse_signing_cert_response(detached) == chain


def test_v1_response() -> None:
    chain = make_chain().certificates
    data = pem_chain(chain)
    assert not data.endswith(b"\n")
    assert len(x509.load_pem_x509_certificates(data)) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>429</html>",
        b"{}",
        b'{"signedCertificateEmbeddedSct":{}}',
        b'{"signedCertificateEmbeddedSct":{"chain":{"certificates":[]}}}',
        b'{"signedCertificateEmbeddedSct":{"chain":{"certificates":["x"]}}}',
        json.dumps({"signedCertificateEmbeddedSct": {"chain": {"certificates": [PEM]}}}).encode(),
        json.dumps(
            {"signedCertificateEmbeddedSct": {"chain": {"certificates": ["x"] * 11}}}
        ).encode(),
    ],
)
def test_what_is_no_response(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_signing_cert_response(data)


def test_errors() -> None:
    body = error_body(3, "went wrong")
    assert body == b'{"code":3,"message":"went wrong","details":[]}'
    assert error_message(body) == "went wrong"
    assert error_message(b"<html>") == error_message(b"[]") == ""


def test_first_pem_block_ignores_what_surrounds_it() -> None:
    assert first_pem_block(f"junk\n{PEM}{PEM}".encode(), "key") == ("PUBLIC KEY", b"ABC")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"QUJD",
        b"-----BEGIN X-----\nQUJD\n-----END Y-----\n",
        b"-----BEGIN X-----\n****\n-----END X-----\n",
        b"-----BEGIN X-----" * 3000,
        bytes(64 * 1024 + 1),
    ],
)
def test_what_is_no_pem(data: bytes) -> None:
    with pytest.raises(FormatError):
        first_pem_block(data, "key")
