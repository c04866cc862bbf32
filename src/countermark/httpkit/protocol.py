# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 with limits: uvicorn's httptools protocol, which has none of its own.

Bounded are the bytes of a request's line and headers, the time they take, the time a body
takes, the time a connection stays idle, the time a client takes to read a reply, the number of
requests it may send ahead, and the number of connections. Sizes of bodies are the resources'
business (`httpkit.body`).

One timer per worker looks at all deadlines twice a second: timers of their own would cost
each request more than parsing it.
"""

import asyncio
import http
import json
import re
from dataclasses import dataclass
from enum import Enum
from time import perf_counter
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import HTTPScope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from countermark.httpkit.cycle import Cycle
from countermark.httpkit.metering import RequestMeter

_NEVER: Final = float("inf")
_PLAIN_PATH: Final = re.compile(rb"/[A-Za-z0-9/._~-]*")  # nothing in it needs a URL parser


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take.

    Attributes:
        header_bytes: request line and headers.
        target_bytes: path and query; taking a query apart costs far more than a header.
        header_s: from the first byte of a request to the end of its headers.
        body_s: from there to the end of its body.
        idle_s: without a request, after connecting or after a reply.
        write_s: a reply that is written may lie unread.
        unread_bytes: of all replies of one worker; beyond that, clients that do not read are
            dropped, the slowest first.
        last_call_s: while stopping, for a request on a connection that is open already.
        stop_s: while stopping, for the rest of a request that was begun.
        discard_s: what was refused is still read, so that the refusal is seen.
        ahead: requests sent before the first of them was answered.
        connections: of one worker.
    """

    header_bytes: int = 64 * 1024
    target_bytes: int = 16 * 1024
    header_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 30.0
    write_s: float = 60.0
    unread_bytes: int = 128 * 1024 * 1024
    discard_s: float = 5.0
    last_call_s: float = 0.3
    stop_s: float = 5.0
    ahead: int = 16
    connections: int = 2000


class _Phase(Enum):
    IDLE = "idle"
    HEADERS = "headers"
    BODY = "body"
    REPLY = "reply"


class _HeadersTooLarge(Exception):
    pass


