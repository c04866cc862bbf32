# SPDX-License-Identifier: Apache-2.0
"""One connection of either end: frames in, frames out, writes of one loop turn together."""

import asyncio
from collections.abc import Callable
from typing import cast

from countermark.core.errors import FormatError
from countermark.rpc.framing import Frame, FrameReader


class FrameStream(asyncio.Protocol):
    """An asyncio protocol that speaks frames.

    Frames written during one turn of the loop leave in one system call: with many calls in
    flight that is most of the cost of talking to the keeper.
    """

    def __init__(
        self,
        on_frame: Callable[["FrameStream", Frame], None],
        on_lost: Callable[["FrameStream"], None],
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not one by class

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        self._outgoing.clear()
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        try:
            frames = self._reader.feed(data)
        except FormatError:
            self.close()
            return
        for frame in frames:
            self._on_frame(self, frame)

    @property
    def unsent_bytes(self) -> int:
        """What the other end had not taken when this turn of the loop began."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def write(self, frame: bytes) -> None:
        """Send a serialized frame soon. Does nothing once the connection is lost."""
        if self._transport is None:
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(frame)

    def close(self) -> None:
        """Send what is written, then close."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing:
            self._transport.write(b"".join(self._outgoing))
            self._outgoing.clear()
