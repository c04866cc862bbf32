# SPDX-License-Identifier: Apache-2.0
"""Endpoints without Starlette's wrapper.

Starlette runs an endpoint inside closures that look for exception handlers of an application
that we do not use. On the busiest paths that is a noticeable part of a request.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

_METHODS: Final = (
    "ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR"
    " MKCOL MOVE NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH"
    " SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE"
)
EVERY_METHOD: Final = tuple(_METHODS.split())
"""All that the HTTP parser knows: for routes whose endpoint says itself what it allows."""


def lean_app(route: Route) -> ASGIApp:
    """The route's ASGI application, called directly where the endpoint is a plain coroutine."""
    stock = getattr(route.app, "__module__", "") == "starlette.routing"
    if stock and inspect.iscoroutinefunction(route.endpoint):
        return _direct(route.endpoint)
    return route.app


def _direct(endpoint: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reply = await endpoint(Request(scope, receive, send))
        await reply(scope, receive, send)

    return app