class _TargetTooLong(Exception):
    pass


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        limits: Limits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        meter: RequestMeter | None = None,
        stopping: bool = False,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._meter = meter
        self._stopping = stopping
        self._deaf = False
        self._phase = _Phase.IDLE
        self._deadline = _NEVER
        self._write_deadline = _NEVER
        self._fed = 0  # bytes of the current request's line and headers, as far as known
        self._header_bytes = 0  # the same, exactly, of what the parser has taken apart

    # The loop calls these.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or turn it away if there are too many."""
        super().connection_made(transport)
        self._enter(_Phase.IDLE, self._limits.idle_s)
        if len(self.connections) > self._limits.connections:
            self._refuse(503, "Too many connections")

    def data_received(self, data: bytes) -> None:
        """Feed the parser, counting."""
        if self._deaf or self.transport.is_closing():
            return
        if self._phase is _Phase.IDLE:
            self._enter(_Phase.HEADERS, self._limits.header_s)
            self._fed = 0
        in_headers = self._phase is _Phase.HEADERS
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No protocol is ours to switch to. What follows is not HTTP: answer, then close.
            self._deaf = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _HeadersTooLarge):
                self._refuse(431, "Request Header Fields Too Large")
            elif isinstance(error.__context__, _TargetTooLong):
                self._refuse(414, "URI Too Long")
            else:
                self._refuse(400, "Bad Request")
        else:
            if in_headers and self._phase is _Phase.HEADERS:
                self._fed += len(data)
                if self._fed > self._limits.header_bytes:
                    self._refuse(431, "Request Header Fields Too Large")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if self._meter and self.cycle and not (self.cycle.response_complete or self._deaf):
            self._meter.abandoned()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: what was begun is answered, the next reply is the last one.

        A connection without a request stays open for a moment: one may be on its way, and
        closing under it would leave its client without an answer.
        """
        self._stopping = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        self._deadline = min(self._deadline, self.loop.time() + self._time_left(self._phase))

    def pause_writing(self) -> None:
        """The client does not read."""
        self._write_deadline = self.loop.time() + self._limits.write_s
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._write_deadline = _NEVER
        super().resume_writing()

    # The parser calls these.

    def on_message_begin(self) -> None:
        """A request begins."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._header_bytes = 0
        if self._phase is not _Phase.HEADERS:  # right behind another one
            self._enter(_Phase.HEADERS, self._limits.header_s)
            self._fed = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        self._header_bytes += len(url)
        if self._header_bytes > self._limits.header_bytes:
            raise _HeadersTooLarge
        self.url += url
        if len(self.url) > self._limits.target_bytes:
            raise _TargetTooLong

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line."""
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self._limits.header_bytes:
            raise _HeadersTooLarge
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The application takes over."""
        if len(self.pipeline) >= self._limits.ahead:
            raise OverflowError("too many requests sent ahead")
        self._enter(_Phase.BODY, self._limits.body_s)
        version = self.parser.get_http_version()
        path, query = self.url, b""
        if _PLAIN_PATH.fullmatch(path) is None:
            target = httptools.parse_url(path)
            path, query = target.path, target.query or b""
        text = path.decode("ascii")
        self.scope: HTTPScope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
        }
        previous = self.cycle
        cycle = self.cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not self._stopping,
            on_response=self.on_response_complete,
        )
        cycle.begun = perf_counter()
        cycle.meter = self._meter
        if previous is None or previous.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:  # sent ahead: it has to wait for its turn
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_message_complete(self) -> None:
        """The request is whole; from now on the time is ours."""
        super().on_message_complete()
        cast("Cycle", self.cycle).begun = perf_counter()
        if self.cycle.response_complete:
            self._enter(_Phase.IDLE, self._limits.idle_s)
        else:
            self._enter(_Phase.REPLY, _NEVER)

    # The request's cycle calls this.

    def on_response_complete(self) -> None:
        """A reply is written: start what was sent ahead, or wait for the next request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        newest = self.cycle
        if self._phase is _Phase.BODY and newest.response_complete and not newest.keep_alive:
            self._linger()  # answered before all of it was read, and nothing comes after it
        elif self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._phase is _Phase.BODY:
            self._deadline = self.loop.time() + self._limits.discard_s
        elif self._phase is _Phase.REPLY:
            self._enter(_Phase.IDLE, self._limits.idle_s)

    # The worker's timer calls these.

    @property
    def unread_bytes(self) -> int:
        """What of the replies waits for the client."""
        return self.transport.get_write_buffer_size()

    @property
    def unread_since(self) -> float:
        """When the client was last seen reading all of it; infinite for one that reads."""
        return self._write_deadline

    def drop_unread(self) -> int:
        """End a connection whose client does not read. Returns how many bytes that freed."""
        if self._write_deadline == _NEVER:
            return 0
        size = self.unread_bytes
        self.transport.abort()
        return size

    def expire(self, now: float) -> None:
        """End the connection if one of its times is up."""
        if now >= self._write_deadline or (self._deaf and now >= self._deadline):
            self.transport.abort()
        elif now >= self._deadline:
            self._deadline = _NEVER
            if self._phase is _Phase.IDLE or self._answered():
                self.transport.close()
            else:
                self._refuse(408, "Request Timeout")

    def _enter(self, phase: _Phase, seconds: float) -> None:
        self._phase = phase
        if self._stopping:
            seconds = min(seconds, self._time_left(phase))
        self._deadline = self.loop.time() + seconds

    def _time_left(self, phase: _Phase) -> float:
        """What a phase may take while the server stops."""
        if phase is _Phase.REPLY:
            return _NEVER  # it is ours to end
        return self._limits.last_call_s if phase is _Phase.IDLE else self._limits.stop_s

    def _answered(self) -> bool:
        return self._phase is _Phase.BODY and self.cycle.response_started

    def _refuse(self, status: int, message: str) -> None:
        """Answer in place of the application and close.

        Not while replies to earlier requests are due: the client would take ours for theirs.
        """
        if self._meter:
            self._meter.refused(status)
        cycle = self.cycle
        waiting = cycle is not None and not cycle.response_complete
        if waiting and (self._phase is not _Phase.BODY or cycle.response_started or self.pipeline):
            self.transport.close()
            return
        if waiting:  # it waits for a body that will not come
            cycle.disconnected = True
            cycle.message_event.set()
        body = json.dumps({"code": status, "message": message}, separators=(",", ":"))
        phrase = http.HTTPStatus(status).phrase
        extra = "retry-after: 1\r\n" if status == 503 else ""
        self.transport.write(
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\n{extra}"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode("ascii")
        )
        self._linger()

    def _linger(self) -> None:
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            return
        # Closing with bytes unread would reset the connection before the client sees why.
        self.transport.write_eof()
        self._deaf = True
        self._enter(_Phase.IDLE, self._limits.discard_s)


class Connections:
    """Makes the connections of one worker and watches their deadlines."""

    def __init__(
        self, limits: Limits, *, tick_s: float = 0.5, meter: RequestMeter | None = None
    ) -> None:
        self._limits = limits
        self._meter = meter
        self._tick_s = tick_s
        self._watching = False
        self._stopping = False

    def stop(self) -> None:
        """Connections that come from now on are the last ones."""
        self._stopping = True

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> BoundedHttp:
        """What uvicorn calls for every connection, as if this were a protocol class."""
        connection = BoundedHttp(
            self._limits, config, server_state, app_state, _loop, self._meter, self._stopping
        )
        if not self._watching:
            self._watching = True
            self._watch(connection.loop, server_state)
        return connection

    def _watch(self, loop: asyncio.AbstractEventLoop, state: ServerState) -> None:
        now = loop.time()
        connections = [c for c in list(state.connections) if isinstance(c, BoundedHttp)]
        for connection in connections:
            connection.expire(now)
        unread = sum(c.unread_bytes for c in connections)
        if self._meter:
            self._meter.sampled(len(connections), unread)
        too_many = unread - self._limits.unread_bytes
        if too_many > 0:
            for connection in sorted(connections, key=lambda c: c.unread_since):
                too_many -= connection.drop_unread()
                if too_many <= 0:
                    break
        loop.call_later(self._tick_s, self._watch, loop, state)
