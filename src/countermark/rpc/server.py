# SPDX-License-Identifier: Apache-2.0
"""The keeper's end: takes calls from workers, has them carried out, sends the answers."""

import asyncio
import logging
import socket
from typing import Any, Final

from countermark.core.errors import (
    CountermarkError,
    FormatError,
    InvariantBroken,
    Pushback,
    Unavailable,
)
from countermark.rpc import codec, framing
from countermark.rpc.framing import Frame
from countermark.rpc.message import Handlers, KeeperRestarting, Request
from countermark.rpc.stream import FrameStream

_MAX_REQUESTS: Final = 32768
_logger = logging.getLogger(__name__)


class KeeperServer:
    """Serves calls on one listening socket with a fixed set of handlers."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = dict(handlers)
        self._decoder = codec.RequestDecoder(handlers)
        self._streams: set[FrameStream] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._restarting = False
        self._idle = asyncio.Event()

    async def run(self, listener: socket.socket) -> None:
        """Serve until `stop`; calls begun by then are answered first. Cancelling drops them."""
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(self._accept, sock=listener)
        try:
            await self._stop.wait()
            server.close()
            await self._idle.wait()
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            for stream in list(self._streams):
                stream.close()

    def stop(self, *, restarting: bool = False) -> None:
        """Take no new connections, answer what was begun, then let `run` return.

        What comes meanwhile is refused. If the process is `restarting`, callers are told that
        another one comes at once, which they then wait for.
        """
        self._restarting = restarting
        self._stop.set()
        if not self._tasks:
            self._idle.set()

    def _accept(self) -> FrameStream:
        stream = FrameStream(self._on_frame, self._streams.discard)
        self._streams.add(stream)
        return stream

    def _on_frame(self, stream: FrameStream, frame: Frame) -> None:
        try:
            if frame.kind != framing.REQUEST:
                raise FormatError("keeper frame", "is not a request")
            if self._stop.is_set():
                if self._restarting:
                    raise KeeperRestarting("the keeper is restarting; try again shortly")
                raise Unavailable("the keeper is stopping; try again shortly")
            if len(self._tasks) >= _MAX_REQUESTS:
                raise Pushback("the keeper has too many requests in hand")
            request = self._decoder.decode(frame.payload)
        except CountermarkError as error:
            self._send_error(stream, frame.call, error)
            return
        # A group of tasks would take longer to keep account of one than this takes to make it,
        # and no task here can fail: `_carry_out` sends whatever goes wrong.
        task = asyncio.get_running_loop().create_task(self._carry_out(stream, frame.call, request))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks and self._stop.is_set():
            self._idle.set()

    async def _carry_out(self, stream: FrameStream, call: int, request: Request[Any]) -> None:
        try:
            reply = await self._handlers[type(request)](request)
            stream.write(framing.serialize(call, framing.REPLY, codec.encode(reply)))
        except CountermarkError as error:
            self._send_error(stream, call, error)
        except Exception:  # a bug in one handler must not end the keeper, nor hide
            _logger.exception("handler of %s failed", type(request).__name__)
            self._send_error(stream, call, InvariantBroken("internal error of the keeper"))

    def _send_error(self, stream: FrameStream, call: int, error: CountermarkError) -> None:
        stream.write(framing.serialize(call, framing.ERROR, codec.encode_error(error)))
