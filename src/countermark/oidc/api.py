# SPDX-License-Identifier: Apache-2.0
"""The embedded issuer's HTTP API: discovery, keys, login page, token endpoint, local shortcut.

A development issuer: it serves this machine only (see `local`) and its page says what it is.
"""

from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError, RequestRejected, SettingsError, TokenRejected
from countermark.core.hosts import is_loopback
from countermark.core.wire import oidc as wire
from countermark.core.wire.device import DEVICE_GRANT
from countermark.core.wire.oauth import (
    CLIENT_ID,
    OUT_OF_BAND,
    AuthorizationRequest,
    CodeExchange,
    OAuthError,
)
from countermark.httpkit.body import read_body
from countermark.httpkit.replies import NO_STORE, empty_reply, json_bytes_reply
from countermark.oidc import answering, pages
from countermark.oidc.answering import TOKEN_NO_STORE, Endpoint
from countermark.oidc.device_api import DeviceLogin
from countermark.oidc.forms import check_client, read_form, read_query
from countermark.oidc.local import check_local, check_no_page, check_same_origin
from countermark.oidc.messages import FetchKeys, GrantCode, IssueLocalToken, RedeemCode
from countermark.rpc.message import Keeper

_MAX_JSON_BYTES = 4096
_MAX_SECRET = 256
_CACHED = {"cache-control": "public, max-age=60"}


def routes(keeper: Keeper, issuer_url: str) -> list[BaseRoute]:
    """The issuer's routes, under ``/oidc``.

    Raises SettingsError unless `issuer_url` is ``/oidc`` of a loopback address.
    """
    parts = urlsplit(issuer_url)
    if not is_loopback(parts.hostname or "") or parts.path != "/oidc":
        raise SettingsError("the development login can only be had at a loopback address")
    devices = DeviceLogin(keeper, issuer_url)
    login = _Login(keeper, issuer_url, devices)
    return [
        *devices.routes(),
        Route(f"/oidc{wire.DISCOVERY_PATH}", answering.json(login.discovery)),
        Route("/oidc/jwks", answering.json(login.keys)),
        Route("/oidc/auth", answering.html(login.ask), methods=["GET"]),
        Route("/oidc/auth", answering.html(login.answer), methods=["POST"]),
        Route("/oidc/token", answering.oauth(login.exchange), methods=["POST"]),
        Route(wire.LOCAL_TOKEN_PATH, answering.json(login.local_token), methods=["POST"]),
        Route(pages.STYLE_PATH, _static(pages.style)),
        Route(pages.ICON_PATH, _static(pages.icon)),
    ]


