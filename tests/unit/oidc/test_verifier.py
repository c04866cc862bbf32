# SPDX-License-Identifier: Apache-2.0
"""Verification of tokens of external issuers, over HTTP, and of the embedded one."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from countermark.core.errors import FormatError, TokenRejected, UpstreamDown
from countermark.core.identity.jws import UnknownKey
from countermark.core.identity.token import VerifiedToken
from countermark.core.wire.oidc import jwks
from countermark.oidc.fetch import IssuerFetcher, check_reachable
from countermark.oidc.keys import RETRY_MS, discovered_keys, embedded_keys, pinned_keys
from countermark.oidc.messages import IssueLocalToken
from countermark.oidc.verifier import IssuerVerifier, TrustedIssuer
from tests.support.issuer import REPOSITORY, LocalIssuer
from tests.support.login import EMAIL, ISSUER, SECRET, EmbeddedIssuer
from tests.support.timestamps import StandingClock

DISCOVERY, KEYS = "/.well-known/openid-configuration", "/.well-known/jwks"


class Verifier:
    """An `IssuerVerifier` of one issuer with a clock to turn."""

    def __init__(self, issuer: LocalIssuer) -> None:
        self.clock = StandingClock(datetime.now(UTC))
        load = discovered_keys(issuer.url, IssuerFetcher())
        trusted = TrustedIssuer(issuer.url, "github-workflow", load)
        self.verifier = IssuerVerifier([trusted], self.clock)

    def verify(self, token: str) -> VerifiedToken:
        return asyncio.run(self.verifier.verify(token))

    def later(self, **delta: float) -> None:
        self.clock.time += timedelta(**delta)


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    with LocalIssuer() as issuer:
        yield issuer


@pytest.fixture
def verifier(issuer: LocalIssuer) -> Verifier:
    return Verifier(issuer)


def test_a_release_job_s_token(issuer: LocalIssuer, verifier: Verifier) -> None:
    verified = verifier.verify(issuer.token())
    assert (verified.issuer_url, verified.issuer_type) == (issuer.url, "github-workflow")
    assert verified.claims["repository"] == REPOSITORY
    assert issuer.requests == [DISCOVERY, KEYS]
    verifier.verify(issuer.token())
    assert issuer.requests == [DISCOVERY, KEYS]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://token.actions.githubusercontent.com"}, "not one of those accepted"),
        ({"aud": "https://github.com/octo-org"}, "not meant for 'sigstore'"),
        ({"exp": int(time.time()) - 1}, "expired"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
    ],
)
def test_bad_claims_cause_no_fetching(
    issuer: LocalIssuer, verifier: Verifier, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(TokenRejected, match=why):
        verifier.verify(issuer.token(**changes))
    assert issuer.requests == []


def test_issuer_urls_are_compared_exactly(issuer: LocalIssuer, verifier: Verifier) -> None:
    for url in (issuer.url + "/", issuer.url.upper(), issuer.url.replace("localhost", "127.0.0.1")):
        with pytest.raises(TokenRejected, match="not one of those accepted"):
            verifier.verify(issuer.token(iss=url))


def test_a_new_key_is_fetched_when_it_is_met(issuer: LocalIssuer, verifier: Verifier) -> None:
    before = issuer.token()
    verifier.verify(before)
    issuer.rotate()
    verifier.later(milliseconds=RETRY_MS)
    verifier.verify(issuer.token())
    with pytest.raises(UnknownKey):  # the old key is withdrawn with the same fetch
        verifier.verify(before)


def test_a_flood_of_unknown_keys_is_not_passed_on(issuer: LocalIssuer, verifier: Verifier) -> None:
    verifier.verify(issuer.token())
    honest, fetched = issuer.signer, len(issuer.requests)
    issuer.rotate()
    forged = issuer.token()
    issuer.published = [honest]

    async def flood() -> list[BaseException | VerifiedToken]:
        tries = (verifier.verifier.verify(forged) for _ in range(50))
        return await asyncio.gather(*tries, return_exceptions=True)

    verifier.later(milliseconds=RETRY_MS)
    for _ in range(3):
        assert all(isinstance(result, UnknownKey) for result in asyncio.run(flood()))
    assert len(issuer.requests) == fetched + 2


def test_many_first_tokens_fetch_once(issuer: LocalIssuer, verifier: Verifier) -> None:
    token = issuer.token()

    async def verify_many() -> None:
        await asyncio.gather(*(verifier.verifier.verify(token) for _ in range(20)))

    asyncio.run(verify_many())
    assert issuer.requests == [DISCOVERY, KEYS]


def test_keys_are_renewed_hourly_and_outlive_an_outage(
    issuer: LocalIssuer, verifier: Verifier
) -> None:
    verifier.verify(issuer.token())
    issuer.replies[DISCOVERY] = (503, {}, b"")
    verifier.later(hours=1)
    long_lived = issuer.token(exp=int(time.time()) + 7 * 86_400)
    verifier.verify(long_lived)
    assert issuer.requests == [DISCOVERY, KEYS, DISCOVERY]
    verifier.verify(long_lived)  # not asked again within seconds
    assert len(issuer.requests) == 3
    verifier.later(hours=23)
    with pytest.raises(UpstreamDown):
        verifier.verify(long_lived)
    issuer.replies.clear()
    verifier.later(milliseconds=RETRY_MS)
    verifier.verify(long_lived)


def test_an_issuer_that_is_down_is_left_alone_for_a_while(
    issuer: LocalIssuer, verifier: Verifier
) -> None:
    issuer.replies[DISCOVERY] = (500, {}, b"")
    for _ in range(5):
        with pytest.raises(UpstreamDown):
            verifier.verify(issuer.token())
    assert issuer.requests == [DISCOVERY]
    issuer.replies.clear()
    verifier.later(milliseconds=RETRY_MS)
    verifier.verify(issuer.token())


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example"},
        {"jwks_uri": "http://example.com/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://user@localhost/keys"},
        {"jwks_uri": 5},
        {"jwks_uri": None},
    ],
)
def test_documents_that_cannot_be_used(
    issuer: LocalIssuer, verifier: Verifier, changes: dict[str, Any]
) -> None:
    issuer.discovery_changes = changes
    with pytest.raises(UpstreamDown):
        verifier.verify(issuer.token())
    assert issuer.requests == [DISCOVERY]


def test_redirects_stay_on_the_host(issuer: LocalIssuer, verifier: Verifier) -> None:
    with LocalIssuer() as other:
        target = other.url + KEYS
        issuer.replies[KEYS] = (302, {"location": target}, b"")
        with pytest.raises(UpstreamDown, match="redirects to another host"):
            verifier.verify(issuer.token())
        assert other.requests == []
    for odd in ("http://[::1", "//", "http://localhost:x/"):
        issuer.replies[KEYS] = (302, {"location": odd}, b"")
        verifier.later(milliseconds=RETRY_MS)
        with pytest.raises(UpstreamDown, match="redirects to"):
            verifier.verify(issuer.token())
    issuer.replies[KEYS] = (307, {"location": "/moved"}, b"")
    published = jwks(*(signer.public_key for signer in issuer.published))
    issuer.replies["/moved"] = (200, {}, published)
    verifier.later(milliseconds=RETRY_MS)
    verifier.verify(issuer.token())


def test_redirects_end(issuer: LocalIssuer, verifier: Verifier) -> None:
    issuer.replies[KEYS] = (302, {"location": KEYS}, b"")
    with pytest.raises(UpstreamDown, match="too often"):
        verifier.verify(issuer.token())
    assert issuer.requests.count(KEYS) == 4


@pytest.mark.parametrize(
    "reply",
    [
        (200, {}, b" " * 300_000),
        (200, {"content-encoding": "gzip"}, b"\x1f\x8b"),
        (200, {}, b"<html>"),
        (204, {}, b""),
        (302, {}, b""),
    ],
)
def test_replies_that_cannot_be_used(
    issuer: LocalIssuer, verifier: Verifier, reply: tuple[int, dict[str, str], bytes]
) -> None:
    issuer.replies[KEYS] = reply
    with pytest.raises(UpstreamDown):
        verifier.verify(issuer.token())


@pytest.mark.parametrize(
    "url",
    ["", "http://example.com/", "ftp://localhost/", "https://", "https://a@b/", "http://[::1",
     "https://host:99999/", "//localhost/", "http://127.0.0.1.example.com/", "https://h:0/"],
)  # fmt: skip
def test_addresses_that_are_never_asked(url: str) -> None:
    with pytest.raises(UpstreamDown):
        check_reachable(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/x", "http://127.0.0.1:80/", "http://[::1]:9/", "http://localhost/"]
)
def test_addresses_that_may_be_asked(url: str) -> None:
    check_reachable(url)


def test_pinned_keys_need_no_network(issuer: LocalIssuer) -> None:
    load = pinned_keys(jwks(issuer.signer.public_key))
    clock = StandingClock(datetime.now(UTC))
    verifier = IssuerVerifier([TrustedIssuer(issuer.url, "email", load, "npm")], clock)
    verified = asyncio.run(verifier.verify(issuer.token("npm")))
    assert verified.issuer_type == "email"
    assert issuer.requests == []
    with pytest.raises(FormatError):
        pinned_keys(b"{}")


def test_tokens_of_the_embedded_issuer() -> None:
    issuer = EmbeddedIssuer()
    trusted = TrustedIssuer(ISSUER, "email", embedded_keys(issuer.keeper))
    verifier = IssuerVerifier([trusted], issuer.clock)

    async def issue_and_verify() -> VerifiedToken:
        tokens = await issuer.keeper.call(IssueLocalToken(SECRET, EMAIL))
        return await verifier.verify(tokens.id_token)

    assert asyncio.run(issue_and_verify()).claims["email"] == EMAIL
