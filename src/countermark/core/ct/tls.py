# SPDX-License-Identifier: Apache-2.0
"""The TLS presentation language, as far as certificate transparency uses it.

Big-endian integers of fixed size and byte vectors with a length in front (RFC 5246 section 4).
SCTs, Merkle tree leaves, tree heads and data tiles are written in it (RFC 6962 section 3).
"""

from countermark.core.errors import FormatError


class TLSReader:
    """Reads a buffer from front to back; every fault is a FormatError naming `what`."""

    __slots__ = ("_data", "_position", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._position = 0
        self._what = what

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._position < len(self._data)

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._position

    def fixed(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self._position + size
        if end > len(self._data):
            raise FormatError(self._what, "ends early")
        value = self._data[self._position : end]
        self._position = end
        return value

    def uint(self, size: int) -> int:
        """The next `size` bytes as an unsigned integer."""
        return int.from_bytes(self.fixed(size))

    def vector(self, length_size: int) -> bytes:
        """A byte vector whose length takes `length_size` bytes."""
        return self.fixed(self.uint(length_size))

    def end(self) -> None:
        """Raise unless everything was read."""
        if self:
            raise FormatError(self._what, "has trailing bytes")


def uint(value: int, size: int, what: str) -> bytes:
    """An unsigned integer of `size` bytes. Raises FormatError if it does not fit."""
    try:
        return value.to_bytes(size)
    except OverflowError as error:
        raise FormatError(what, f"{value} does not fit into {size} bytes") from error


def vector(data: bytes, length_size: int, what: str) -> bytes:
    """A byte vector with its length in front. Raises FormatError if it is too long."""
    return uint(len(data), length_size, what) + data