class _Login:
    def __init__(self, keeper: Keeper, issuer_url: str, devices: DeviceLogin) -> None:
        self._keeper = keeper
        self._devices = devices
        self._discovery = wire.Discovery(
            issuer=issuer_url,
            authorization_endpoint=f"{issuer_url}/auth",
            token_endpoint=f"{issuer_url}/token",
            device_authorization_endpoint=f"{issuer_url}/device/code",
            grant_types_supported=("authorization_code", DEVICE_GRANT),
            jwks_uri=f"{issuer_url}/jwks",
            code_challenge_methods_supported=("S256",),
            token_endpoint_auth_methods_supported=("none", "client_secret_basic"),
            claims_supported=("iss", "sub", "aud", "iat", "exp", "email", "email_verified"),
        ).serialize()

    async def discovery(self, request: Request) -> Response:
        """OpenID Connect Discovery 1.0 section 4."""
        check_local(request)
        return json_bytes_reply(self._discovery, headers=_CACHED)

    async def keys(self, request: Request) -> Response:
        """The issuer's JWK Set."""
        check_local(request)
        reply = await self._keeper.call(FetchKeys())
        keys = wire.jwks(*map(PublicKey.from_spki, reply.spkis))
        return json_bytes_reply(keys, headers=_CACHED)

    async def ask(self, request: Request) -> Response:
        """Show the page that asks who is there."""
        host = check_local(request)
        parameters = read_query(request)
        try:
            asked = AuthorizationRequest.from_parameters(parameters)
        except OAuthError as error:
            return _turn_away(parameters, error)
        return pages.login_page(asked, host=host, email=asked.login_hint)

    async def answer(self, request: Request) -> Response:
        """Take the page's form: send the browser back with a code, or show the code."""
        host = check_same_origin(request)
        form = await read_form(request)
        try:
            # The browser has had it in its hands, so everything is checked again.
            asked = AuthorizationRequest.from_parameters(form)
            if form.get("decision") == "cancel":
                raise OAuthError("access_denied", "the login was cancelled")
        except OAuthError as error:
            return _turn_away(form, error)
        email = form.get("email", "").strip()
        try:
            granted = await self._keeper.call(
                GrantCode(email, asked.client_id, asked.redirect_uri, asked.challenge, asked.nonce)
            )
        except RequestRejected as error:
            return pages.login_page(asked, host=host, email=email[:254], fault=str(error))
        if asked.redirect_uri == OUT_OF_BAND:
            return pages.code_page(granted.code, email, host=host)
        return _send_back(asked.redirect_uri, {"code": granted.code, "state": asked.state})

    async def exchange(self, request: Request) -> Response:
        """Trade a code in for tokens (RFC 6749 section 4.1.3, RFC 8628 section 3.4)."""
        check_no_page(request)
        form = await read_form(request)
        if form.get("grant_type") == DEVICE_GRANT:
            return await self._devices.poll(request, form)
        check_client(request, form)
        wanted = CodeExchange.from_parameters(form)
        try:
            tokens = await self._keeper.call(
                RedeemCode(wanted.code, CLIENT_ID, wanted.redirect_uri, wanted.verifier)
            )
        except RequestRejected as error:
            raise OAuthError("invalid_grant", str(error)) from error
        reply = wire.TokenReply(
            id_token=tokens.id_token,
            access_token=tokens.access_token,
            expires_in=tokens.lifetime_s,
        )
        return json_bytes_reply(reply.serialize(), headers=TOKEN_NO_STORE)

    async def local_token(self, request: Request) -> Response:
        """Issue a token to a program that can read the data directory's secret."""
        check_no_page(request)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise FormatError("local token request", "is not application/json")
        secret = request.headers.get(wire.LOCAL_SECRET_HEADER, "")
        if not 0 < len(secret) <= _MAX_SECRET:
            raise TokenRejected(f"the {wire.LOCAL_SECRET_HEADER} header is missing")
        body = await read_body(request, limit=_MAX_JSON_BYTES)
        wanted = wire.LocalTokenRequest.parse(body)
        tokens = await self._keeper.call(IssueLocalToken(secret, wanted.email))
        reply = wire.TokenReply(id_token=tokens.id_token, expires_in=tokens.lifetime_s)
        return json_bytes_reply(reply.serialize(), headers=TOKEN_NO_STORE)


def _turn_away(parameters: Mapping[str, str], error: OAuthError) -> Response:
    """Tell the client; its redirect was found good before an OAuthError could be raised."""
    redirect = parameters["redirect_uri"]
    if redirect == OUT_OF_BAND:
        return pages.fault_page(str(error))
    return _send_back(
        redirect,
        {
            "error": error.error,
            "error_description": str(error),
            "state": parameters.get("state", ""),
        },
    )


def _send_back(redirect: str, parameters: Mapping[str, str]) -> Response:
    query = urlencode({name: text for name, text in parameters.items() if text})
    # 303, so that the browser does not post the form's address on to the client.
    headers = {**NO_STORE, "location": f"{redirect}?{query}", "referrer-policy": "no-referrer"}
    return empty_reply(303, headers)


def _static(make: Callable[[], Response]) -> Endpoint:
    async def answered(_: Request) -> Response:
        return make()

    return answered
