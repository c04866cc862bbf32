# SPDX-License-Identifier: Apache-2.0
"""An HTTP client that calls an ASGI application in this process, through Starlette's real app."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Scope


@dataclass(frozen=True)
class Reply:
    """What the application answered; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


class Browser:
    """Sends requests to routes. Header values are those of a direct, local client."""

    def __init__(
        self,
        routes: Iterable[BaseRoute],
        *,
        host: str = "localhost:7446",
        client: tuple[str, int] | None = ("127.0.0.1", 50_000),
    ) -> None:
        self.app: ASGIApp = Starlette(routes=list(routes))
        self.host = host
        self.client = client

    def get(self, path: str, *, query: Mapping[str, str] | None = None, **headers: str) -> Reply:
        return self.send("GET", path, query=urlencode(query or {}), headers=headers)

    def post(self, path: str, body: bytes | Mapping[str, str] = b"", **headers: str) -> Reply:
        """Post bytes, or a form."""
        if isinstance(body, Mapping):
            body = urlencode(body).encode("ascii")
            headers.setdefault("content_type", "application/x-www-form-urlencoded")
        return self.send("POST", path, headers=headers, body=body)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """One request. Underscores in header names stand for hyphens."""
        named = {name.replace("_", "-").lower(): value for name, value in (headers or {}).items()}
        fields = {"host": self.host, "content-length": str(len(body))} | named
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in fields.items()],
            "client": self.client,
            "server": ("127.0.0.1", 7446),
        }
        return self.execute(self._run(scope, body))

    def execute(self, exchange: Coroutine[Any, Any, Reply]) -> Reply:
        """Carry out one exchange; for applications that need an event loop of their own."""
        return asyncio.run(exchange)

    async def _run(self, scope: Scope, body: bytes) -> Reply:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, *rest = sent
        headers: dict[str, str] = {}
        for name, value in start["headers"]:
            key = name.decode("latin-1").lower()
            assert key not in headers, f"{key} was sent twice"
            headers[key] = value.decode("latin-1")
        return Reply(start["status"], headers, b"".join(part.get("body", b"") for part in rest))
