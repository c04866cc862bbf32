# SPDX-License-Identifier: Apache-2.0
"""Reading request bodies, never more of them than the caller can use."""

from starlette.requests import ClientDisconnect, Request

from countermark.core.errors import RequestRejected


class BodyTooLarge(RequestRejected):
    """The request body is larger than this resource takes: `limit` bytes."""

    code = "body-too-large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")
        self.limit = limit


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body, at most `limit` bytes of it.

    A body that declares itself too large is refused before any of it is read; the rest are
    counted as they arrive. Bodies are never decompressed: Content-Encoding is the caller's to
    refuse. How long a body may take is the protocol's business (`httpkit.protocol`).

    Raises BodyTooLarge, or Starlette's ClientDisconnect.
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
    parts = [first]
    size = len(first)
    while message["type"] == "http.request" and message.get("more_body"):
        if size > limit:
            raise BodyTooLarge(limit)
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        parts.append(part)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if size > limit:
        raise BodyTooLarge(limit)
    return b"".join(parts)
