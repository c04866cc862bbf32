# SPDX-License-Identifier: Apache-2.0
"""Tokens, login requests and OpenID Connect documents: round trips, and garbage."""

import contextlib
import json
import string
from urllib.parse import parse_qsl, urlencode, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import CountermarkError, FormatError, RequestRejected
from countermark.core.identity.jws import KeySet
from countermark.core.identity.token import (
    check_claims,
    from_base64url,
    message_to_sign,
    parse_token,
    subject_to_sign,
    to_base64url,
    with_signature,
)
from countermark.core.wire.oauth import (
    OUT_OF_BAND,
    AuthorizationRequest,
    CodeExchange,
    code_challenge,
    redirect_origin,
)
from countermark.core.wire.oidc import (
    Discovery,
    LocalTokenRequest,
    TokenFault,
    TokenReply,
)
from countermark.oidc.keeper import check_email

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(["iss", "aud", "exp", "nbf", "sub", "email", "email_verified", "x"])
CLAIMS = st.dictionaries(NAMES, JSON)
UNRESERVED = string.ascii_letters + string.digits + "-._~"
VERIFIERS = st.text(UNRESERVED, min_size=43, max_size=128)
TEXT = st.text(max_size=60)


@given(CLAIMS, st.text(max_size=20), st.binary(min_size=1, max_size=64))
def test_token_round_trip(claims: dict[str, object], key_id: str, signature: bytes) -> None:
    message = message_to_sign(claims, algorithm="RS256", key_id=key_id)
    parsed = parse_token(with_signature(message, signature))
    assert parsed.claims == claims
    assert parsed.header["kid"] == key_id


@given(st.binary(max_size=60))
def test_base64url_round_trip(data: bytes) -> None:
    assert from_base64url(to_base64url(data), "part") == data


@given(st.text("ABab01-_+/=é. ", max_size=12))
def test_base64url_is_canonical(text: str) -> None:
    with contextlib.suppress(CountermarkError):
        assert to_base64url(from_base64url(text, "part")) == text


@given(st.text(max_size=200) | st.text(UNRESERVED, max_size=200))
def test_garbage_tokens(text: str) -> None:
    with contextlib.suppress(CountermarkError):
        parse_token(text)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(min_size=1, max_size=9))
def test_garbage_inside_tokens(header: bytes, claims: bytes, signature: bytes) -> None:
    with contextlib.suppress(CountermarkError):
        parsed = parse_token(".".join(map(to_base64url, (header, claims, signature))))
        _ = parsed.issuer


@given(CLAIMS | st.dictionaries(NAMES, st.floats()))
def test_odd_claims(claims: dict[str, object]) -> None:
    with contextlib.suppress(CountermarkError):
        check_claims(claims, audience="sigstore", now_s=1e9)
        assert "sigstore" in claims["aud"]  # type: ignore[operator]
    with contextlib.suppress(CountermarkError):
        assert subject_to_sign(claims) in (claims.get("email"), claims.get("sub"))


JWK = st.dictionaries(
    st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "use", "alg", "key_ops"]),
    st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig", "RS256", "k"]) | JSON,
)


@given(st.binary(max_size=100) | st.lists(JWK, max_size=3).map(lambda k: _encode({"keys": k})))
def test_garbage_key_sets(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        KeySet.parse(data)


def _encode(value: object) -> bytes:
    return json.dumps(value).encode()


@st.composite
def redirects(draw: st.DrawFn) -> str:
    host = draw(st.sampled_from(["localhost", "127.0.0.1", "[::1]"]))
    port = draw(st.just("") | st.integers(1, 65535).map(lambda number: f":{number}"))
    path = draw(st.just("") | st.text(UNRESERVED + "/", max_size=20).map(lambda text: f"/{text}"))
    return f"http://{host}{port}{path}"


@given(redirects())
def test_loopback_redirects_are_read_as_urllib_reads_them(uri: str) -> None:
    parts = urlsplit(uri)
    assert redirect_origin(uri) == f"{parts.scheme}://{parts.netloc}"


@given(
    st.lists(
        st.sampled_from(
            ["http", "https", ":", "/", "//", "localhost", "127.0.0.1", "[::1]", "@", "evil.org",
             "\\", "?", "#", "%", "80", "0", "\t", "\n", "\u3002", OUT_OF_BAND]
        ),
        max_size=12,
    ).map("".join)
)  # fmt: skip
def test_whatever_passes_leads_to_this_machine(uri: str) -> None:
    with contextlib.suppress(FormatError):
        if redirect_origin(uri):
            parts = urlsplit(uri)
            assert parts.scheme == "http"
            assert parts.hostname in ("localhost", "127.0.0.1", "::1")
            assert (parts.username, parts.query, parts.fragment) == (None, "", "")
        else:
            assert uri == OUT_OF_BAND


@given(redirects() | st.just(OUT_OF_BAND), VERIFIERS, TEXT, TEXT, TEXT)
def test_login_request_round_trip(
    redirect: str, verifier: str, state: str, nonce: str, hint: str
) -> None:
    challenge = code_challenge(verifier)
    asked = AuthorizationRequest("sigstore", redirect, challenge, state, nonce, hint)
    query = urlencode(asked.to_parameters())
    received = dict(parse_qsl(query, keep_blank_values=True))
    assert AuthorizationRequest.from_parameters(received) == asked


@given(redirects(), VERIFIERS, st.text(UNRESERVED, min_size=1, max_size=128))
def test_exchange_round_trip(redirect: str, verifier: str, code: str) -> None:
    wanted = CodeExchange(code, redirect, verifier)
    assert CodeExchange.from_parameters(wanted.to_parameters()) == wanted


PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["client_id", "redirect_uri", "response_type", "scope", "code_challenge", "code",
         "code_challenge_method", "prompt", "state", "grant_type", "code_verifier", "other"]
    ),
    st.sampled_from(
        ["sigstore", "code", "openid", "S256", "none", OUT_OF_BAND, "http://localhost/", "A" * 43,
         "authorization_code", ""]
    ) | TEXT,
)  # fmt: skip


@given(PARAMETERS)
def test_garbage_login_requests(parameters: dict[str, str]) -> None:
    for read in (AuthorizationRequest.from_parameters, CodeExchange.from_parameters):
        with contextlib.suppress(FormatError, RequestRejected):
            read(parameters)


@given(st.builds(Discovery, issuer=TEXT, jwks_uri=TEXT, scopes_supported=st.just(("a", "b"))))
def test_discovery_round_trip(document: Discovery) -> None:
    assert Discovery.parse(document.serialize()) == document


@given(st.builds(TokenReply, id_token=TEXT, access_token=TEXT, expires_in=st.integers(0, 9999)))
def test_token_reply_round_trip(reply: TokenReply) -> None:
    assert TokenReply.parse(reply.serialize()) == reply


@given(st.binary(max_size=80) | JSON.map(_encode))
def test_garbage_documents(data: bytes) -> None:
    for kind in (Discovery, TokenReply, TokenFault, LocalTokenRequest):
        with contextlib.suppress(FormatError):
            kind.parse(data)


@given(st.text(string.ascii_letters + "@.-+ \u00e9\n", max_size=300))
def test_whatever_address_passes_is_plain(address: str) -> None:
    with contextlib.suppress(RequestRejected):
        check_email(address)
        local, domain = address.split("@")
        assert local
        assert "." in domain
        assert address.isascii()
        assert address == address.strip()
