# SPDX-License-Identifier: Apache-2.0
"""The worker's end: a `Keeper` behind a socket that comes back when the keeper does."""

import asyncio
from contextlib import suppress
from typing import Any, Final, NoReturn, cast

import msgspec

from countermark.core.errors import FormatError, InvariantBroken, Pushback, Unavailable
from countermark.rpc import codec, framing
from countermark.rpc.framing import Frame
from countermark.rpc.message import R, Request
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
    the connection broke fails with Unavailable: the keeper may have carried it out.
    """

    def __init__(self, path: str, *, patience_s: float = PATIENCE_S) -> None:
        self._path = path
        self._patience_s = patience_s
        self._stream: FrameStream | None = None
        self._pending: dict[int, _Pending] = {}
        self._next_call = 0
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()

    async def run(self) -> NoReturn:
        """Connect, and again whenever the connection is lost, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._lost.clear()
                with suppress(OSError):
                    _, stream = await loop.create_unix_connection(
                        lambda: FrameStream(self._on_frame, self._on_lost), self._path
                    )
                    self._stream = stream
                    self._connected.set()
                    await self._lost.wait()
                await asyncio.sleep(_RETRY_S)
        finally:
            if self._stream is not None:
                self._stream.close()

    async def call(self, request: Request[R]) -> R:
        """Have `request` carried out; see `Keeper.call`."""
        payload = codec.encode(request)
        if len(payload) > framing.MAX_PAYLOAD_BYTES:
            raise FormatError("request", f"takes {len(payload)} bytes, too many for the keeper")
        stream = self._stream or await self._wait_for_stream()
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
        self._connected.clear()
        self._lost.set()
        lost, self._pending = self._pending, {}
        for _, future in lost.values():
            if not future.done():
                future.set_exception(
                    Unavailable("the keeper process went away; it may have done what was asked")
                )
