# SPDX-License-Identifier: Apache-2.0
"""Logging in with a browser: OpenID Connect code flow with PKCE (RFC 7636, RFC 8252).

The answer comes back to a listener on the loopback interface that serves one request; where no
browser can be opened, the person types the code that the issuer shows.
"""

import hmac
import html
import secrets
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from urllib.parse import parse_qs, urlencode, urlsplit

from countermark.client.transport import Transport, check, is_loopback, printable, split
from countermark.core.encoding import to_base64
from countermark.core.errors import FormatError, SettingsError, TokenRejected
from countermark.core.identity.token import parse_token
from countermark.core.wire.oauth import (
    CLIENT_ID,
    OUT_OF_BAND,
    AuthorizationRequest,
    CodeExchange,
    access_token_hash,
    code_challenge,
)
from countermark.core.wire.oidc import DISCOVERY_PATH, Discovery, TokenFault, TokenReply

# HTTP Basic with the client's name and an empty secret: public clients have none (RFC 8252).
_CLIENT_WITHOUT_SECRET = "Basic " + to_base64(f"{CLIENT_ID}:".encode("ascii"))
_WAIT_S = 120
_CALLBACK_PATH = "/auth/callback"
_WHAT = "identity provider"
_PAGE = "<!doctype html><meta charset=utf-8><title>Countermark</title><p>{}</p>"


def log_in(
    issuer: str,
    transport: Transport,
    *,
    open_browser: Callable[[str], bool],
    ask_for_code: Callable[[str], str],
) -> str:
    """Have a person log in; returns the identity token, unverified.

    Args:
        issuer: the issuer's URL.
        transport: for discovery and the exchange of the code.
        open_browser: opens an address and says whether that worked.
        ask_for_code: shows an address and returns what the person typed.

    Raises TokenRejected if the login was refused or its answer is not for us.
    """
    endpoints = discover(issuer, transport)
    verifier, state, nonce = (secrets.token_urlsafe(32) for _ in range(3))

    def address(redirect_uri: str) -> str:
        request = AuthorizationRequest(
            CLIENT_ID, redirect_uri, code_challenge(verifier), state, nonce
        )
        separator = "&" if urlsplit(endpoints.authorization_endpoint).query else "?"
        query = urlencode(request.to_parameters())
        return f"{endpoints.authorization_endpoint}{separator}{query}"

    with _Listener(state) as listener:
        redirect_uri = listener.redirect_uri
        if open_browser(address(redirect_uri)):
            code = listener.wait()
        else:
            redirect_uri = OUT_OF_BAND
            code = ask_for_code(address(redirect_uri)).strip()
    reply = _exchange(endpoints, transport, CodeExchange(code, redirect_uri, verifier))
    claims = parse_token(reply.id_token).claims
    claimed, at_hash = claims.get("nonce"), claims.get("at_hash")
    if claimed != nonce:
        raise TokenRejected("the identity token was not issued for this login")
    if at_hash is not None and at_hash != access_token_hash(reply.access_token):
        raise TokenRejected("the identity token and the access token do not belong together")
    return reply.id_token


def discover(issuer: str, transport: Transport) -> Discovery:
    """An issuer's description of itself, with endpoints that are safe to log in at."""
    url = issuer.rstrip("/") + DISCOVERY_PATH
    found = Discovery.parse(check(transport.get(url, _WHAT), _WHAT).body)
    if found.issuer != issuer:
        raise FormatError(_WHAT, f"{url} describes another issuer")
    for endpoint in (found.authorization_endpoint, found.token_endpoint):
        check_endpoint(endpoint)
    return found


def check_endpoint(url: str) -> None:
    """Refuse to log in where others could listen. Raises FormatError."""
    try:
        parts = split(url, _WHAT)
    except SettingsError as error:
        raise FormatError(_WHAT, f"{printable(url, 80)!r} is no address") from error
    # Any other scheme would start whatever program the system has for it.
    here = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not (here or parts.scheme == "https"):
        raise FormatError(_WHAT, f"{printable(url, 80)!r} is no safe place to log in")


def _exchange(endpoints: Discovery, transport: Transport, exchange: CodeExchange) -> TokenReply:
    reply = transport.post(
        endpoints.token_endpoint,
        _WHAT,
        urlencode(exchange.to_parameters()).encode("ascii"),
        content_type="application/x-www-form-urlencoded",
        headers={"Accept": "application/json", "Authorization": _CLIENT_WITHOUT_SECRET},
    )
    if 400 <= reply.status < 500:
        raise TokenRejected(f"the login was refused: {login_fault(reply.body) or reply.status}")
    return TokenReply.parse(check(reply, _WHAT).body)


def login_fault(body: bytes) -> str:
    """What an issuer says went wrong, printable; empty if it says nothing readable."""
    try:
        fault = TokenFault.parse(body)
    except FormatError:  # a proxy's page
        return ""
    return printable(fault.error_description or fault.error)


class _Server(ThreadingMixIn, TCPServer):
    # Threads, since browsers open connections in advance and leave them idle. Not HTTPServer,
    # which asks the name service for this machine's name.
    daemon_threads = True
    timeout = 0.2


class _Listener:
    """A loopback web server that waits for the browser to come back with the code."""

    def __init__(self, state: str) -> None:
        self.code = ""
        self.error = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                shown = outer._take(self.path, state)
                body = _PAGE.format(html.escape(shown or "Nothing here.")).encode("utf-8")
                self.send_response(200 if shown else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", "default-src 'none'")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing: the request line holds the code."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        port = self._server.server_address[1]
        self.redirect_uri = f"http://localhost:{port}{_CALLBACK_PATH}"

    def __enter__(self) -> "_Listener":
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.server_close()

    def wait(self) -> str:
        """The code. Raises TokenRejected after two minutes or if the login was refused."""
        deadline = time.monotonic() + _WAIT_S
        while not self.code and not self.error and time.monotonic() < deadline:
            self._server.handle_request()
        if self.error:
            raise TokenRejected(f"the login was refused: {printable(self.error)}")
        if not self.code:
            raise TokenRejected(f"nobody logged in within {_WAIT_S} seconds")
        return self.code

    def _take(self, path: str, state: str) -> str:
        """What to show for a request; keeps the code if the request is the answer to ours."""
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        given = query.get("state", [""])[0].encode("utf-8", "replace")
        if parts.path != _CALLBACK_PATH or not hmac.compare_digest(given, state.encode("ascii")):
            return ""
        self.code = query.get("code", [""])[0]
        if self.code:
            return "You are logged in and can close this page."
        self.error = query.get("error_description", query.get("error", ["no reason given"]))[0]
        return "The login was refused."
