# SPDX-License-Identifier: Apache-2.0
"""How the issuer's endpoints say what went wrong: as a page, as our JSON, as OAuth's."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from countermark.core.errors import (
    FormatError,
    Pushback,
    RequestRejected,
    TokenRejected,
    Unavailable,
)
from countermark.core.wire import oidc as wire
from countermark.core.wire.oauth import OAuthError
from countermark.httpkit.body import BodyTooLarge
from countermark.httpkit.problems import problem_body
from countermark.httpkit.replies import NO_STORE, json_bytes_reply
from countermark.oidc import pages
from countermark.oidc.local import NotLocal

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

TOKEN_NO_STORE = {**NO_STORE, "pragma": "no-cache"}  # RFC 6749 section 5.1 asks for both
_STATUS: Mapping[type[Exception], int] = {
    NotLocal: 403,
    TokenRejected: 401,
    BodyTooLarge: 413,
    FormatError: 400,
    RequestRejected: 400,
    Unavailable: 503,
}


def _status(error: Exception) -> int:
    return next(status for kind, status in _STATUS.items() if isinstance(error, kind))


def _retry(error: Exception) -> dict[str, str]:
    if not isinstance(error, Unavailable):
        return {}
    return {"retry-after": str(error.retry_after_s if isinstance(error, Pushback) else 1)}


def html(endpoint: Endpoint) -> Endpoint:
    """Errors become a page."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except tuple(_STATUS) as error:
            said = f"{error.what} {error.why}" if isinstance(error, FormatError) else str(error)
            reply = pages.fault_page(said, _status(error))
            reply.headers.update(_retry(error))
            return reply

    return answered


def json(endpoint: Endpoint) -> Endpoint:
    """Errors become our JSON."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except tuple(_STATUS) as error:
            status = _status(error)
            headers = {**TOKEN_NO_STORE, **_retry(error)}
            return json_bytes_reply(problem_body(status, str(error)), status, headers)

    return answered


def oauth(endpoint: Endpoint) -> Endpoint:
    """Errors become RFC 6749's JSON (section 5.2)."""

    async def answered(request: Request) -> Response:
        headers = TOKEN_NO_STORE
        try:
            return await endpoint(request)
        except OAuthError as error:
            status, name = (401 if error.error == "invalid_client" else 400), error.error
            if status == 401 and "authorization" in request.headers:
                headers = {**headers, "www-authenticate": 'Basic realm="countermark"'}
            reason = str(error)
        except Unavailable as error:
            status, name, reason = 503, "temporarily_unavailable", str(error)
            headers = {**headers, **_retry(error)}
        except tuple(_STATUS) as error:
            status, name, reason = _status(error), "invalid_request", str(error)
        return json_bytes_reply(wire.TokenFault(name, reason).serialize(), status, headers)

    return answered
