# SPDX-License-Identifier: Apache-2.0
import base64
import json
from typing import Any

import pytest

from countermark.core.errors import TokenRejected
from countermark.core.identity.token import (
    MAX_TOKEN_BYTES,
    NOT_BEFORE_LEEWAY_S,
    check_claims,
    from_base64url,
    message_to_sign,
    parse_token,
    subject_to_sign,
    with_signature,
)

NOW = 1_800_000_000
CLAIMS = {"iss": "https://issuer.example", "aud": "sigstore", "exp": NOW + 60, "sub": "me"}


def encode(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header: object = None, claims: object = None, signature: bytes = b"sig") -> str:
    parts = ({"alg": "RS256"} if header is None else header, CLAIMS if claims is None else claims)
    return ".".join([*map(encode, parts), encode(signature)])


def test_written_tokens_are_read_back() -> None:
    message = message_to_sign(CLAIMS, algorithm="RS256", key_id="k1")
    parsed = parse_token(with_signature(message, b"\xff\xfe"))
    assert parsed.header == {"alg": "RS256", "kid": "k1", "typ": "JWT"}
    assert parsed.claims == CLAIMS
    assert parsed.text.encode() == message + b"." + b"__4"
    assert parsed.issuer == "https://issuer.example"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "a.b",
        "a.b.c.d",
        "." * 1000,
        token() + ".x",
        token() + "\n",
        " " + token(),
        token() + "=",
        token().replace(".", "..", 1),
        token(header=[1]),
        token(claims="text"),
        token(claims=b"{"),
        token(claims=b"\xff\xfe"),
        token(claims=b'{"a":"\\ud800"}'),
        token(claims=b"[" * 5000),
        "é.b.c",
        token().rpartition(".")[0] + ".c2l",
        token().rpartition(".")[0] + ".c",
    ],
)
def test_refuses_what_is_no_token(text: str) -> None:
    with pytest.raises(TokenRejected):
        parse_token(text)


def test_refuses_large_tokens_unread() -> None:
    with pytest.raises(TokenRejected, match="larger than"):
        parse_token("a" * (MAX_TOKEN_BYTES + 1))


def test_errors_do_not_show_the_token() -> None:
    secret = token(claims=b'{"email":"secret@example.org",')
    with pytest.raises(TokenRejected) as caught:
        parse_token(secret)
    assert "secret" not in str(caught.value)
    assert encode(b'{"email"')[:8] not in str(caught.value)


@pytest.mark.parametrize("issuer", [None, "", 7, ["https://issuer.example"]])
def test_refuses_tokens_of_nobody(issuer: object) -> None:
    with pytest.raises(TokenRejected, match="names no issuer"):
        _ = parse_token(token(claims={"iss": issuer})).issuer


@pytest.mark.parametrize("text", ["A", "AB", "AA=", "A+", "A/", "AA A", "c2l"])
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(TokenRejected):
        from_base64url(text, "part")


def check(**changes: Any) -> None:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value != "absent"}
    check_claims(claims, audience="sigstore", now_s=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["other", "sigstore"]},
        {"exp": NOW + 0.5},
        {"nbf": NOW},
        {"nbf": NOW + NOT_BEFORE_LEEWAY_S},
        {"nbf": 0},
        {"exp": 10**400},
    ],
)
def test_accepts(changes: dict[str, Any]) -> None:
    check(**changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "absent"}, "not meant for"),
        ({"aud": None}, "not meant for"),
        ({"aud": "sigstore2"}, "not meant for"),
        ({"aud": []}, "not meant for"),
        ({"aud": [["sigstore"]]}, "not meant for"),
        ({"aud": {"sigstore": 1}}, "not meant for"),
        ({"exp": NOW}, "expired"),
        ({"exp": "absent"}, "not a time"),
        ({"exp": None}, "not a time"),
        ({"exp": True}, "not a time"),
        ({"exp": str(NOW + 60)}, "not a time"),
        ({"exp": float("inf")}, "not a time"),
        ({"exp": float("nan")}, "not a time"),
        ({"nbf": NOW + NOT_BEFORE_LEEWAY_S + 1}, "not valid yet"),
        ({"nbf": None}, "not a time"),
        # Larger than any float: a comparison that made one of it ended in a 500.
        ({"nbf": 10**400}, "not valid yet"),
        ({"exp": -(10**400)}, "expired"),
    ],
)
def test_refuses(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(TokenRejected, match=why):
        check(**changes)


def test_what_clients_sign() -> None:
    assert subject_to_sign({"sub": "s"}) == "s"
    assert subject_to_sign({"sub": "s", "email": "e@x.org"}) == "s"
    assert subject_to_sign({"sub": "s", "email": "e@x.org", "email_verified": "true"}) == "e@x.org"
    assert subject_to_sign({"sub": "s", "email": "", "email_verified": True}) == "s"
    for verified in (1, 1.0, "TRUE", "1", [True]):  # the CA takes none of them either
        odd: dict[str, Any] = {"sub": "s", "email": "e@x.org", "email_verified": verified}
        assert subject_to_sign(odd) == "s"
    for claims in ({}, {"sub": ""}, {"sub": 1}):
        with pytest.raises(TokenRejected, match="names no subject"):
            subject_to_sign(claims)
