# SPDX-License-Identifier: Apache-2.0
"""Logging in with a browser elsewhere: the device authorization grant (RFC 8628) with PKCE."""

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlencode

from countermark.client.oauth import check_endpoint, discover, login_fault
from countermark.client.transport import Transport, check, printable
from countermark.core.errors import FormatError, TokenRejected, Unavailable
from countermark.core.identity.token import parse_token
from countermark.core.wire.device import DevicePoll, DeviceRequest, DeviceStarted
from countermark.core.wire.oauth import access_token_hash, code_challenge
from countermark.core.wire.oidc import TokenFault, TokenReply

_WHAT = "identity provider"
_FORM = "application/x-www-form-urlencoded"
_LEAST_INTERVAL_S, _MAX_INTERVAL_S, _MAX_WAIT_S = 1, 60, 1800
_SLOWER_S = 5  # RFC 8628 section 3.5


class ToShow(NamedTuple):
    """What the person must be told.

    Attributes:
        address: where to go.
        code: what to type there; printable.
        minutes: for how long.
    """

    address: str
    code: str
    minutes: int


def offers_device_flow(issuer: str, transport: Transport) -> bool:
    """Whether an issuer has it."""
    return bool(discover(issuer, transport).device_authorization_endpoint)


def log_in_by_code(
    issuer: str,
    transport: Transport,
    show: Callable[[ToShow], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Have a person log in with a browser anywhere; returns the identity token, unverified.

    Args:
        issuer: the issuer's URL.
        transport: to ask it.
        show: tells the person.
        sleep: waits so many seconds.

    Raises TokenRejected if the login was refused or nobody logged in in time.
    """
    endpoints = discover(issuer, transport)
    endpoint = endpoints.device_authorization_endpoint
    if not endpoint:
        error = TokenRejected("the identity provider has no login by code")
        error.add_note("leave out --device to log in with a browser here")
        raise error
    check_endpoint(endpoint)
    verifier = secrets.token_urlsafe(32)
    started = _start(transport, endpoint, DeviceRequest(code_challenge(verifier)))
    life_s = max(1, min(started.expires_in, _MAX_WAIT_S))
    address = started.verification_uri_complete or started.verification_uri
    show(ToShow(printable(address, 500), printable(started.user_code, 40), -(-life_s // 60)))
    over_s = time.monotonic() + life_s
    interval_s = float(max(_LEAST_INTERVAL_S, min(started.interval, _MAX_INTERVAL_S)))
    poll = DevicePoll(started.device_code, verifier)
    while True:
        sleep(interval_s)
        if time.monotonic() > over_s:
            raise TokenRejected("nobody logged in while the code was good")
        fault = ""
        try:
            answer = _ask(transport, endpoints.token_endpoint, poll)
            if isinstance(answer, str):
                return answer
            fault = answer.error
        except Unavailable:
            interval_s = min(_MAX_INTERVAL_S, interval_s * 2)
            continue
        if fault == "slow_down":
            interval_s = min(_MAX_INTERVAL_S, interval_s + _SLOWER_S)
        elif fault != "authorization_pending":
            reason = printable(answer.error_description or fault)
            raise TokenRejected(f"the login was refused: {reason}")


def _start(transport: Transport, endpoint: str, request: DeviceRequest) -> DeviceStarted:
    form = urlencode(request.to_parameters()).encode("ascii")
    reply = transport.post(
        endpoint, _WHAT, form, content_type=_FORM, headers={"Accept": "application/json"}
    )
    if 400 <= reply.status < 500:
        raise TokenRejected(f"the login was refused: {login_fault(reply.body) or reply.status}")
    return DeviceStarted.parse(check(reply, _WHAT).body)


def _ask(transport: Transport, endpoint: str, poll: DevicePoll) -> str | TokenFault:
    """The identity token, or why there is none yet."""
    form = urlencode(poll.to_parameters()).encode("ascii")
    reply = transport.post(
        endpoint, _WHAT, form, content_type=_FORM, headers={"Accept": "application/json"}
    )
    if reply.status in (400, 401, 403):
        try:
            return TokenFault.parse(reply.body)
        except FormatError:  # a proxy's page
            check(reply, _WHAT)
    tokens = TokenReply.parse(check(reply, _WHAT).body)
    at_hash = parse_token(tokens.id_token).claims.get("at_hash")
    if at_hash is not None and at_hash != access_token_hash(tokens.access_token):
        raise TokenRejected("the identity token and the access token do not belong together")
    return tokens.id_token
