# SPDX-License-Identifier: Apache-2.0
"""Tells a torn last write from damage, in RocksDB's write-ahead logs, before they are replayed.

Every write of ours is synced before the next one begins, so a power cut can leave one record of a
log in pieces, any pages of it: the last one. RocksDB's own reading is too strict for that (a page
missing in the middle is "corruption") and too trusting for the rest: it takes zeros or a wrong
length for the end, and would lose acknowledged rounds behind them in silence. Here, what does
not read is a torn tail only if no later write can be found behind it.

A log is blocks of 32 KiB; a record's pieces never cross them. A piece is CRC-32C (masked) 4,
length 2, type 1 (1 whole, 2 first, 3 middle, 4 last), payload; little-endian. The payload of a
record starts with its first sequence number, 8, and how many it takes, 4.
"""

import mmap
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from countermark.core.errors import InvariantBroken

_BLOCK = 32 * 1024
_HEADER = struct.Struct("<IHB")
_START = struct.Struct("<QI")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def check_logs(folder: Path) -> None:
    """Look for what RocksDB would pass over in silence. Reads headers; RocksDB sums the rest.

    Raises InvariantBroken if something is missing that was written before something else; OSError.
    """
    following = 0  # the sequence number that has to come next; 0 if unknown
    for path in _logs(folder):
        with _mapped(path) as data:
            log = _Log(data, following)
            if following and log.first is not None and log.first > following:
                raise _damaged("writes before the first are missing", path)
            log.check_end(path)
            following = log.following


def drop_torn_write(folder: Path) -> bool:
    """Cut a last write that never completed off its log; whether there was one.

    For the owner of a database that RocksDB refuses. Raises InvariantBroken if something was
    written after what does not read; OSError.
    """
    logs = _logs(folder)
    if not logs:
        return False
    with _mapped(logs[-1]) as data:
        log = _Log(data, 0)
        log.step_back_if_torn()
        log.check_end(logs[-1])
        if log.end >= len(data):
            return False
    with logs[-1].open("rb+") as file:
        file.truncate(log.end)
        os.fsync(file.fileno())
    return True


class _Log:
    """One log file, read up to what is not a record.

    Attributes:
        first: sequence number of the first record; None if there is none.
        following: the sequence number after the last record.
        end: where the next record would begin.
    """

    def __init__(self, data: mmap.mmap, following: int) -> None:
        self.first: int | None = None
        self.following = following
        self.end = 0
        self._data = data
        self._last = 0, following  # where the last record begins, and its sequence number
        for start, end, sequence, count in self._records():
            if self.first is None:
                self.first = sequence
            elif sequence != self.following:
                break
            self._last = start, sequence
            self.following = sequence + count
            self.end = _skip_padding(end)

    def step_back_if_torn(self) -> None:
        """Do without the last record if its checksums are wrong."""
        if not self._is_sound(self._last[0], self.end):
            self.end, self.following = self._last

    def check_end(self, path: Path) -> None:
        """Raise InvariantBroken if a record begins behind `end`."""
        if self._finds_later_write():
            raise _damaged(f"a later write follows what is wrong at byte {self.end}", path)

    def _finds_later_write(self) -> bool:
        high = re.escape(self.following.to_bytes(8, "little")[4:])
        later = re.compile(b"[\x01\x02](?=.{4}%b)" % high, re.DOTALL)
        # At `end` itself is what is torn.
        if any(
            self._is_later_write(match.start() - 6)
            for match in later.finditer(self._data, self.end + 7)
        ):
            return True
        return any(map(self._is_short_start, self._block_ends()))

    def _is_later_write(self, place: int) -> bool:
        """Whether a record with a plausible number begins there, and its first piece is sound."""
        data = self._data
        if place + _HEADER.size + _START.size > len(data):
            return False
        _, length, _ = _HEADER.unpack_from(data, place)
        if not _START.size <= length <= _room(place):
            return False
        sequence, count = _START.unpack_from(data, place + _HEADER.size)
        return sequence >= self.following and count > 0 and self._piece_is_sound(place)

    def _block_ends(self) -> Iterator[int]:
        """Places behind `end` where a block has no room for a record's number."""
        for block in range(self.end // _BLOCK * _BLOCK + _BLOCK, len(self._data) + 1, _BLOCK):
            first = block - _HEADER.size - _START.size + 1
            yield from range(max(first, self.end + 1), block - _HEADER.size + 1)

    def _is_short_start(self, place: int) -> bool:
        """Whether the first piece of a record is there, and fills the block."""
        _, length, kind = _HEADER.unpack_from(self._data, place)
        return kind == _FIRST and length == _room(place) and self._piece_is_sound(place)

    def _records(self) -> Iterator[tuple[int, int, int, int]]:
        """Start, end, sequence number and count of each record that is all there."""
        start: int | None = None
        head = b""
        for place, length, kind in self._pieces():
            if kind in (_WHOLE, _FIRST) and start is None:
                start, head = place, b""
            elif kind not in (_MIDDLE, _LAST) or start is None:
                return
            payload = place + _HEADER.size
            # Where a block is nearly full, its first piece does not even hold all of this.
            head += self._data[payload : payload + min(length, _START.size - len(head))]
            if kind in (_WHOLE, _LAST):
                if len(head) < _START.size:
                    return
                yield start, payload + length, *_START.unpack(head)
                start = None

    def _pieces(self) -> Iterator[tuple[int, int, int]]:
        """Place, length and type of each piece, up to what is none."""
        place = 0
        while (place := _skip_padding(place)) + _HEADER.size <= len(self._data):
            _, length, kind = _HEADER.unpack_from(self._data, place)
            end = place + _HEADER.size + length
            if not _WHOLE <= kind <= _LAST or length > _room(place) or end > len(self._data):
                return
            yield place, length, kind
            place = end

    def _is_sound(self, start: int, end: int) -> bool:
        place = start
        while (place := _skip_padding(place)) < end:
            if not self._piece_is_sound(place):
                return False
            place += _HEADER.size + _HEADER.unpack_from(self._data, place)[1]
        return True

    def _piece_is_sound(self, place: int) -> bool:
        masked, length, _ = _HEADER.unpack_from(self._data, place)
        # The checksum covers the type and the payload.
        covered = self._data[place + 6 : place + _HEADER.size + length]
        return len(covered) == length + 1 and bool(_mask(_crc32c(covered)) == masked)


def _room(place: int) -> int:
    """How long the payload of a piece that begins at `place` can be."""
    return _BLOCK - place % _BLOCK - _HEADER.size


def _skip_padding(place: int) -> int:
    """Where the piece after one that ends at `place` begins."""
    left = _BLOCK - place % _BLOCK
    return place + left if left < _HEADER.size else place


def _crc32c(data: bytes) -> int:
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _mask(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def _logs(folder: Path) -> list[Path]:
    """The logs that hold something, oldest first."""
    logs = [path for path in folder.glob("*.log") if path.stat().st_size]
    return sorted(logs, key=lambda path: int(path.stem))


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _damaged(what: str, path: Path) -> InvariantBroken:
    return InvariantBroken(
        f"the database has lost acknowledged entries: {what} in its log {path.name}"
    )
