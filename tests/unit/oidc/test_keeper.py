# SPDX-License-Identifier: Apache-2.0
import asyncio
from datetime import timedelta

import pytest

from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import Pushback, RequestRejected, TokenRejected
from countermark.core.identity.jws import KeySet
from countermark.core.identity.token import (
    Claims,
    message_to_sign,
    parse_token,
    with_signature,
)
from countermark.core.wire.oauth import OUT_OF_BAND, access_token_hash
from countermark.core.wire.oidc import jwks
from countermark.oidc.keeper import (
    DEVELOPMENT_CLAIM,
    TOKEN_LIFETIME_S,
    LoginKeeper,
    OtherKey,
    check_email,
)
from countermark.oidc.messages import (
    FetchKeys,
    GrantCode,
    Granted,
    IssueLocalToken,
    RedeemCode,
    Tokens,
)
from countermark.rpc.message import R, Request
from tests.support.login import (
    CHALLENGE,
    EMAIL,
    ISSUER,
    REDIRECT,
    SECRET,
    VERIFIER,
    EmbeddedIssuer,
)
from tests.support.timestamps import NOW, StandingClock, SystemEntropy


@pytest.fixture
def issuer() -> EmbeddedIssuer:
    return EmbeddedIssuer()


def call(issuer: EmbeddedIssuer, request: Request[R]) -> R:
    return asyncio.run(issuer.keeper.call(request))


def grant(issuer: EmbeddedIssuer, *, redirect: str = REDIRECT, nonce: str = "") -> str:
    message = GrantCode(EMAIL, "sigstore", redirect, CHALLENGE, nonce)
    return call(issuer, message).code


def redeem(
    issuer: EmbeddedIssuer,
    code: str,
    *,
    client: str = "sigstore",
    redirect: str = REDIRECT,
    verifier: str = VERIFIER,
) -> Tokens:
    return call(issuer, RedeemCode(code, client, redirect, verifier))


def claims(issuer: EmbeddedIssuer, token: str) -> Claims:
    """The claims of a token that verifies under the issuer's published keys."""
    spkis = call(issuer, FetchKeys()).spkis
    parsed = parse_token(token)
    KeySet.parse(jwks(*map(PublicKey.from_spki, spkis))).verify(parsed)
    return parsed.claims


def test_tokens_say_who_when_and_that_this_is_development(issuer: EmbeddedIssuer) -> None:
    tokens = redeem(issuer, grant(issuer, nonce="n-1"))
    said = dict(claims(issuer, tokens.id_token))
    now = int(NOW.timestamp())
    assert len(said.pop("jti")) == 22
    assert said == {
        "iss": ISSUER,
        "sub": EMAIL,
        "email": EMAIL,
        "email_verified": True,
        "aud": "sigstore",
        "iat": now,
        "nbf": now,
        "exp": now + TOKEN_LIFETIME_S,
        DEVELOPMENT_CLAIM: True,
        "nonce": "n-1",
        "at_hash": access_token_hash(tokens.access_token),
    }
    assert tokens.lifetime_s == TOKEN_LIFETIME_S


def test_the_access_token_is_an_identity_token_too(issuer: EmbeddedIssuer) -> None:
    """sigstore-python uses it as one."""
    said = claims(issuer, redeem(issuer, grant(issuer, nonce="n")).access_token)
    assert (said["aud"], said["email"], said["email_verified"]) == ("sigstore", EMAIL, True)
    assert not {"nonce", "at_hash"} & set(said)


def test_without_nonce_there_is_none(issuer: EmbeddedIssuer) -> None:
    assert "nonce" not in claims(issuer, redeem(issuer, grant(issuer)).id_token)


def test_a_code_works_once(issuer: EmbeddedIssuer) -> None:
    code = grant(issuer)
    redeem(issuer, code)
    with pytest.raises(RequestRejected, match="unknown, used or expired"):
        redeem(issuer, code)


@pytest.mark.parametrize(
    "wrong",
    [
        {"verifier": VERIFIER[:-1] + "l"},
        {"verifier": "é" * 43},
        {"verifier": CHALLENGE},
        {"redirect": REDIRECT + "/"},
        {"redirect": OUT_OF_BAND},
        {"client": "other"},
    ],
)
def test_a_wrong_try_uses_the_code_up(issuer: EmbeddedIssuer, wrong: dict[str, str]) -> None:
    code = grant(issuer)
    with pytest.raises(RequestRejected, match="granted for another request"):
        redeem(issuer, code, **wrong)
    with pytest.raises(RequestRejected, match="unknown, used or expired"):
        redeem(issuer, code)


