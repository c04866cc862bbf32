# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the embedded database: one moment, whatever is written meanwhile."""

import hashlib
import threading
from pathlib import Path

import pytest

from countermark.core.errors import InvariantBroken, OutcomeUnknown, Unavailable
from countermark.core.tlog.merkle import EMPTY_ROOT
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.ports.log_store import Head, StagedLeaf

EMPTY = Head(0, EMPTY_ROOT, 0, b"signed 0")


def _grow(store: RocksLogStore, log: str, count: int) -> None:
    old = store.head(log)
    size = old.tree_size + count
    leaves = [
        StagedLeaf(index, _identity(log, index), bytes(100), index, b"p", (b"all",))
        for index in range(old.tree_size, size)
    ]
    store.commit_round(log, old, Head(size, bytes(32), size, b"signed %d" % size), leaves)


def _identity(log: str, index: int) -> bytes:
    return hashlib.sha256(f"{log} {index}".encode()).digest()


@pytest.fixture
def store(tmp_path: Path) -> RocksLogStore:
    made = RocksLogStore(tmp_path / "db", create=True)
    for log in ("a", "b"):
        made.create_log(log, EMPTY)
    return made


def test_every_checkpoint_under_load_is_one_moment(store: RocksLogStore, tmp_path: Path) -> None:
    """Rounds are in it whole or not at all: head, rows, search rows and staged leaves."""
    stop = threading.Event()

    def write(log: str) -> None:
        while not stop.is_set():
            _grow(store, log, 7)

    writers = [threading.Thread(target=write, args=(log,)) for log in ("a", "b")]
    for writer in writers:
        writer.start()
    before = {}
    for number in range(5):
        before[number] = {log: store.head(log).tree_size for log in ("a", "b")}
        store.checkpoint(tmp_path / str(number))
    stop.set()
    for writer in writers:
        writer.join()
    store.close()

    for number, sizes in before.items():
        copy = RocksLogStore(tmp_path / str(number), read_only=True)
        for log, least in sizes.items():
            size = copy.head(log).tree_size
            assert size >= least
            assert size % 7 == 0
            assert copy.head(log).signed == b"signed %d" % size
            identities = [_identity(log, index) for index in range(size + 7)]
            rows = copy.find(log, identities)
            assert [row.index if row else None for row in rows] == [*range(size), *[None] * 7]
            assert list(copy.search(log, b"all", limit=size + 7)) == list(range(size))
            assert [leaf.index for leaf in copy.staged(log, 0, size + 7)] == list(range(size))
        copy.close()


def test_copy_is_only_looked_at(store: RocksLogStore, tmp_path: Path) -> None:
    _grow(store, "a", 3)
    store.checkpoint(tmp_path / "copy")
    store.close()
    before = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    copy = RocksLogStore(tmp_path / "copy", read_only=True)
    with pytest.raises(InvariantBroken, match="opened for reading"):
        _grow(copy, "a", 1)
    copy.close()
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == before


def test_failed_checkpoint_leaves_the_database_as_it_was(
    store: RocksLogStore, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(Unavailable, match="cannot make a checkpoint"):
        store.checkpoint(tmp_path / "taken")
    _grow(store, "a", 1)
    store.checkpoint(tmp_path / "free")
    store.close()
    with pytest.raises(OutcomeUnknown):
        store.checkpoint(tmp_path / "closed")


def test_others_work_while_files_are_flushed(store: RocksLogStore, tmp_path: Path) -> None:
    """The flush gives the interpreter's lock away; the checkpoint's own does not."""
    for _ in range(60):
        _grow(store, "a", 700)
    turns, done = 0, threading.Event()

    def checkpoint() -> None:
        store.checkpoint(tmp_path / "copy")
        done.set()

    thread = threading.Thread(target=checkpoint)
    thread.start()
    while not done.wait(0.0005):
        turns += 1
    thread.join()
    store.close()
    assert turns >= 5
