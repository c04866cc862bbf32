# SPDX-License-Identifier: Apache-2.0
"""Reading request bodies, never more of them than the caller can use."""

from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from countermark.core.errors import Pushback, RequestRejected

MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""Of bodies that do not come in one piece, in one worker; a full body is read several times over
before it is hashed, so memory is a multiple of this."""
_HOLDER: Final = "countermark.bodies"
_HELD: Final = "countermark.held"


class BodyTooLarge(RequestRejected):
    """The request body is larger than this resource takes: `limit` bytes."""

    code = "body-too-large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")
        self.limit = limit


class HeldBodies:
    """Bounds what all requests of a worker together hold of their bodies: thousands may upload.

    The application makes one, gives it to every request and takes back what the request held.
    """

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        self._limit = limit
        self._held = 0

    @property
    def held_bytes(self) -> int:
        """What is in memory now."""
        return self._held

    def offer(self, scope: Scope) -> None:
        """Count what `read_body` reads for this request."""
        scope[_HOLDER] = self

    def release(self, scope: Scope) -> None:
        """The request is done with."""
        self._held -= scope.pop(_HELD, 0)

    def take(self, scope: Scope, size: int) -> None:
        """`size` more bytes are in memory. Raises Pushback if that is too much."""
        if self._held + size > self._limit:
            raise Pushback("too many large request bodies are under way")
        self._held += size
        scope[_HELD] = scope.get(_HELD, 0) + size


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body, at most `limit` bytes of it.

    A body that declares itself too large is refused before any of it is read; the rest are
    counted as they arrive. Bodies are never decompressed: Content-Encoding is the caller's to
    refuse. How long a body may take is the protocol's business (`httpkit.protocol`).

    Raises BodyTooLarge, Pushback, or Starlette's ClientDisconnect.
    """
    for name, value in request.scope["headers"]:
        # The HTTP parser has refused lengths that are not plain digits.
        if name == b"content-length" and int(value) > limit:
            raise BodyTooLarge(limit)
    receive = request.receive
    message = await receive()
    first: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        if len(first) > limit:
            raise BodyTooLarge(limit)
        return first
    bodies: HeldBodies | None = request.scope.get(_HOLDER)
    part = first
    parts = [first]
    size = len(first)
    while message["type"] == "http.request" and message.get("more_body"):
        if size > limit:
            raise BodyTooLarge(limit)
        if bodies is not None:
            bodies.take(request.scope, len(part))
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        parts.append(part)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if size > limit:
        raise BodyTooLarge(limit)
    return b"".join(parts)
