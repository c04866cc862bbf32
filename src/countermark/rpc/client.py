# SPDX-License-Identifier: Apache-2.0
"""The worker's end: a `Keeper` behind a socket that comes back when the keeper does."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

import msgspec

from countermark.core.errors import FormatError, InvariantBroken, Pushback, Unavailable
from countermark.rpc import codec, framing
from countermark.rpc.framing import Frame
from countermark.rpc.message import KeeperRestarting, R, Request
from countermark.rpc.stream import FrameStream

PATIENCE_S: Final = 5.0
"""How long a call that was not sent yet waits for the keeper to come (back)."""
_RETRY_S: Final = 0.02
_MAX_CALLS: Final = 8192
_MAX_UNSENT_BYTES: Final = 32 * 1024 * 1024

_Pending = tuple[type[Request[Any]], "asyncio.Future[msgspec.Struct]"]


class RemoteKeeper:
    """A `Keeper` at the other end of a Unix socket.

    `run` keeps the connection; `call` may be used before it is there. A call that was sent when
    the connection broke fails with Unavailable: the keeper may have carried it out. One that the
    keeper refused because it restarts is sent again to the next keeper.
    """

    def __init__(
        self,
        path: str,
        *,
        patience_s: float = PATIENCE_S,
        still_fits: Callable[[], bool] = lambda: True,
        on_loss: Callable[[], None] = lambda: None,
        on_return: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is connected yet.

        Args:
            path: of the socket.
            patience_s: how long calls wait for a connection.
            still_fits: asked whenever a connection was made; if not, it is given up, and `run`
                returns: its user knows less than the keeper that is there now.
            on_loss: called when a connection was lost.
            on_return: called when there is one (again).
        """
        self._path = path
        self._patience_s = patience_s
        self._still_fits = still_fits
        self._on_loss = on_loss
        self._on_return = on_return
        self._outdated = False
        self._stream: FrameStream | None = None
        self._pending: dict[int, _Pending] = {}
        self._next_call = 0
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()

    async def run(self) -> None:
        """Connect, and again whenever the connection is lost, until it fits no more."""
        loop = asyncio.get_running_loop()
        stream: FrameStream | None = None
        try:
            while True:
                self._lost.clear()
                with suppress(OSError):
                    _, stream = await loop.create_unix_connection(
                        lambda: FrameStream(self._on_frame, self._on_lost), self._path
                    )
                    if not self._still_fits():
                        return
                    self._stream = stream
                    self._connected.set()
                    self._on_return()
                    await self._lost.wait()
                await asyncio.sleep(_RETRY_S)
        finally:
            self._outdated = True
            self._connected.set()
            if stream is not None:
                stream.close()

    async def call(self, request: Request[R]) -> R:
        """Have `request` carried out; see `Keeper.call`."""
        payload = codec.encode(request)
        if len(payload) > framing.MAX_PAYLOAD_BYTES:
            raise FormatError("request", f"takes {len(payload)} bytes, too many for the keeper")
        while True:
            stream = self._stream or await self._wait_for_stream()
            try:
                return await self._send(stream, request, payload)
            except KeeperRestarting:
                if self._stream is stream:  # its end is near: nothing more goes there
                    self._stream = None
                    self._connected.clear()

    async def _send(self, stream: FrameStream, request: Request[R], payload: bytes) -> R:
        if len(self._pending) >= _MAX_CALLS or stream.unsent_bytes > _MAX_UNSENT_BYTES:
            raise Pushback("too many requests are in flight")
        call = self._next_call
        self._next_call = (call + 1) & 0xFFFFFFFF
        future: asyncio.Future[msgspec.Struct] = asyncio.get_running_loop().create_future()
        self._pending[call] = (type(request), future)
        stream.write(framing.serialize(call, framing.REQUEST, payload))
        try:
            return cast("R", await future)
        finally:
            self._pending.pop(call, None)

    async def _wait_for_stream(self) -> FrameStream:
        if len(self._pending) >= _MAX_CALLS:
            raise Pushback("too many requests are in flight")
        try:
            async with asyncio.timeout(self._patience_s):
                while self._stream is None:
                    if self._outdated:
                        raise Unavailable("the instance has other logs now; try again")
                    await self._connected.wait()
        except TimeoutError as error:
            raise Unavailable("the keeper process is not there; try again shortly") from error
        return self._stream

    def _on_frame(self, stream: FrameStream, frame: Frame) -> None:
        request, future = self._pending.get(frame.call, (None, None))
        if request is None or future is None or future.done():
            return  # the caller has given up
        try:
            if frame.kind == framing.REPLY:
                future.set_result(codec.decode_reply(request, frame.payload))
            else:
                future.set_exception(codec.decode_error(frame.payload))
        except FormatError as error:
            future.set_exception(InvariantBroken(f"keeper and worker disagree: {error}"))

    def _on_lost(self, stream: FrameStream) -> None:
        self._stream = None
        if not self._outdated:
            self._connected.clear()
            self._on_loss()
        self._lost.set()
        lost, self._pending = self._pending, {}
        for _, future in lost.values():
            if not future.done():
                future.set_exception(
                    Unavailable("the keeper process went away; it may have done what was asked")
                )
