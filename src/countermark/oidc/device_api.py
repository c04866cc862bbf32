# SPDX-License-Identifier: Apache-2.0
"""The embedded issuer's login by device code (RFC 8628): start, the page, and the polling."""

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from countermark.core.errors import FormatError, Pushback, RequestRejected
from countermark.core.wire import oidc as wire
from countermark.core.wire.device import (
    DevicePoll,
    DeviceRequest,
    DeviceStarted,
    read_user_code,
    show_user_code,
)
from countermark.core.wire.oauth import OAuthError
from countermark.httpkit.replies import json_bytes_reply
from countermark.oidc import answering, pages
from countermark.oidc.forms import check_client, read_form, read_query
from countermark.oidc.local import check_local, check_no_page, check_same_origin
from countermark.oidc.messages import DecideDevice, PollDevice, StartDevice
from countermark.rpc.message import Keeper

START_PATH, PAGE_PATH = "/oidc/device/code", "/oidc/device"
_REASONS: Mapping[str, str] = {
    "authorization_pending": "nobody has typed the code yet",
    "slow_down": "ask less often",
    "access_denied": "the login was refused",
    "expired_token": "the login is unknown, used or expired",
    "invalid_grant": "the login was begun by another client",
}
_MAX_SHOWN = 64


class DeviceLogin:
    """The endpoints, over a keeper."""

    def __init__(self, keeper: Keeper, issuer_url: str) -> None:
        self._keeper = keeper
        self._page = f"{issuer_url}/device"

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        return [
            Route(START_PATH, answering.oauth(self.start), methods=["POST"]),
            Route(PAGE_PATH, answering.html(self.ask), methods=["GET"]),
            Route(PAGE_PATH, answering.html(self.answer), methods=["POST"]),
        ]

    async def start(self, request: Request) -> Response:
        """Begin a login (section 3.1)."""
        check_no_page(request)
        form = await read_form(request)
        check_client(request, form)
        codes = await self._keeper.call(StartDevice(DeviceRequest.from_parameters(form).challenge))
        shown = show_user_code(codes.user_code)
        started = DeviceStarted(
            device_code=codes.device_code,
            user_code=shown,
            verification_uri=self._page,
            verification_uri_complete=f"{self._page}?{urlencode({'user_code': shown})}",
            expires_in=codes.lifetime_s,
            interval=codes.interval_s,
        )
        return json_bytes_reply(started.serialize(), headers=answering.TOKEN_NO_STORE)

    async def ask(self, request: Request) -> Response:
        """The page that asks for the code, filled in if the address has it (section 3.3.1).

        Showing it decides nothing: whoever made somebody open an address has won nothing.
        """
        host = check_local(request)
        code = read_query(request).get("user_code", "")[:_MAX_SHOWN]
        return pages.device_page(host=host, code=code, email="")

    async def answer(self, request: Request) -> Response:
        """Take the page's form."""
        host = check_same_origin(request)
        form = await read_form(request)
        code, email = form.get("user_code", "")[:_MAX_SHOWN], form.get("email", "").strip()
        allow = form.get("decision") != "cancel"
        try:
            letters = read_user_code(code)
            await self._keeper.call(DecideDevice(letters, email if allow else "", allow))
        except (FormatError, RequestRejected) as error:
            fault = f"{error.what} {error.why}" if isinstance(error, FormatError) else str(error)
            return pages.device_page(host=host, code=code, email=email[:254], fault=fault)
        except Pushback as error:  # the person's doing, not ours
            reply = pages.fault_page(str(error), 429)
            reply.headers["retry-after"] = str(error.retry_after_s)
            return reply
        return pages.device_done_page(email if allow else "", host=host)

    async def poll(self, request: Request, form: dict[str, str]) -> Response:
        """What became of it (section 3.4); cosign names no client, having proven itself by PKCE."""
        if "client_id" in form or "authorization" in request.headers:
            check_client(request, form)
        wanted = DevicePoll.from_parameters(form)
        polled = await self._keeper.call(PollDevice(wanted.device_code, wanted.verifier))
        if polled.tokens is None:
            raise OAuthError(polled.fault, _REASONS[polled.fault])
        reply = wire.TokenReply(
            id_token=polled.tokens.id_token,
            access_token=polled.tokens.access_token,
            expires_in=polled.tokens.lifetime_s,
        )
        return json_bytes_reply(reply.serialize(), headers=answering.TOKEN_NO_STORE)
