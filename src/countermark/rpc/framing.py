# SPDX-License-Identifier: Apache-2.0
"""Frames on the socket between workers and the keeper.

A frame is a 4-byte big-endian length of all that follows, a 4-byte call number chosen by the
worker, one byte that says what it is, and a MessagePack payload (`codec`). Calls overlap and
are answered in any order.
"""

import struct
from typing import Final, NamedTuple

from countermark.core.errors import FormatError

MAX_PAYLOAD_BYTES: Final = 4 * 1024 * 1024
_HEAD = struct.Struct(">IIB")
_HEAD_BYTES = _HEAD.size
_AFTER_LENGTH = _HEAD_BYTES - 4
_unpack_head = _HEAD.unpack_from

REQUEST: Final = 0
REPLY: Final = 1
ERROR: Final = 2


class Frame(NamedTuple):
    """One frame.

    Attributes:
        call: the number that ties a reply to its request, 0 ≤ call < 2**32.
        kind: REQUEST, REPLY or ERROR.
        payload: at most MAX_PAYLOAD_BYTES.
    """

    call: int
    kind: int
    payload: bytes


def serialize(call: int, kind: int, payload: bytes) -> bytes:
    """One frame as bytes. Raises FormatError if the payload is too large."""
    size = len(payload)
    if size > MAX_PAYLOAD_BYTES:
        raise FormatError("keeper message", f"{size} bytes are more than {MAX_PAYLOAD_BYTES}")
    return _HEAD.pack(size + _AFTER_LENGTH, call, kind) + payload


class FrameReader:
    """Cuts a stream back into frames, however it was chopped up on the way."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the stream; return the frames that are now complete.

        Raises FormatError for a length or kind that no frame has. The stream is then lost:
        its owner closes the connection.
        """
        source: bytes | bytearray = data
        if self._rest:
            self._rest += data
            source = self._rest
        frames: list[Frame] = []
        position, available = 0, len(source)
        while available - position >= _HEAD_BYTES:
            length, call, kind = _unpack_head(source, position)
            if not _AFTER_LENGTH <= length <= MAX_PAYLOAD_BYTES + _AFTER_LENGTH:
                raise FormatError("keeper frame", f"has an impossible length, {length}")
            if kind > ERROR:
                raise FormatError("keeper frame", f"is of an unknown kind, {kind}")
            end = position + 4 + length
            if end > available:
                break
            frames.append(Frame(call, kind, bytes(source[position + _HEAD_BYTES : end])))
            position = end
        if source is data:
            self._rest += data[position:]
        else:
            del self._rest[:position]
        return frames
