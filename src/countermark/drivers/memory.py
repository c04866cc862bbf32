# SPDX-License-Identifier: Apache-2.0
"""Reference drivers in memory: what the ports mean, and a check that their users keep to it.

What outlives a "process" is in the `…Data` objects: a test that lets a driver fail opens a new
driver over the same data.
"""

import re
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from countermark.core.errors import Conflict, InvariantBroken, NotFound, OutcomeUnknown
from countermark.ports.log_store import EntryRow, Head, StagedLeaf

_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)


@dataclass(slots=True)
class MemoryLog:
    """One log's durable state."""

    head: Head
    rows: dict[bytes, EntryRow] = field(default_factory=dict)
    search: dict[bytes, list[int]] = field(default_factory=dict)
    staged: list[StagedLeaf] = field(default_factory=list)
    published_size: int = 0


class MemoryLogStore:
    """The reference `LogStore`. Breaches of the contract by its user are AssertionErrors."""

    def __init__(self, data: dict[str, MemoryLog] | None = None) -> None:
        self.data: dict[str, MemoryLog] = {} if data is None else data
        self._dead = False
        self._users: dict[str, threading.Lock] = {}

    def create_log(self, log: str, head: Head) -> None:
        """See `LogStore`."""
        self._check_alive()
        assert head.tree_size == 0
        if log in self.data:
            raise Conflict(f"log {log} exists")
        self.data[log] = MemoryLog(head)

    def logs(self) -> Sequence[str]:
        """See `LogStore`."""
        self._check_alive()
        return list(self.data)

    def head(self, log: str) -> Head:
        """See `LogStore`."""
        with self._log(log) as state:
            return state.head

    def commit_round(
        self, log: str, old_head: Head, new_head: Head, leaves: Sequence[StagedLeaf]
    ) -> None:
        """See `LogStore`."""
        with self._log(log) as state:
            if state.head != old_head:
                raise Conflict(f"log {log} has {state.head.tree_size} entries")
            indexes = [leaf.index for leaf in leaves]
            assert leaves
            assert indexes == list(range(old_head.tree_size, new_head.tree_size))
            assert old_head.time_ms < new_head.time_ms
            identities = {leaf.identity for leaf in leaves}
            assert len(identities) == len(leaves)
            assert not identities & state.rows.keys()
            for leaf in leaves:
                assert len(leaf.identity) == 32
                state.rows[leaf.identity] = EntryRow(leaf.index, leaf.time_ms, leaf.promise)
                for key in set(leaf.search_keys):
                    state.search.setdefault(key, []).append(leaf.index)
            state.staged += leaves
            state.head = new_head

    def find(self, log: str, identities: Sequence[bytes]) -> Sequence[EntryRow | None]:
        """See `LogStore`."""
        with self._log(log) as state:
            return [state.rows.get(identity) for identity in identities]

    def search(self, log: str, key: bytes, *, start: int = 0, limit: int) -> Sequence[int]:
        """See `LogStore`."""
        with self._log(log) as state:
            found = state.search.get(key, [])
            first = bisect_left(found, start)
            return found[first : first + limit]

    def staged(self, log: str, start: int, end: int) -> Sequence[StagedLeaf]:
        """See `LogStore`."""
        with self._log(log) as state:
            return [leaf for leaf in state.staged if start <= leaf.index < end]

    def published_size(self, log: str) -> int:
        """See `LogStore`."""
        with self._log(log) as state:
            return state.published_size

    def drop_staged(self, log: str, size: int) -> None:
        """See `LogStore`."""
        with self._log(log) as state:
            assert state.published_size <= size <= state.head.tree_size
            state.published_size = size
            state.staged = [leaf for leaf in state.staged if leaf.index >= size]

    def close(self) -> None:
        """See `LogStore`."""
        self._dead = True

    def die(self) -> None:
        """Behave as after a write whose outcome is unknown."""
        self._dead = True

    def _check_alive(self) -> None:
        if self._dead:
            raise OutcomeUnknown("the store is closed, or failed and must be opened again")

    @contextmanager
    def _log(self, log: str) -> Iterator[MemoryLog]:
        self._check_alive()
        if log not in self.data:
            raise NotFound(f"there is no log {log}")
        user = self._users.setdefault(log, threading.Lock())
        assert user.acquire(blocking=False), "one thread at a time for each log"
        try:
            yield self.data[log]
        finally:
            user.release()


@dataclass(slots=True)
class MemoryObjectData:
    """An object store's durable state: what cannot be replaced, and what can."""

    immutable: dict[str, bytes] = field(default_factory=dict)
    mutable: dict[str, bytes] = field(default_factory=dict)


class MemoryObjectStore:
    """The reference `ObjectStore`."""

    def __init__(self, data: MemoryObjectData | None = None) -> None:
        self.data = MemoryObjectData() if data is None else data

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """See `ObjectStore`."""
        for path, content in objects:
            _check_path(path)
            assert path not in self.data.mutable
            if self.data.immutable.get(path, content) != content:
                raise InvariantBroken(f"{path} exists with other content")
        self.data.immutable.update(objects)

    def replace(self, path: str, data: bytes) -> None:
        """See `ObjectStore`."""
        _check_path(path)
        assert path not in self.data.immutable
        self.data.mutable[path] = data

    def fetch(self, path: str) -> bytes:
        """See `ObjectStore`."""
        for objects in (self.data.mutable, self.data.immutable):
            if path in objects:
                return objects[path]
        raise NotFound(f"there is no object {path}")

    def delete_all(self, paths: Iterable[str]) -> None:
        """See `ObjectStore`."""
        for path in list(paths):
            self.data.immutable.pop(path, None)

    def paths(self, prefix: str) -> Iterable[str]:
        """See `ObjectStore`."""
        known = [*self.data.immutable, *self.data.mutable]
        return [path for path in known if path.startswith(prefix)]


def _check_path(path: str) -> None:
    assert _PATH.fullmatch(path), path
