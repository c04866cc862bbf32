# SPDX-License-Identifier: Apache-2.0
"""Fulcio's messages: any bytes are a message or a FormatError; ours come back as they were."""

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.crypto.keys import encode_pem
from countermark.core.errors import FormatError
from countermark.core.wire import fulcio

PARSERS: list[Callable[[bytes], object]] = [
    fulcio.parse_signing_cert_request,
    fulcio.parse_legacy_request,
    fulcio.parse_signing_cert_response,
    lambda data: fulcio.first_pem_block(data, "x"),
]
NAMES = st.sampled_from(
    [
        "credentials",
        "oidcIdentityToken",
        "publicKeyRequest",
        "public_key_request",
        "publicKey",
        "content",
        "proofOfPossession",
        "certificateSigningRequest",
        "signedEmailAddress",
        "signedCertificateEmbeddedSct",
        "chain",
        "certificates",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just("QUJD"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=200))
def test_any_bytes(parse: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(FormatError):
        parse(data)


@pytest.mark.parametrize("parse", PARSERS[:3])
@given(value=st.dictionaries(NAMES, JSON, max_size=4))
def test_any_json(parse: Callable[[bytes], object], value: object) -> None:
    with contextlib.suppress(FormatError):
        parse(json.dumps(value).encode())


@pytest.mark.parametrize("parse", PARSERS[:3])
@pytest.mark.parametrize(
    "data", [b'{"credentials":{"oidcIdentityToken":"\\ud800"}}', b"[" * 50_000, b"\xed\xa0\x80"]
)
def test_awkward_json(parse: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(FormatError):
        parse(data)


@given(st.text(), st.text(), st.binary())
def test_requests_come_back(token: str, pem: str, proof: bytes) -> None:
    request = fulcio.parse_signing_cert_request(fulcio.signing_cert_request(token, pem, proof))
    assert request == fulcio.SigningCertRequest(token, pem.encode(), proof, None)


@given(st.lists(st.binary(min_size=1), min_size=1, max_size=10))
def test_responses_come_back(chain: list[bytes]) -> None:
    data = fulcio.signing_cert_response(chain)
    assert fulcio.parse_signing_cert_response(data) == tuple(chain)


@given(
    st.binary(min_size=1),
    st.text(st.characters(exclude_characters="-", codec="utf-8"), max_size=20),
)
def test_pem_is_found_in_what_surrounds_it(content: bytes, junk: str) -> None:
    block = encode_pem("PUBLIC KEY", content)
    assert fulcio.first_pem_block((junk + block + junk).encode(), "x") == ("PUBLIC KEY", content)


@given(st.binary(max_size=100), st.text(max_size=50))
def test_error_bodies(data: bytes, message: str) -> None:
    fulcio.error_message(data)
    assert fulcio.error_message(fulcio.error_body(3, message)) == message
