# SPDX-License-Identifier: Apache-2.0
"""The client's side of a login by device code."""

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qs
from urllib.request import Request, urlopen

import pytest

from countermark.client.device import ToShow, log_in_by_code
from countermark.client.transport import Transport
from countermark.core.errors import CountermarkError, FormatError, TokenRejected
from countermark.core.identity.token import parse_token
from countermark.core.wire.device import DEVICE_GRANT
from tests.support.login import EMAIL, serving_login
from tests.support.scripted_server import Script, scripted


@pytest.fixture
def transport() -> Iterator[Transport]:
    opened = Transport(timeout_s=2)
    yield opened
    opened.close()


def test_a_person_logs_in_with_a_browser_elsewhere(transport: Transport) -> None:
    told: list[ToShow] = []

    def type_the_code(_: float) -> None:
        code = re.sub("[^A-Z]", "", told[0].code)
        form = f"user_code={code}&email={EMAIL.replace('@', '%40')}&decision=continue".encode()
        page = f"{issuer}/device"
        with urlopen(Request(page, form, {"Origin": issuer.removesuffix("/oidc")})) as answer:
            assert b"logged in" in answer.read()

    with serving_login() as issuer:
        token = log_in_by_code(issuer, transport, told.append, sleep=type_the_code)
        transport.close()
    assert parse_token(token).claims["email"] == EMAIL
    assert told[0].address == f"{issuer}/device?user_code={told[0].code}"
    assert told[0].minutes == 10


def play(script: Script, *replies: tuple[int, object], **more: object) -> None:
    """Make the server an issuer: discovery, the start, then these answers to polls."""
    url = script.url
    discovery = {
        "issuer": url,
        "jwks_uri": f"{url}/jwks",
        "authorization_endpoint": f"{url}/auth",
        "token_endpoint": f"{url}/token",
        "device_authorization_endpoint": f"{url}/device",
    } | more
    begun = {
        "device_code": "d",
        "user_code": "BCDF-GHJK",
        "verification_uri": f"{url}/page",
        "expires_in": 600,
        "interval": 5,
    }
    script.answers = [
        (status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())
        for status, body in ((200, discovery), (200, begun), *replies)
    ]


def pending(error: str = "authorization_pending") -> tuple[int, object]:
    return 400, {"error": error}


def log_in(script: Script, transport: Transport) -> tuple[str, list[float]]:
    slept: list[float] = []
    try:
        token = log_in_by_code(script.url, transport, lambda _: None, sleep=slept.append)
    finally:
        transport.close()
    return token, slept


TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.AAAA"


def test_it_waits_as_it_is_told(transport: Transport) -> None:
    with scripted((200, {}, b"")) as script:
        slow, page = pending("slow_down"), (502, b"<html>")
        play(script, pending(), slow, page, pending(), (200, {"id_token": TOKEN}))
        token, slept = log_in(script, transport)
    assert (token, slept) == (TOKEN, [5, 5, 10, 20, 20])
    start, first = (parse_qs(asked.body.decode()) for asked in script.asked[1:3])
    assert start["code_challenge_method"] == ["S256"]
    assert first["grant_type"] == [DEVICE_GRANT]
    assert len(first["code_verifier"][0]) >= 43
    assert start["code_challenge"] != first["code_verifier"]


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_grant", "new\x1b[0m"])
def test_a_refusal_ends_it(transport: Transport, error: str) -> None:
    with scripted((200, {}, b"")) as script:
        play(script, pending(error))
        with pytest.raises(TokenRejected, match="the login was refused") as raised:
            log_in(script, transport)
    assert "\x1b" not in str(raised.value)


def test_nobody_comes(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    real, passed = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + passed[0])

    def sleep(seconds: float) -> None:
        passed[0] += seconds * 30

    with scripted((200, {}, b"")) as script:
        play(script, pending())
        with pytest.raises(TokenRejected, match="nobody logged in"):
            log_in_by_code(script.url, transport, lambda _: None, sleep=sleep)
        transport.close()


@pytest.mark.parametrize(
    "started",
    [
        {"user_code": "x", "verification_uri": "http://x", "expires_in": 1},
        {"device_code": 7, "user_code": "x", "verification_uri": "http://x", "expires_in": 1},
        [],
        b"<html>",
    ],
)
def test_a_start_that_makes_no_sense(transport: Transport, started: object) -> None:
    with scripted((200, {}, b"")) as script:
        play(script)
        data = started if isinstance(started, bytes) else json.dumps(started).encode()
        script.answers[1] = (200, {}, data)
        with pytest.raises(FormatError):
            log_in(script, transport)


def test_codes_are_not_sent_in_the_clear(transport: Transport) -> None:
    with scripted((200, {}, b"")) as script:
        play(script, device_authorization_endpoint="http://login.example/device")
        with pytest.raises(FormatError, match="no safe place"):
            log_in(script, transport)
        play(script, device_authorization_endpoint="")
        with pytest.raises(TokenRejected, match="no login by code"):
            log_in(script, transport)


def test_tokens_of_two_logins_are_not_mixed(transport: Transport) -> None:
    with scripted((200, {}, b"")) as script:
        mixed = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4IiwiYXRfaGFzaCI6IngifQ.AAAA"
        play(script, (200, {"id_token": mixed, "access_token": "a"}))
        with pytest.raises(CountermarkError, match="do not belong together"):
            log_in(script, transport)
