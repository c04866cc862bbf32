# SPDX-License-Identifier: Apache-2.0
"""The embedded issuer through its routes: the flow clients use, and what it must refuse."""

import html
import json
import re
from base64 import b64encode
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest

from countermark.core.errors import SettingsError
from countermark.core.wire.device import DEVICE_GRANT
from countermark.core.wire.oauth import OUT_OF_BAND, access_token_hash
from countermark.oidc.api import routes
from tests.support.asgi import Browser, Reply
from tests.support.login import (
    EMAIL,
    ISSUER,
    REDIRECT,
    SECRET,
    VERIFIER,
    EmbeddedIssuer,
    query,
)

ORIGIN = "http://localhost:7446"
STATE = query()["state"]


@pytest.fixture
def issuer() -> EmbeddedIssuer:
    return EmbeddedIssuer()


@pytest.fixture
def browser(issuer: EmbeddedIssuer) -> Browser:
    return issuer.browser


def fields(page: Reply) -> dict[str, str]:
    """The hidden fields of the form on a page."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
    return {html.unescape(name): html.unescape(value) for name, value in found}


def log_in(browser: Browser, email: str = EMAIL, **changes: str | None) -> Reply:
    """Open the page, type an address and press the button."""
    page = browser.get("/oidc/auth", query=query(**changes))
    assert page.status == 200, page.text
    form = fields(page) | {"email": email, "decision": "continue"}
    return browser.post("/oidc/auth", form, origin=ORIGIN, sec_fetch_site="same-origin")


def sent_back(reply: Reply) -> dict[str, str]:
    """What the browser is told to bring to the client."""
    assert reply.status == 303
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    address, _, brought = reply.headers["location"].partition("?")
    assert address == REDIRECT
    return dict(parse_qsl(brought, strict_parsing=True))


def exchange(browser: Browser, code: str, **changes: str) -> Reply:
    """Trade in a code as sigstore-python does."""
    form = {
        "grant_type": "authorization_code",
        "redirect_uri": REDIRECT,
        "code": code,
        "code_verifier": VERIFIER,
    } | changes
    return browser.post("/oidc/token", form, authorization=basic("sigstore", ""))


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def claims(issuer: EmbeddedIssuer, token: str) -> dict[str, object]:
    """The claims as PyJWT reads them under the published key."""
    published = json.loads(issuer.browser.get("/oidc/jwks").body)
    key = jwt.PyJWKSet.from_dict(published)[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience="sigstore",
        issuer=ISSUER,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )


def test_discovery(browser: Browser) -> None:
    reply = browser.get("/oidc/.well-known/openid-configuration")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert json.loads(reply.body) == {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/auth",
        "token_endpoint": f"{ISSUER}/token",
        "jwks_uri": f"{ISSUER}/jwks",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "device_authorization_endpoint": f"{ISSUER}/device/code",
        "grant_types_supported": ["authorization_code", DEVICE_GRANT],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "email", "email_verified"],
    }


def test_a_login_from_page_to_tokens(issuer: EmbeddedIssuer, browser: Browser) -> None:
    brought = sent_back(log_in(browser, nonce="the-nonce"))
    assert set(brought) == {"code", "state"}
    assert brought["state"] == STATE
    reply = exchange(browser, brought["code"])
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert (reply.headers["cache-control"], reply.headers["pragma"]) == ("no-store", "no-cache")
    tokens = json.loads(reply.body)
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
    identity = claims(issuer, tokens["id_token"])
    assert (identity["email"], identity["nonce"]) == (EMAIL, "the-nonce")
    assert identity["at_hash"] == access_token_hash(tokens["access_token"])
    assert claims(issuer, tokens["access_token"])["email"] == EMAIL


def test_out_of_band_login_shows_the_code(issuer: EmbeddedIssuer, browser: Browser) -> None:
    page = log_in(browser, redirect_uri=OUT_OF_BAND)
    assert page.status == 200
    assert "location" not in page.headers
    code = re.search(r'<output class="code">([\w-]+)</output>', page.text)
    assert code is not None
    assert len(code[1]) == 27
    assert exchange(browser, code[1], redirect_uri=OUT_OF_BAND).status == 200


def test_state_and_nonce_are_handed_through_untouched(
    issuer: EmbeddedIssuer, browser: Browser
) -> None:
    odd = "\"><script>&state=x;é%00\u2028'"
    brought = sent_back(log_in(browser, state=odd, nonce=odd))
    assert brought["state"] == odd
    tokens = json.loads(exchange(browser, brought["code"]).body)
    assert claims(issuer, tokens["id_token"])["nonce"] == odd


def test_no_state_means_none_comes_back(browser: Browser) -> None:
    assert set(sent_back(log_in(browser, state=None))) == {"code"}


def test_cancelling_tells_the_client(browser: Browser) -> None:
    form = fields(browser.get("/oidc/auth", query=query())) | {"decision": "cancel", "email": ""}
    brought = sent_back(browser.post("/oidc/auth", form, origin=ORIGIN))
    assert (brought["error"], brought["state"]) == ("access_denied", STATE)
    assert "code" not in brought


def test_a_mistyped_address_shows_the_form_again(browser: Browser) -> None:
    page = log_in(browser, '"><b>ada@localhost')
    assert page.status == 400
    assert "That is not a plain e-mail address." in page.text
    assert "<b>" not in page.text
    assert fields(page) == fields(browser.get("/oidc/auth", query=query()))


def test_a_suggested_address_is_filled_in_but_not_taken_over(browser: Browser) -> None:
    hint = '"autofocus onfocus=alert(1) x="@x.org'
    page = browser.get("/oidc/auth", query=query(login_hint=hint, email="eve@x.org", decision="x"))
    assert f'value="{html.escape(hint).replace("&quot;", "&#34;")}"' in page.text
    assert "eve@x.org" not in page.text
    assert not {"email", "decision", "login_hint"} & set(fields(page))


@pytest.mark.parametrize("path", ["/oidc/auth", "/oidc/auth?redirect_uri=x"])
def test_pages_cannot_be_framed_scripted_or_kept(browser: Browser, path: str) -> None:
    target, _, raw = path.partition("?")
    page = browser.send("GET", target, query=raw)
    assert page.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert page.headers["referrer-policy"] == "same-origin"
    assert "<script" not in page.text
    assert not re.search(r"\s(style|on\w+)=", page.text)


@pytest.mark.parametrize(
    ("redirect", "sources"),
    [
        (REDIRECT, "'self' http://localhost:40123"),
        ("http://127.0.0.1/cb", "'self' http://127.0.0.1"),
        ("http://[::1]:9/", "'self' http:"),
        (OUT_OF_BAND, "'self'"),
    ],
)
def test_the_form_may_lead_to_the_client_only(
    browser: Browser, redirect: str, sources: str
) -> None:
    page = browser.get("/oidc/auth", query=query(redirect_uri=redirect))
    assert f"form-action {sources};" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "redirect",
    [
        None,
        "",
        "https://evil.example/",
        "http://evil.example/",
        "//localhost/cb",
        "https://localhost/cb",
        "http://localhost.evil.example/",
        "http://localhost@evil.example/",
        "http://evil.example@localhost/",
        "http://localhost:80@evil.example/",
        "http://localhost:1\\@evil.example/",
        "http://localhost\\.evil.example/",
        "http://localhost#@evil.example/",
        "http://localhost/cb?next=https://evil.example",
        "http://localhost/cb#x",
        "http://localhost:0/",
        "http://localhost:99999/",
        "http://localhost:08/",
        "http://localhost:/",
        "http://127.0.0.1.evil.example/",
        "http://127.1/",
        "http://2130706433/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost/\r\nset-cookie: x=y",
        "http://localhost/\u202e",
        "http://LOCALHOST/",
        " http://localhost/",
        "http://localhost/ ",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "urn:ietf:wg:oauth:2.0:oob:auto",
        "http://localhost/" + "a" * 2048,
    ],
)
def test_the_browser_is_sent_to_this_machine_only(browser: Browser, redirect: str | None) -> None:
    for reply in (
        browser.get("/oidc/auth", query=query(redirect_uri=redirect)),
        browser.post("/oidc/auth", query(redirect_uri=redirect, email=EMAIL), origin=ORIGIN),
    ):
        assert reply.status == 400
        assert "location" not in reply.headers
        assert "evil.example" not in reply.text


@pytest.mark.parametrize("client", [None, "", "other", "Sigstore"])
def test_unknown_clients_get_a_page_not_a_redirect(browser: Browser, client: str | None) -> None:
    reply = browser.get("/oidc/auth", query=query(client_id=client))
    assert (reply.status, "location" in reply.headers) == (400, False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"scope": "email"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": VERIFIER + "="}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
    ],
)
def test_other_faults_are_the_client_s_to_know(
    browser: Browser, changes: dict[str, str | None], error: str
) -> None:
    asked = query(**changes)
    for reply in (
        browser.get("/oidc/auth", query=asked),
        browser.post("/oidc/auth", {**asked, "email": EMAIL}, origin=ORIGIN),
    ):
        brought = sent_back(reply)
        assert (brought["error"], brought["state"]) == (error, STATE)
        assert "code" not in brought
    asked["redirect_uri"] = OUT_OF_BAND
    page = browser.get("/oidc/auth", query=asked)
    assert (page.status, "location" in page.headers) == (400, False)


def test_parameters_are_given_once(browser: Browser) -> None:
    twice = "client_id=sigstore&client_id=sigstore"
    assert browser.send("GET", "/oidc/auth", query=twice).status == 400
    assert browser.send("GET", "/oidc/auth", query="state=%ff").status == 400
    many = "&".join(f"p{number}=1" for number in range(40))
    assert browser.send("GET", "/oidc/auth", query=many).status == 400


HOSTILE_HEADERS = [
    {"origin": "https://evil.example"},
    {"origin": "http://localhost:9999"},
    {"origin": "http://127.0.0.1:7446"},
    {"origin": "https://localhost:7446"},
    {"origin": "null"},
    {},
    {"origin": ORIGIN, "sec_fetch_site": "cross-site"},
    {"origin": ORIGIN, "sec_fetch_site": "same-site"},
]


@pytest.mark.parametrize("headers", HOSTILE_HEADERS)
def test_only_the_page_itself_may_post_the_form(browser: Browser, headers: dict[str, str]) -> None:
    reply = browser.post("/oidc/auth", {**query(), "email": EMAIL}, **headers)
    assert reply.status == 403
    assert "location" not in reply.headers


ENDPOINTS = [
    ("GET", "/oidc/.well-known/openid-configuration"),
    ("GET", "/oidc/jwks"),
    ("GET", "/oidc/auth"),
    ("POST", "/oidc/auth"),
    ("POST", "/oidc/token"),
    ("POST", "/oidc/local-token"),
]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:7446"},
        {"host": "localhost.evil.example"},
        {"host": "localhost:7446@evil.example"},
        {"host": "localhost:"},
        {"host": "127.0.0.2"},
        {"host": "[::]"},
        {"host": ""},
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"x-forwarded-host": "localhost"},
        {"via": "1.1 proxy"},
        {"x-forwarded-proto": "http"},
        {"cf-connecting-ip": "127.0.0.1"},
    ],
)
def test_rebound_names_and_proxies_are_refused(
    browser: Browser, method: str, path: str, headers: dict[str, str]
) -> None:
    sent = {"countermark-local-secret": SECRET, **headers}
    if path == "/oidc/auth":
        sent["origin"] = f"http://{headers.get('host', 'localhost:7446')}"
    reply = browser.send(method, path, headers=sent)
    assert reply.status == 403
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize(
    "client", [("192.0.2.7", 1), ("::ffff:192.0.2.7", 1), ("172.17.0.1", 1), None]
)
def test_other_machines_are_refused(
    issuer: EmbeddedIssuer, method: str, path: str, client: tuple[str, int] | None
) -> None:
    browser = Browser(routes(issuer.keeper, ISSUER), client=client)
    assert browser.send(method, path, headers={"origin": ORIGIN}).status == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:7446", "[::1]:7446"])
def test_every_name_of_this_machine_serves(issuer: EmbeddedIssuer, host: str) -> None:
    browser = Browser(routes(issuer.keeper, ISSUER), host=host, client=("::1", 9))
    page = browser.get("/oidc/auth", query=query())
    assert page.status == 200
    form = fields(page) | {"email": EMAIL}
    assert browser.post("/oidc/auth", form, origin=f"http://{host.lower()}").status == 303


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({"code": ""}, "invalid_request"),
        ({"code": "x" * 129}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code_verifier": "x" * 42}, "invalid_request"),
        ({"code_verifier": "x" * 129}, "invalid_request"),
        ({"code_verifier": "é" * 43}, "invalid_request"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"redirect_uri": REDIRECT + "2"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_grant"),
        ({"code": "x" * 27}, "invalid_grant"),
    ],
)
def test_token_endpoint_refusals(browser: Browser, changes: dict[str, str], error: str) -> None:
    code = sent_back(log_in(browser))["code"]
    reply = exchange(browser, **{"code": code, **changes})
    assert (reply.status, json.loads(reply.body)["error"]) == (400, error)
    assert reply.headers["cache-control"] == "no-store"


def test_a_code_is_good_once(browser: Browser) -> None:
    code = sent_back(log_in(browser))["code"]
    assert exchange(browser, code).status == 200
    again = exchange(browser, code)
    assert (again.status, json.loads(again.body)["error"]) == (400, "invalid_grant")


def test_a_code_is_good_for_a_minute(issuer: EmbeddedIssuer, browser: Browser) -> None:
    code = sent_back(log_in(browser))["code"]
    issuer.clock.time += timedelta(seconds=60)
    assert json.loads(exchange(browser, code).body)["error"] == "invalid_grant"


FORM = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code_verifier": VERIFIER}


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({"authorization": basic("sigstore", "")}, {}),
        ({"authorization": basic("sigstore", "")}, {"client_id": "sigstore"}),
        ({"authorization": basic("%73igstore", "")}, {}),
        ({}, {"client_id": "sigstore"}),
        ({}, {"client_id": "sigstore", "client_secret": ""}),
    ],
)
def test_clients_name_themselves_either_way(
    browser: Browser, headers: dict[str, str], form: dict[str, str]
) -> None:
    """sigstore-python uses HTTP Basic with an empty secret; others put the name in the form."""
    code = sent_back(log_in(browser))["code"]
    assert browser.post("/oidc/token", {**FORM, "code": code, **form}, **headers).status == 200


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({}, {}),
        ({}, {"client_id": "other"}),
        ({}, {"client_id": "sigstore", "client_secret": "guess"}),
        ({"authorization": basic("sigstore", "guess")}, {}),
        ({"authorization": basic("other", "")}, {"client_id": "sigstore"}),
        ({"authorization": basic("other", "")}, {}),
        ({"authorization": "Basic ***"}, {}),
        ({"authorization": "Basic /w=="}, {}),
        ({"authorization": "Bearer x"}, {"client_id": "sigstore"}),
    ],
)
def test_unknown_clients_get_no_tokens(
    browser: Browser, headers: dict[str, str], form: dict[str, str]
) -> None:
    code = sent_back(log_in(browser))["code"]
    reply = browser.post("/oidc/token", {**FORM, "code": code, **form}, **headers)
    assert (reply.status, json.loads(reply.body)["error"]) == (401, "invalid_client")
    assert ("www-authenticate" in reply.headers) == ("authorization" in headers)


@pytest.mark.parametrize("header", ["origin", "sec_fetch_site"])
def test_pages_get_no_tokens(browser: Browser, header: str) -> None:
    for path in ("/oidc/token", "/oidc/local-token"):
        value = ORIGIN if header == "origin" else "same-origin"
        assert browser.post(path, b"{}", **{header: value}).status == 403


def test_forms_are_forms_of_bounded_size(browser: Browser) -> None:
    assert browser.post("/oidc/token", b"{}", content_type="application/json").status == 400
    large = b"code=" + b"x" * 20_000
    form_type = "application/x-www-form-urlencoded"
    assert browser.post("/oidc/token", large, content_type=form_type).status == 413
    assert browser.post("/oidc/auth", large, content_type=form_type, origin=ORIGIN).status == 413


def local_token(browser: Browser, body: bytes, **headers: str) -> Reply:
    sent = {"content_type": "application/json", "countermark_local_secret": SECRET, **headers}
    return browser.post("/oidc/local-token", body, **{n: v for n, v in sent.items() if v})


def test_local_token(issuer: EmbeddedIssuer, browser: Browser) -> None:
    reply = local_token(browser, json.dumps({"email": EMAIL}).encode())
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert claims(issuer, json.loads(reply.body)["id_token"])["email"] == EMAIL


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"email":"ada@example.org"}', {"countermark_local_secret": ""}, 401),
        (b'{"email":"ada@example.org"}', {"countermark_local_secret": SECRET[:-1]}, 401),
        (b'{"email":"ada@example.org"}', {"countermark_local_secret": "x" * 300}, 401),
        (b'{"email":"ada@example.org"}', {"content_type": "text/plain"}, 400),
        (b'{"email":"ada@example.org"}', {"content_type": ""}, 400),
        (b'{"email":"ada"}', {}, 400),
        (b'{"email":null}', {}, 400),
        (b"{}", {}, 400),
        (b"", {}, 400),
        (b" " * 5000, {}, 413),
    ],
)
def test_local_token_refusals(
    browser: Browser, body: bytes, headers: dict[str, str], status: int
) -> None:
    reply = local_token(browser, body, **headers)
    assert reply.status == status
    assert json.loads(reply.body)["code"] == status
    assert SECRET[:-1] not in reply.text


@pytest.mark.parametrize(
    "url", ["https://login.example.org/oidc", "http://192.0.2.1/oidc", "http://localhost:7446/x"]
)
def test_the_issuer_exists_on_loopback_only(issuer: EmbeddedIssuer, url: str) -> None:
    with pytest.raises(SettingsError, match="loopback"):
        routes(issuer.keeper, url)


def test_style_and_icon_are_there(browser: Browser) -> None:
    page = browser.get("/oidc/auth", query=query()).text
    linked = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(set(linked)) == 2
    for path in set(linked):
        assert urlsplit(path).netloc == ""
        assert browser.get(path).status == 200


def test_too_many_logins_are_told_when_to_try_again(browser: Browser) -> None:
    form = fields(browser.get("/oidc/auth", query=query())) | {"email": EMAIL}
    for _ in range(1024):
        assert browser.post("/oidc/auth", form, origin=ORIGIN).status == 303
    reply = browser.post("/oidc/auth", form, origin=ORIGIN)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
