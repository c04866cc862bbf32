# SPDX-License-Identifier: Apache-2.0
"""What the contract suite cannot see: readers in other processes, writers in several threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from countermark.core.errors import InvariantBroken, NotFound
from countermark.drivers.embedded.files import FileObjectStore


def test_a_reader_touches_nothing(tmp_path: Path) -> None:
    writer = FileObjectStore(tmp_path / "log")
    writer.put_all([("tile/0/000", b"tile")])
    half_written = tmp_path / "log" / ".incoming" / "0"
    half_written.write_bytes(b"being written")
    reader = FileObjectStore(tmp_path / "log", read_only=True)
    assert half_written.exists()
    assert reader.fetch("tile/0/000") == b"tile"
    assert list(reader.paths("")) == ["tile/0/000"]
    writes: list[Callable[[], None]] = [
        lambda: reader.put_all([("x", b"")]),
        lambda: reader.replace("x", b""),
        lambda: reader.delete_all(["tile/0/000"]),
    ]
    for write in writes:
        with pytest.raises(InvariantBroken, match="opened for reading"):
            write()
    assert reader.fetch("tile/0/000") == b"tile"
    with pytest.raises(NotFound):
        FileObjectStore(tmp_path / "absent", read_only=True).fetch("x")
    assert not (tmp_path / "absent").exists()


def test_nobody_else_may_write_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = FileObjectStore(tmp_path / "log")
        store.put_all([("tile/0/000", b"tile")])
        store.replace("checkpoint", b"head")
    finally:
        os.umask(before)
    paths = [tmp_path / "log", *(tmp_path / "log").rglob("*")]
    assert len(paths) > 5
    assert [path for path in paths if path.stat().st_mode & 0o022] == []


def test_writers_in_several_threads_do_not_mix_their_files(tmp_path: Path) -> None:
    store = FileObjectStore(tmp_path)

    def write(thread: int) -> None:
        for turn in range(20):
            name = f"{thread}/{turn}"
            store.put_all([(f"{name}/{part}", f"{name}/{part}".encode()) for part in range(5)])

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(write, thread) for thread in range(4)]:
            done.result()
    paths = list(store.paths(""))
    assert len(paths) == 400
    assert all(store.fetch(path) == path.encode() for path in paths)
