# SPDX-License-Identifier: Apache-2.0
"""Logging in by device code (RFC 8628) at the embedded issuer, and attacks on it."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from countermark.core.errors import Pushback
from countermark.core.identity.token import parse_token
from countermark.core.wire.device import CODE_LETTERS, DEVICE_GRANT, DeviceStarted, read_user_code
from tests.support.asgi import Reply
from tests.support.login import CHALLENGE, EMAIL, ISSUER, VERIFIER, EmbeddedIssuer

HERE = "http://localhost:7446"
PAGE = "/oidc/device"


@pytest.fixture
def issuer() -> EmbeddedIssuer:
    return EmbeddedIssuer()


def start(issuer: EmbeddedIssuer, **changes: str) -> DeviceStarted:
    reply = ask(issuer, **changes)
    assert reply.status == 200, reply.body
    assert reply.headers["cache-control"] == "no-store"
    return DeviceStarted.parse(reply.body)


def ask(issuer: EmbeddedIssuer, **changes: str) -> Reply:
    form = {
        "client_id": "sigstore",
        "scope": "openid email",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    } | changes
    return issuer.browser.post("/oidc/device/code", {k: v for k, v in form.items() if v})


def answer(issuer: EmbeddedIssuer, code: str, **changes: str) -> Reply:
    form = {"user_code": code, "email": EMAIL, "decision": "continue"}
    headers = {"origin": HERE} | {k: v for k, v in changes.items() if k in ("origin", "host")}
    form |= {k: v for k, v in changes.items() if k not in headers}
    return issuer.browser.post(PAGE, form, **headers)


def poll(issuer: EmbeddedIssuer, started: DeviceStarted, **changes: str) -> Reply:
    form = {
        "grant_type": DEVICE_GRANT,
        "device_code": started.device_code,
        "code_verifier": VERIFIER,
        "client_id": "sigstore",
    } | changes
    return issuer.browser.post("/oidc/token", {k: v for k, v in form.items() if v})


def fault(reply: Reply) -> str:
    assert reply.status == 400
    error: str = json.loads(reply.body)["error"]
    return error


def later(issuer: EmbeddedIssuer, seconds: float) -> None:
    issuer.clock.time += timedelta(seconds=seconds)


def test_a_login_from_start_to_end(issuer: EmbeddedIssuer) -> None:
    started = start(issuer)
    assert started.verification_uri == f"{ISSUER}/device"
    assert started.verification_uri_complete.endswith(f"?user_code={started.user_code}")
    assert (started.expires_in, started.interval) == (600, 5)
    assert re.fullmatch(f"[{CODE_LETTERS}]{{4}}-[{CODE_LETTERS}]{{4}}", started.user_code)
    assert fault(poll(issuer, started)) == "authorization_pending"
    page = issuer.browser.get(PAGE, query={"user_code": started.user_code})
    assert (page.status, started.user_code in page.text) == (200, True)
    done = answer(issuer, started.user_code.lower().replace("-", " "))
    assert (done.status, EMAIL in done.text) == (200, True)
    later(issuer, 5)
    tokens = json.loads(poll(issuer, started).body)
    claims = parse_token(tokens["id_token"]).claims
    assert (claims["email"], claims["iss"], claims["aud"]) == (EMAIL, ISSUER, "sigstore")
    assert fault(poll(issuer, started)) == "expired_token"  # tokens are given once


def test_cosigns_poll_names_no_client_and_a_scope_per_word(issuer: EmbeddedIssuer) -> None:
    started = start(issuer)
    answer(issuer, started.user_code)
    body = (
        f"code_verifier={VERIFIER}&device_code={started.device_code}"
        f"&grant_type={DEVICE_GRANT.replace(':', '%3A')}&scope=openid&scope=email"
    )
    reply = issuer.browser.post(
        "/oidc/token", body.encode(), content_type="application/x-www-form-urlencoded"
    )
    assert reply.status == 200, reply.body


def test_looking_at_the_page_decides_nothing(issuer: EmbeddedIssuer) -> None:
    started = start(issuer)
    query = {"user_code": started.user_code, "email": EMAIL, "decision": "continue"}
    issuer.browser.get(PAGE, query=query)
    assert fault(poll(issuer, started)) == "authorization_pending"


def test_a_refusal_is_told_once_and_for_all(issuer: EmbeddedIssuer) -> None:
    started = start(issuer)
    assert "Refused" in answer(issuer, started.user_code, decision="cancel", email="").text
    assert answer(issuer, started.user_code).status == 400  # it is too late to allow it
    assert fault(poll(issuer, started)) == "access_denied"
    assert fault(poll(issuer, started)) == "expired_token"


def test_what_was_allowed_can_not_be_taken_by_another_word(issuer: EmbeddedIssuer) -> None:
    started = start(issuer)
    answer(issuer, started.user_code)
    assert answer(issuer, started.user_code, email="eve@example.org").status == 400
    token = json.loads(poll(issuer, started).body)["id_token"]
    assert parse_token(token).claims["email"] == EMAIL


def test_who_asks_too_often_is_slowed_down_more_and_more(issuer: EmbeddedIssuer) -> None:
    started = start(issuer)
    assert fault(poll(issuer, started)) == "authorization_pending"
    assert fault(poll(issuer, started)) == "slow_down"
    later(issuer, 5)
    assert fault(poll(issuer, started)) == "slow_down"  # ten seconds now
    later(issuer, 14)
    assert fault(poll(issuer, started)) == "authorization_pending"
    answer(issuer, started.user_code)
    assert fault(poll(issuer, started)) == "slow_down"  # tokens are no exception
    later(issuer, 60)
    assert poll(issuer, started).status == 200


def test_a_client_that_keeps_time_is_never_slowed_down(issuer: EmbeddedIssuer) -> None:
    started = start(issuer)
    for _ in range(4):
        assert fault(poll(issuer, started)) == "authorization_pending"
        later(issuer, 4.5)  # five seconds by a clock that runs fast, or over a quick network


def test_codes_expire(issuer: EmbeddedIssuer) -> None:
    started, answered = start(issuer), start(issuer)
    later(issuer, 599)
    assert answer(issuer, answered.user_code).status == 200
    later(issuer, 1)
    assert answer(issuer, started.user_code).status == 400
    assert fault(poll(issuer, started)) == "expired_token"
    assert fault(poll(issuer, answered)) == "expired_token"


@pytest.mark.parametrize("verifier", ["", CHALLENGE, VERIFIER[:-1] + "l"])
def test_a_stolen_device_code_is_worth_nothing_and_used_up(
    issuer: EmbeddedIssuer, verifier: str
) -> None:
    started = start(issuer)
    answer(issuer, started.user_code)
    assert fault(poll(issuer, started, code_verifier=verifier)) == "invalid_grant"
    assert fault(poll(issuer, started)) == "expired_token"


def test_a_client_without_pkce_is_served(issuer: EmbeddedIssuer) -> None:
    started = start(issuer, code_challenge="", code_challenge_method="")
    answer(issuer, started.user_code)
    assert poll(issuer, started, code_verifier="").status == 200


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "other"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"scope": "email"}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
    ],
)
def test_what_can_not_be_begun(issuer: EmbeddedIssuer, changes: dict[str, str], error: str) -> None:
    reply = ask(issuer, **changes)
    assert reply.status in (400, 401)
    assert json.loads(reply.body)["error"] == error


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"device_code": ""}, "invalid_request"),
        ({"device_code": "x" * 129}, "invalid_request"),
        ({"device_code": "unknown"}, "expired_token"),
        ({"code_verifier": "é" * 43}, "invalid_request"),
        ({"client_id": "other"}, "invalid_client"),
        ({"client_secret": "guess"}, "invalid_client"),
    ],
)
def test_polls_that_make_no_sense(
    issuer: EmbeddedIssuer, changes: dict[str, str], error: str
) -> None:
    reply = poll(issuer, start(issuer), **changes)
    assert json.loads(reply.body)["error"] == error


def test_guesses_are_counted_for_all_together(issuer: EmbeddedIssuer) -> None:
    started = start(issuer)
    for number in range(10):
        guess = "".join(CODE_LETTERS[(number + place) % 20] for place in range(8))
        assert answer(issuer, guess).status == 400
    reply = answer(issuer, started.user_code)  # not even the right one
    assert (reply.status, reply.headers["retry-after"]) == (429, "60")
    later(issuer, 60)
    assert answer(issuer, started.user_code).status == 200


@pytest.mark.parametrize("code", ["", "AAAA-AAAA", "BCDF-GHJ", "BCDF-GHJKL", "B" * 10_000, "<b>"])
def test_what_is_no_code_is_refused_unguessed(issuer: EmbeddedIssuer, code: str) -> None:
    for _ in range(12):  # more often than one may guess
        reply = answer(issuer, code)
        assert reply.status == 400
        assert "<b>" not in reply.text


def test_an_address_that_is_none_leaves_the_login_open(issuer: EmbeddedIssuer) -> None:
    started = start(issuer)
    assert answer(issuer, started.user_code, email="nobody").status == 400
    assert answer(issuer, started.user_code).status == 200


def test_logins_under_way_are_bounded(issuer: EmbeddedIssuer) -> None:
    codes = {start(issuer).user_code for _ in range(1024)}
    assert len(codes) == 1024
    reply = ask(issuer)
    assert (reply.status, json.loads(reply.body)["error"]) == (503, "temporarily_unavailable")
    later(issuer, 600)
    start(issuer)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
)
def test_no_other_page_can_answer(issuer: EmbeddedIssuer, headers: dict[str, str]) -> None:
    started = start(issuer)
    assert answer(issuer, started.user_code, **headers).status == 403
    assert fault(poll(issuer, started)) == "authorization_pending"


def test_no_page_can_begin_or_poll(issuer: EmbeddedIssuer) -> None:
    for path in ("/oidc/device/code", "/oidc/token"):
        form = {"client_id": "sigstore", "scope": "openid", "grant_type": DEVICE_GRANT}
        assert issuer.browser.post(path, form, origin=HERE).status == 403


def test_nothing_secret_is_shown_when_messages_are_logged() -> None:
    from countermark.oidc.messages import DecideDevice, DeviceCodes, DevicePolled, PollDevice

    shown: list[Any] = [
        DeviceCodes("secret", "secret", 1, 1),
        PollDevice("secret", "secret"),
        DecideDevice("secret", "a", True),
        DevicePolled("", None),
    ]
    assert "secret" not in repr(shown)


def test_every_letter_is_as_likely(issuer: EmbeddedIssuer) -> None:
    seen = dict.fromkeys(CODE_LETTERS, 0)
    for _ in range(2000):
        try:
            for letter in read_user_code(issuer.login._devices.start("")[1]):
                seen[letter] += 1
        except Pushback:
            later(issuer, 600)
    assert min(seen.values()) > 0.8 * sum(seen.values()) / 20
