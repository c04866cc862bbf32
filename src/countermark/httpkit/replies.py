# SPDX-License-Identifier: Apache-2.0
"""Replies whose bytes the service has made itself."""

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

NO_STORE: Final[Mapping[str, str]] = {"cache-control": "no-store"}
"""For replies that hold secrets or that are different every time."""

NO_CACHE: Final[Mapping[str, str]] = {
    "cache-control": "no-cache, no-store, no-transform, must-revalidate, private, max-age=0",
    "pragma": "no-cache",
    "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "x-accel-expires": "0",
}
"""What Rekor v1 sends with every GET."""

IMMUTABLE: Final[Mapping[str, str]] = {"cache-control": "public, max-age=31536000, immutable"}
"""For content that never changes under its name: full tiles and bundles."""

INERT: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}
"""For content that somebody else wrote: no browser is to interpret it."""

_JSON = (b"content-type", b"application/json")


class BytesReply(Response):
    """A finished reply.

    Starlette's own constructor decodes, lowers and inspects headers that we already know to be
    right; this one only adds the length, which matters on the busiest paths.
    """

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = headers
        headers.append((b"content-length", b"%d" % len(body)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": self.body})


def json_bytes_reply(
    data: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> BytesReply:
    """A reply of ready-made JSON; `headers` in lower case, beside type and length."""
    return bytes_reply(data, "application/json", status, headers)


def bytes_reply(
    data: bytes, media_type: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> BytesReply:
    """A reply of ready-made bytes; an empty `media_type` sends no Content-Type."""
    raw = [] if not media_type else [_JSON] if media_type == "application/json" else None
    if raw is None:
        raw = [(b"content-type", media_type.encode("latin-1"))]
    if headers:
        raw += [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]
    return BytesReply(data, status, raw)


def empty_reply(status: int, headers: Mapping[str, str] | None = None) -> BytesReply:
    """A reply with neither body nor Content-Type."""
    return bytes_reply(b"", "", status, headers)
