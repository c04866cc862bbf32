# SPDX-License-Identifier: Apache-2.0
"""Cross-origin access, for the APIs that upstream opens to every origin (CA, log, TSA)."""

from collections.abc import Awaitable, Iterable, Sequence

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from countermark.httpkit.endpoint import lean_app
from countermark.httpkit.replies import BytesReply

_VARY = (b"vary", b"Origin")
_ANY = (b"access-control-allow-origin", b"*")
_CLOSED, _OPEN = [_VARY], [_ANY, _VARY]


def cors(
    routes: Iterable[BaseRoute],
    *,
    methods: Sequence[str] = ("GET", "POST", "HEAD"),
    headers: Sequence[str] = ("Accept", "Content-Type", "X-Requested-With"),
) -> list[BaseRoute]:
    """The same routes, readable by pages of any origin, preflights answered.

    No credentials, no exposed headers. Only a request with an Origin is told that it may read
    the reply, and caches are told that it makes a difference, as Rekor v1 does.
    """
    opened = list(routes)
    preflight = [
        _ANY,
        _VARY,
        (b"access-control-allow-methods", ", ".join(methods).encode("ascii")),
        (b"access-control-allow-headers", ", ".join(headers).encode("ascii")),
        (b"access-control-max-age", b"600"),
    ]
    for route in opened:
        if isinstance(route, Route):
            route.app = _CrossOrigin(lean_app(route), preflight)
            if route.methods is not None:
                route.methods.add("OPTIONS")
    return opened


class _CrossOrigin:
    """Hands on coroutines rather than awaiting them: these calls are made for every entry."""

    def __init__(self, app: ASGIApp, preflight: list[tuple[bytes, bytes]]) -> None:
        self._app = app
        self._preflight = preflight

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["method"] == "OPTIONS":
            return BytesReply(b"", 204, list(self._preflight))(scope, receive, send)
        added = _CLOSED
        for name, _ in scope["headers"]:
            if name == b"origin":
                added = _OPEN

        def send_open(message: Message) -> Awaitable[None]:
            if "headers" in message:
                message["headers"] = (*message["headers"], *added)
            return send(message)

        return self._app(scope, receive, send_open)