@pytest.mark.parametrize(("redirect", "lifetime_s"), [(REDIRECT, 60), (OUT_OF_BAND, 300)])
def test_codes_expire(issuer: EmbeddedIssuer, redirect: str, lifetime_s: int) -> None:
    late, in_time = grant(issuer, redirect=redirect), grant(issuer, redirect=redirect)
    issuer.clock.time += timedelta(seconds=lifetime_s - 1)
    redeem(issuer, in_time, redirect=redirect)
    issuer.clock.time += timedelta(seconds=1)
    with pytest.raises(RequestRejected, match="expired"):
        redeem(issuer, late, redirect=redirect)


def test_codes_are_bounded_and_old_ones_make_room(issuer: EmbeddedIssuer) -> None:
    codes = {grant(issuer) for _ in range(1024)}
    assert len(codes) == 1024
    with pytest.raises(Pushback):
        grant(issuer)
    issuer.clock.time += timedelta(seconds=60)
    grant(issuer)


def test_refuses_grants_that_no_page_of_ours_asks_for(issuer: EmbeddedIssuer) -> None:
    for message in (
        GrantCode(EMAIL, "other", REDIRECT, CHALLENGE, ""),
        GrantCode(EMAIL, "sigstore", REDIRECT, CHALLENGE, "n" * 2049),
        GrantCode("nobody", "sigstore", REDIRECT, CHALLENGE, ""),
    ):
        with pytest.raises(RequestRejected):
            call(issuer, message)


def test_local_token(issuer: EmbeddedIssuer) -> None:
    tokens = call(issuer, IssueLocalToken(SECRET, EMAIL))
    assert claims(issuer, tokens.id_token)["email"] == EMAIL
    assert tokens.access_token == ""


@pytest.mark.parametrize("secret", ["", SECRET[:-1], SECRET + " ", SECRET.upper(), "é"])
def test_local_token_needs_the_secret(issuer: EmbeddedIssuer, secret: str) -> None:
    with pytest.raises(TokenRejected, match="secret is wrong"):
        call(issuer, IssueLocalToken(secret, EMAIL))


def test_no_issuer_without_a_secret(issuer: EmbeddedIssuer) -> None:
    with pytest.raises(ValueError, match="empty"):
        LoginKeeper(ISSUER, issuer.signer, StandingClock(), SystemEntropy(), local_secret="")


@pytest.mark.parametrize(
    "address", ["a@b.co", "first.last+tag@sub.example.org", "x_1'!#$%&*/=?^`{|}~-@1.2-3.xn--p1ai"]
)
def test_plain_addresses(address: str) -> None:
    check_email(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "ada@localhost",
        "@example.org",
        "ada@",
        "ada@@example.org",
        "a da@example.org",
        "ada@example.org\n",
        "ada@example..org",
        ".ada@example.org",
        "ada.@example.org",
        "ada@-example.org",
        "ada@example.org.",
        '"ada"@example.org',
        "ada@[127.0.0.1]",
        "ädä@example.org",
        "ada@exämple.org",
        "<ada@example.org>",
        "ada@example.org,bob@example.org",
        "a" * 65 + "@example.org",
        "ada@" + "a." * 130 + "org",
    ],
)
def test_other_addresses(address: str) -> None:
    with pytest.raises(RequestRejected, match="not a plain e-mail address"):
        check_email(address)


def test_secrets_do_not_show_when_messages_are_logged() -> None:
    messages = (
        RedeemCode("secret", "sigstore", REDIRECT, "secret"),
        IssueLocalToken("secret", EMAIL),
        Granted("secret"),
        Tokens("secret", "secret", 600),
    )
    for message in messages:
        assert "secret" not in repr(message)
    token = with_signature(message_to_sign({}, algorithm="RS256", key_id="k"), b"sign")
    assert token.rpartition(".")[2] not in repr(parse_token(token))


def test_keys_of_a_rotation_are_shown_while_their_tokens_are_good(issuer: EmbeddedIssuer) -> None:
    own = issuer.signer.public_key.spki
    now_ms = issuer.clock.now_ms()
    issuer.login.publish([OtherKey(b"old", now_ms), OtherKey(b"older", now_ms + 1)])
    assert call(issuer, FetchKeys()).spkis == (own, b"older")
    issuer.login.publish([OtherKey(own), OtherKey(b"next")])
    assert call(issuer, FetchKeys()).spkis == (own, b"next")
