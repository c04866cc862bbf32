# SPDX-License-Identifier: Apache-2.0
"""One request and its reply: uvicorn's cycle, with each reply in a single write.

uvicorn writes head and body apart, which is two system calls and two packets for every reply,
and looks at every header twice with regular expressions. Busy paths feel both.
"""

from time import perf_counter
from typing import Final

from uvicorn._types import ASGISendEvent, HTTPResponseBodyEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from countermark.httpkit.metering import RequestMeter

_NO_BODY: Final = frozenset((204, 304))


class Cycle(RequestResponseCycle):
    """Keeps the head of a reply until the first piece of its body is there.

    Attributes:
        begun: `perf_counter` when the request was whole, or as far as it has come.
        meter: told when the reply is complete.
    """

    begun: float = 0.0
    meter: RequestMeter | None = None
    _status: int = 0
    _head: bytes = b""

    async def send(self, message: ASGISendEvent) -> None:
        """Take one ASGI message. Raises RuntimeError for what no application may send."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.body" and self.response_started:
            self._write_body(message)
        elif message["type"] == "http.response.start" and not self.response_started:
            self._begin(message)
        else:
            raise RuntimeError(f"{message['type']} is out of order")

    def _begin(self, message: HTTPResponseStartEvent) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        status = self._status = message["status"]
        lines = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *message.get("headers", ())):
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        has_body = self.scope["method"] != "HEAD" and status not in _NO_BODY
        if self.chunked_encoding is None and has_body:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        # Whatever a header's value was made of, it must not have become another header.
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            self.response_started = False
            raise RuntimeError("a reply's header holds a line break or a NUL")
        self._head = head + b"\r\n"

    def _write_body(self, message: HTTPResponseBodyEvent) -> None:
        if self.response_complete:
            raise RuntimeError("the reply is complete already")
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            data = b""
            self.expected_content_length = 0
        elif self.chunked_encoding:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                data += b"0\r\n\r\n"
        else:
            data = body
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("a reply's body is longer than its Content-Length")
        if self._head:
            data, self._head = self._head + data, b""
        self.transport.write(data)
        if more:
            return
        if self.expected_content_length:
            raise RuntimeError("a reply's body is shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not (self.keep_alive or self.more_body):
            self.transport.close()
        if self.meter is not None:
            self.meter.finished(self.scope, self._status, perf_counter() - self.begun)
        self.on_response()
