# SPDX-License-Identifier: Apache-2.0
"""The shortcut for scripts and the login page, as web pages, rebound names and proxies try them."""

import hmac
import json

import pytest

from tests.support.asgi import Browser, Reply
from tests.support.login import EMAIL, SECRET, EmbeddedIssuer, query

BODY = json.dumps({"email": EMAIL}).encode()
SECRET_HEADER = "countermark-local-secret"


@pytest.fixture
def browser() -> Browser:
    return EmbeddedIssuer().browser


def shortcut(browser: Browser, **headers: str) -> Reply:
    sent = {"content-type": "application/json", SECRET_HEADER: SECRET, **headers}
    return browser.send("POST", "/oidc/local-token", headers=sent, body=BODY)


def test_without_tricks_it_serves(browser: Browser) -> None:
    assert shortcut(browser).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "0.0.0.0:7446",
        "0",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.nip.io",
        "127.0.0.1.",
        "localhost.",
        "localhost.localdomain",
        "a.localhost",
        "localtest.me",
        "::1",
        "[::1",
        "[::1]x",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::1%25lo]",
        "localhost:07446",
        "localhost:0",
        "localhost:-1",
        "localhost:7446:7446",
        "localhost,evil.example",
        "localhost evil.example",
        "localhost#evil.example",
        "evil.example#localhost",
        "user@localhost",
        "http://localhost",
        "localhost/",
        "loc\u00e4lhost",
        "localhost\x00",
        "\u00b9127.0.0.1",
    ],
)
def test_other_names_of_this_machine(browser: Browser, host: str) -> None:
    """A page can be served under each of these, or under names that look like them."""
    assert shortcut(browser, host=host).status == 403
    asked = browser.send("GET", "/oidc/auth", headers={"host": host})
    assert asked.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "null"},
        {"origin": "http://localhost:7446"},
        {"origin": ""},
        {"origin": "https://evil.example"},
        {"origin": "chrome-extension://abc"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": ""},
        {"x-forwarded-for": "127.0.0.1"},
        {"x-forwarded-for": ""},
        {"x-forwarded-server": "localhost"},
        {"x-forwarded-prefix": "/"},
        {"x-real-ip": "127.0.0.1"},
        {"x-client-ip": "::1"},
        {"true-client-ip": "::1"},
        {"forwarded": "for=127.0.0.1;host=localhost"},
        {"via": "1.1 localhost"},
    ],
)
def test_pages_and_proxies(browser: Browser, headers: dict[str, str]) -> None:
    assert shortcut(browser, **headers).status == 403


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "text/plain; application/json", "application/jsonp", "", "text/json"],
)  # fmt: skip
def test_bodies_that_a_page_can_send_unasked(browser: Browser, content_type: str) -> None:
    assert shortcut(browser, **{"content-type": content_type}).status == 400


@pytest.mark.parametrize(
    "secret",
    [
        "",
        " ",
        SECRET[:-1],
        SECRET + "0",
        SECRET.upper(),
        SECRET[::-1],
        f" {SECRET[:-1]}",
        f"{SECRET}\x00",
        f"{SECRET},{SECRET}",
        f'"{SECRET}"',
        f"Bearer {SECRET}",
        "0" * 64,
        "\xe9" * 64,
        "\x00" * 64,
        "5" * 256,
        "5" * 257,
    ],
)
def test_other_secrets(browser: Browser, secret: str) -> None:
    reply = shortcut(browser, **{SECRET_HEADER: secret})
    assert reply.status == 401
    assert "id_token" not in reply.text


def test_the_secret_is_in_no_other_place(browser: Browser) -> None:
    headers = {"content-type": "application/json"}
    for query_string, more, body in (
        (f"secret={SECRET}&{SECRET_HEADER}={SECRET}", {}, BODY),
        ("", {"authorization": f"Bearer {SECRET}"}, BODY),
        ("", {"cookie": f"{SECRET_HEADER}={SECRET}"}, BODY),
        ("", {}, json.dumps({"email": EMAIL, "secret": SECRET}).encode()),
    ):
        reply = browser.send(
            "POST", "/oidc/local-token", query=query_string, headers=headers | more, body=body
        )
        assert reply.status == 401


def test_the_time_of_comparing_tells_nothing(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every secret that is looked at goes whole through the comparison made for secrets."""
    compared = []
    original = hmac.compare_digest

    def recorded(given: bytes, kept: bytes) -> bool:
        compared.append((given, kept))
        return original(given, kept)

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    tried = [SECRET, "5" * 64, "x", "5f" * 16]
    for secret in tried:
        shortcut(browser, **{SECRET_HEADER: secret})
    assert compared == [(secret.encode(), SECRET.encode()) for secret in tried]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods(browser: Browser, method: str) -> None:
    """A preflight is not answered, so no page gets leave to send the header."""
    headers = {
        SECRET_HEADER: SECRET,
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": SECRET_HEADER,
    }
    reply = browser.send(method, "/oidc/local-token", headers=headers, body=BODY)
    assert reply.status == 405
    assert not any(name.startswith("access-control") for name in reply.headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://localhost:7447"},
        {"origin": "http://localhost"},
        {"origin": "https://localhost:7446"},
        {"origin": "http://127.0.0.1:7446"},
        {"origin": "http://localhost:7446/"},
        {"origin": "HTTP://localhost:7446"},
        {"origin": "http://localhost:7446", "sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:7446", "sec-fetch-site": "same-site"},
        {"origin": "http://localhost:7446", "sec-fetch-site": "none"},
        {"referer": "http://localhost:7446/oidc/auth"},
    ],
)
def test_forms_of_other_pages(browser: Browser, headers: dict[str, str]) -> None:
    """Another port of this machine is another page; a Referer is no proof of anything."""
    form = query() | {"email": EMAIL, "decision": "continue"}
    assert browser.post("/oidc/auth", form, **headers).status == 403
