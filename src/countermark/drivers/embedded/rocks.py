# SPDX-License-Identifier: Apache-2.0
"""The embedded `LogStore`: RocksDB, one synced write batch a round.

Opened by one process alone, never across a fork. RocksDB would carry on by itself after a failed
write and might show that round or drop it; so the first failure kills the driver, the process
ends, and the next one reads back what really became durable.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rocksdict import AccessType, Checkpoint, Rdict, WriteBatch

from countermark.core.errors import (
    Conflict,
    CountermarkError,
    InvariantBroken,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from countermark.drivers.embedded.rocks_layout import (
    LOG_NUMBER,
    ROW,
    ROWS,
    SEARCH,
    SIZE,
    STAGED,
    decode_head,
    decode_round,
    decode_row,
    encode_head,
    encode_round,
    open_options,
    search_prefix,
)
from countermark.drivers.embedded.wal import check_logs, drop_torn_write
from countermark.ports.log_store import EntryRow, Head, StagedLeaf

T = TypeVar("T")


class RocksLogStore:
    """A RocksDB folder that holds any number of logs. See `LogStore` for the contract."""

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False) -> None:
        """Open a store, or start one; or look at one that nobody has, changing nothing.

        Raises NotFound if there is none, InvariantBroken if it is damaged or another process
        has it.
        """
        if not create and not (path / "CURRENT").exists():
            raise NotFound(f"there is no database in {path}")
        options, families = open_options()
        if create:
            options.create_if_missing(True)
            options.create_missing_column_families(True)
        self._failed: str | None = None
        self._read_only = read_only
        access = AccessType.read_only() if read_only else AccessType.read_write()

        def opened() -> Rdict:
            return Rdict(str(path), options, column_families=families, access_type=access)

        self._db = _open(path, opened, read_only=read_only)
        self._rows = self._db.get_column_family(ROWS)
        self._search = self._db.get_column_family(SEARCH)
        self._staged = self._db.get_column_family(STAGED)
        self._rows_family = self._db.get_column_family_handle(ROWS)
        self._search_family = self._db.get_column_family_handle(SEARCH)
        self._staged_family = self._db.get_column_family_handle(STAGED)
        # Each write is synced before the next begins: at most one is torn by a power cut.
        self._writing = threading.Lock()
        self._numbers: dict[str, bytes] = self._read(self._load_numbers)
        # No other process can open the database, so these are its heads.
        self._heads = {
            log: decode_head(self._fetch(self._db, b"H" + number))
            for log, number in self._numbers.items()
        }
        # First index and size of each staged round, oldest first.
        self._rounds = self._read(
            lambda: {log: self._load_rounds(number) for log, number in self._numbers.items()}
        )

    def create_log(self, log: str, head: Head) -> None:
        """See `LogStore`."""
        if log in self._numbers:
            raise Conflict(f"log {log} exists")
        number = LOG_NUMBER.pack(len(self._numbers) + 1)
        batch = WriteBatch(raw_mode=True)
        batch.put(b"L" + log.encode(), number)
        batch.put(b"H" + number, encode_head(head))
        batch.put(b"P" + number, SIZE.pack(0))
        self._write(batch)
        self._numbers[log] = number
        self._heads[log] = head
        self._rounds[log] = deque()

    def logs(self) -> Sequence[str]:
        """See `LogStore`."""
        return sorted(self._numbers)

    def head(self, log: str) -> Head:
        """See `LogStore`."""
        self._check_usable()
        self._number(log)
        return self._heads[log]

    def commit_round(
        self, log: str, old_head: Head, new_head: Head, leaves: Sequence[StagedLeaf]
    ) -> None:
        """See `LogStore`."""
        number = self._number(log)
        if self.head(log) != old_head:
            raise Conflict(f"log {log} has another head than the one of {old_head.tree_size}")
        batch = WriteBatch(raw_mode=True)
        put, pack_row, pack_index = batch.put, ROW.pack, SIZE.pack
        rows, search = self._rows_family, self._search_family
        for leaf in leaves:
            put(number + leaf.identity, pack_row(leaf.index, leaf.time_ms) + leaf.promise, rows)
            for key in leaf.search_keys:
                put(number + len(key).to_bytes(2) + key + pack_index(leaf.index), b"", search)
        first = old_head.tree_size
        put(number + pack_index(first), encode_round(leaves), self._staged_family)
        put(b"H" + number, encode_head(new_head))
        self._write(batch)
        self._heads[log] = new_head
        self._rounds[log].append((first, len(leaves)))

    def find(self, log: str, identities: Sequence[bytes]) -> Sequence[EntryRow | None]:
        """See `LogStore`."""
        if not identities:
            return []
        number = self._number(log)
        keys: list[str | int | float | bytes | bool] = [number + item for item in identities]
        # One call for all: each call gives the interpreter's lock away and waits to get it back.
        values = self._read(lambda: self._rows.get(keys))
        return [None if value is None else decode_row(value) for value in values or ()]

    def search(self, log: str, key: bytes, *, start: int = 0, limit: int) -> Sequence[int]:
        """See `LogStore`."""
        prefix = search_prefix(self._number(log), key)
        return self._read(lambda: self._scan(prefix, start, limit))

    def staged(self, log: str, start: int, end: int) -> Sequence[StagedLeaf]:
        """See `LogStore`."""
        number = self._number(log)
        start = max(start, self.published_size(log))
        leaves: list[StagedLeaf] = []
        for first, count in self._rounds[log]:
            if first < end and first + count > start:
                data = self._fetch(self._staged, number + SIZE.pack(first))
                leaves += decode_round(first, data)
        return [leaf for leaf in leaves if start <= leaf.index < end]

    def published_size(self, log: str) -> int:
        """See `LogStore`."""
        return int(SIZE.unpack(self._fetch(self._db, b"P" + self._number(log)))[0])

    def drop_staged(self, log: str, size: int) -> None:
        """See `LogStore`."""
        number = self._number(log)
        rounds = self._rounds[log]
        batch = WriteBatch(raw_mode=True)
        batch.put(b"P" + number, SIZE.pack(size))
        done = [first for first, count in rounds if first + count <= size]
        for first in done:
            batch.delete(number + SIZE.pack(first), self._staged_family)
        self._write(batch)
        for _ in done:
            rounds.popleft()

    def checkpoint(self, path: Path) -> None:
        """Put the database as it is now into a new folder of the same file system. Blocks.

        Every log is as it was at one moment between two writes. Any thread may call this while
        others read and write: their files are flushed first, with the interpreter's lock given
        away, so that the checkpoint itself, which keeps it, is a matter of milliseconds.

        Raises Unavailable if that is not possible; what is stored stays as durable as it was.
        """
        self._check_usable()
        try:
            for family in (self._rows, self._search, self._staged, self._db):
                family.flush()
            with self._writing:  # so nothing in it is less than durable here
                Checkpoint(self._db).create_checkpoint(str(path))
        except Exception as error:
            raise Unavailable(f"the database cannot make a checkpoint: {error}") from error

    def close(self) -> None:
        """See `LogStore`."""
        if self._failed is None:
            self._failed = "it was closed"
            # A handle alone keeps the database open, and its lock.
            del self._rows_family, self._search_family, self._staged_family
            for family in (self._rows, self._search, self._staged, self._db):
                family.close()

    def _number(self, log: str) -> bytes:
        try:
            return self._numbers[log]
        except KeyError:
            raise NotFound(f"there is no log {log}") from None

    def _write(self, batch: WriteBatch) -> None:
        with self._writing:
            self._check_usable()  # the write before may just have failed
            if self._read_only:
                raise InvariantBroken("the database was opened for reading, but something writes")
            try:
                # A write that syncs keeps the interpreter's lock all the while, and the keeper
                # stands still; a sync of its own gives it away.
                self._db.write(batch)
                self._db.flush_wal(True)
            except Exception as error:
                self._failed = f"a write failed: {error}"
                raise OutcomeUnknown(
                    f"the database must be opened again: {self._failed}"
                ) from error

    def _fetch(self, family: Rdict, key: bytes) -> bytes:
        value = self._read(lambda: family.get(key))
        if not isinstance(value, bytes):
            raise InvariantBroken(f"the database is damaged: it has no {key.hex()}")
        return value

    def _read(self, work: Callable[[], T]) -> T:
        self._check_usable()
        try:
            return work()
        except Exception as error:
            # A block that cannot be read or fails its checksum. Going on could log a duplicate.
            self._failed = f"a read failed: {error}"
            raise InvariantBroken(f"the database is damaged: {self._failed}") from error

    def _check_usable(self) -> None:
        if self._failed is not None:
            raise OutcomeUnknown(f"the database must be opened again: {self._failed}")

    def _load_numbers(self) -> dict[str, bytes]:
        numbers = {}
        cursor = self._db.iter()
        cursor.seek(b"L")
        while cursor.valid() and (key := cursor.key())[:1] == b"L":
            numbers[key[1:].decode()] = cursor.value()
            cursor.next()
        cursor.status()
        return numbers

    def _load_rounds(self, number: bytes) -> deque[tuple[int, int]]:
        rounds: deque[tuple[int, int]] = deque()
        cursor = self._staged.iter()
        cursor.seek(number)
        while cursor.valid() and (key := cursor.key())[:4] == number:
            first = SIZE.unpack(key[4:])[0]
            rounds.append((first, len(decode_round(first, cursor.value()))))
            cursor.next()
        cursor.status()
        return rounds

    def _scan(self, prefix: bytes, start: int, limit: int) -> list[int]:
        found: list[int] = []
        cursor = self._search.iter()
        cursor.seek(prefix + SIZE.pack(start))
        while len(found) < limit and cursor.valid() and (key := cursor.key()).startswith(prefix):
            found.append(SIZE.unpack(key[len(prefix) :])[0])
            cursor.next()
        cursor.status()
        return found


def _open(path: Path, opened: Callable[[], Rdict], *, read_only: bool) -> Rdict:
    """Open a database; a last write that a power cut left in pieces is no damage to its owner."""
    try:
        if path.exists():
            check_logs(path)
        try:
            return opened()
        except Exception as error:  # rocksdict has no narrower class
            # RocksDB had the database to itself when it said so, and we have its folder's lock.
            if read_only or "Corruption" not in str(error) or not drop_torn_write(path):
                raise
            return opened()
    except CountermarkError:
        raise
    except Exception as error:
        raise InvariantBroken(f"the database in {path} cannot be opened: {error}") from error
