# SPDX-License-Identifier: Apache-2.0
"""The embedded drivers when the operating system says no."""

import errno
import os
import random
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from countermark.core.errors import InvariantBroken, NotFound, OutcomeUnknown, Unavailable
from countermark.core.tlog.merkle import EMPTY_ROOT, leaf_hash
from countermark.drivers.embedded import files
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.embedded.wal import check_logs, drop_torn_write
from countermark.ports.log_store import Head, StagedLeaf

pytestmark = pytest.mark.fault

EMPTY = Head(0, EMPTY_ROOT, 1, b"signed")

# Commits rounds until a write fails for want of space, then says how many were acknowledged.
_FILL = """
import resource, signal, sys
from pathlib import Path
from countermark.core.errors import OutcomeUnknown
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.embedded.wal import check_logs, drop_torn_write
from countermark.ports.log_store import Head, StagedLeaf

store = RocksLogStore(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
done = 0
for size in range(1, 1000):
    leaf = StagedLeaf(size - 1, size.to_bytes(32), bytes(1000), size, b"promise")
    try:
        store.commit_round("a", store.head("a"), Head(size, bytes(32), size, b"signed"), [leaf])
    except OutcomeUnknown:
        break
    done = size
for attempt in (lambda: store.head("a"), lambda: store.find("a", [bytes(32)])):
    try:
        attempt()
    except OutcomeUnknown:
        continue
    sys.exit("the store goes on after a failed write")
print(done)
"""


def test_a_database_that_cannot_write_stops_and_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = RocksLogStore(path, create=True)
    store.create_log("a", EMPTY)
    store.close()
    run = subprocess.run(
        [sys.executable, "-c", _FILL, str(path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    done = int(run.stdout)
    assert 10 < done < 900
    store = RocksLogStore(path)
    size = store.head("a").tree_size
    assert size in (done, done + 1)  # the failed round: there or not, but nothing in between
    assert [leaf.index for leaf in store.staged("a", 0, size)] == list(range(size))
    rows = store.find("a", [(index + 1).to_bytes(32) for index in range(size + 1)])
    assert [row and row.index for row in rows] == [*range(size), None]
    store.close()


def _commit_and_die(path: Path, rounds: int, last_bytes: int) -> None:
    store = RocksLogStore(path, create=True)
    store.create_log("a", EMPTY)
    for size in range(1, rounds + 1):
        record = random.Random(size).randbytes(100 if size < rounds else last_bytes)
        leaf = StagedLeaf(size - 1, size.to_bytes(32), record, size, b"promise")
        store.commit_round("a", store.head("a"), Head(size, bytes(32), size, b"s"), [leaf])
    os.kill(os.getpid(), signal.SIGKILL)  # all of it is in the write-ahead log only


def _copy_of_a_crash(tmp_path: Path, last_bytes: int = 100) -> tuple[Path, Path]:
    """A database as a killed process leaves it, and its write-ahead log."""
    code = (
        "import sys; from pathlib import Path; "
        "from tests.fault.test_embedded_faults import _commit_and_die; "
        "_commit_and_die(Path(sys.argv[1]), 50, int(sys.argv[2]))"
    )
    path = tmp_path / "db"
    run = subprocess.run(
        [sys.executable, "-c", code, str(path), str(last_bytes)], check=False, env=_environment()
    )
    assert run.returncode == -signal.SIGKILL
    [log] = [log for log in path.glob("*.log") if log.stat().st_size]
    return path, log


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_acknowledged_rounds_survive_a_kill(tmp_path: Path) -> None:
    path, _ = _copy_of_a_crash(tmp_path)
    store = RocksLogStore(path)
    assert store.head("a").tree_size == 50
    store.close()


def test_a_torn_last_write_is_dropped(tmp_path: Path) -> None:
    path, log = _copy_of_a_crash(tmp_path)
    os.truncate(log, log.stat().st_size - 20)
    store = RocksLogStore(path)
    assert store.head("a").tree_size == 49
    assert len(store.staged("a", 0, 50)) == 49
    store.close()


def test_a_damaged_record_before_others_is_refused(tmp_path: Path) -> None:
    """Rounds behind it were acknowledged: opening without them would sign a second history."""
    path, log = _copy_of_a_crash(tmp_path)
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(data)
    with pytest.raises(InvariantBroken):
        RocksLogStore(path)


def _records(log: bytes | bytearray) -> list[int]:
    """Where the records of a write-ahead log begin, as long as each fits its block."""
    places = [0]
    while places[-1] < len(log):
        (length,) = struct.unpack_from("<H", log, places[-1] + 4)
        places.append(places[-1] + 7 + length)
    return places[:-1]


_PAGE = 4096


@pytest.mark.parametrize("pages", [[0], [1], [3], [0, 1], [1, 2, 3], [0, 2], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("content", ["zeros", "garbage"])
@pytest.mark.parametrize("last_bytes", [18_000, 80_000])  # in one block, in three
def test_a_last_write_that_lacks_pages_is_dropped(
    tmp_path: Path, pages: list[int], content: str, last_bytes: int
) -> None:
    """A power cut leaves any pages of it; nobody was told of it, and the log must open."""
    path, log = _copy_of_a_crash(tmp_path, last_bytes)
    data = bytearray(log.read_bytes())
    start = len(data) - last_bytes - 200 + 100
    for page in pages:
        place = start + page * _PAGE
        data[place : place + _PAGE] = (
            bytes(_PAGE) if content == "zeros" else random.Random(page).randbytes(_PAGE)
        )
    log.write_bytes(data)
    store = RocksLogStore(path)
    assert store.head("a").tree_size == 49
    assert len(store.staged("a", 0, 50)) == 49
    store.close()


@pytest.mark.parametrize("what", ["zeroed", "length", "length too long", "type", "checksum"])
@pytest.mark.parametrize("which", [-2, -20, -45])
def test_a_record_lost_before_others_is_refused(tmp_path: Path, what: str, which: int) -> None:
    """RocksDB would take zeros or an impossible length for the end of the log."""
    path, log = _copy_of_a_crash(tmp_path)
    data = bytearray(log.read_bytes())
    start, end = _records(data)[which:][:2]
    if what == "zeroed":
        data[start:end] = bytes(end - start)
    elif what == "length":
        data[start + 4] ^= 0x10
    elif what == "length too long":
        data[start + 5] ^= 0x40
    elif what == "type":
        data[start + 6] ^= 0x02
    else:
        data[start] ^= 1
    log.write_bytes(data)
    with pytest.raises(InvariantBroken):
        RocksLogStore(path)


_BLOCK = 32 * 1024


def test_records_begin_anywhere_in_a_block(tmp_path: Path) -> None:
    """A record's first piece can be too short for its number, or empty; that is no damage."""
    path = tmp_path / "db"
    store = RocksLogStore(path, create=True)
    store.create_log("a", EMPTY)
    [log] = path.glob("*.log")

    def commit(record_bytes: int) -> int:
        """Add a round; how much room is left in the log's last block."""
        before = store.head("a")
        size = before.tree_size + 1
        record = random.Random(size).randbytes(record_bytes)
        leaf = StagedLeaf(size - 1, size.to_bytes(32), record, size, b"promise")
        store.commit_round("a", before, Head(size, bytes(32), size, b"s"), [leaf])
        return -log.stat().st_size % _BLOCK

    overhead = commit(1000) - commit(1000) - 1000
    wanted = set(range(26))
    found: dict[int, tuple[int, int]] = {}
    for _ in range(100):
        if wanted <= set(found):
            break
        left = min(wanted - set(found))
        room = commit(1000)
        while room > 14_000 or room < 2_000:
            room = commit(9_000)
        start = log.stat().st_size
        room_left = commit(room - left - overhead)
        found[room_left] = start, log.stat().st_size
        commit(300)
        check_logs(path)
        overhead += left - room_left if abs(left - room_left) < 8 else 0  # counts grow longer
    assert wanted <= set(found)
    rounds = store.head("a").tree_size
    # The record that begins there torn, then the one before it lost.
    data = log.read_bytes()
    for left, (start, place) in found.items():
        copy = tmp_path / f"copy-{left}"
        copy.mkdir()
        torn, lost = copy / "000001.log", bytearray(data)
        torn.write_bytes(data[: place + left + 50])
        assert drop_torn_write(copy)
        assert torn.stat().st_size == place + (left if left < 7 else 0)
        lost[start : start + 100] = bytes(100)
        torn.write_bytes(lost[: place + left + 700])
        with pytest.raises(InvariantBroken):
            check_logs(copy)
    store.close()
    store = RocksLogStore(path)
    assert store.head("a").tree_size == rounds
    store.close()


def test_a_database_has_one_owner(tmp_path: Path) -> None:
    store = RocksLogStore(tmp_path / "db", create=True)
    with pytest.raises(InvariantBroken):
        RocksLogStore(tmp_path / "db")
    store.close()


def test_a_database_is_not_made_by_accident(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        RocksLogStore(tmp_path / "db")
    assert not (tmp_path / "db").exists()


def _no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")


def _io_error(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "input/output error")


def test_a_full_disk_changes_nothing_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FileObjectStore(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(files, "_open_file", _no_space)
        with pytest.raises(Unavailable):
            objects.put_all([("a/b", b"1")])
    assert list(objects.paths("")) == []
    objects.put_all([("a/b", b"1")])
    assert objects.fetch("a/b") == b"1"


def _no_descriptors(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, "too many open files")


def test_a_process_out_of_descriptors_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FileObjectStore(tmp_path)
    objects.put_all([("a/b", b"1")])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", _no_descriptors)
        patched.setattr(os, "scandir", _no_descriptors)
        for attempt in (
            lambda: objects.fetch("a/b"),
            lambda: objects.put_all([("a/b", b"1")]),
            lambda: list(objects.paths("a/")),
        ):
            with pytest.raises(Unavailable, match="too many open files"):
                attempt()
    assert objects.fetch("a/b") == b"1"


@pytest.mark.parametrize("call", ["read_bytes", "scandir"])
def test_what_cannot_be_read_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    objects = FileObjectStore(tmp_path)
    objects.put_all([("a/b", b"1")])
    monkeypatch.setattr(os if call == "scandir" else Path, call, _io_error)
    with pytest.raises(InvariantBroken, match="cannot be read"):
        objects.fetch("a/b") if call == "read_bytes" else list(objects.paths("a/"))


def test_a_deletion_that_fails_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FileObjectStore(tmp_path)
    objects.put_all([("a/b.p/1", b"1")])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", _io_error)
        with pytest.raises(Unavailable):
            objects.delete_all(["a/b.p/1"])
    objects.delete_all(["a/b.p/1"])
    assert list(objects.paths("")) == []


def test_a_folder_that_cannot_be_made_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", _no_space)
    with pytest.raises(Unavailable, match="no space left"):
        FileObjectStore(tmp_path / "new")


@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
def test_a_failed_sync_or_rename_stops_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The kernel may report the same pages as written afterwards: only a new process goes on."""
    objects = FileObjectStore(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os if call == "fsync" else Path, call, _io_error)
        with pytest.raises(OutcomeUnknown):
            objects.put_all([("a/b", b"1"), ("a/c", b"2")])
    with pytest.raises(OutcomeUnknown):
        objects.replace("checkpoint", b"c")
    again = FileObjectStore(tmp_path)
    again.put_all([("a/b", b"1"), ("a/c", b"2")])
    assert sorted(again.paths("")) == ["a/b", "a/c"]


def test_each_file_and_each_changed_folder_is_synced_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FileObjectStore(tmp_path / "o")
    events: list[tuple[str, Path]] = []
    real_sync: Callable[[int], None] = os.fsync
    real_replace = Path.replace

    def fsync(descriptor: int) -> None:
        events.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        events.append(("rename", target))
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    objects.put_all([("t/0/a", b"1"), ("t/0/b", b"2"), ("t/1/c", b"3")])
    root = tmp_path / "o"
    renames = [place for place, event in enumerate(events) if event[0] == "rename"]
    assert [kind for kind, _ in events[:3]] == ["sync"] * 3  # contents first
    assert renames == [3, 4, 5]
    assert {path for _, path in events[6:]} == {root, root / "t", root / "t/0", root / "t/1"}


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    objects = FileObjectStore(tmp_path)
    (tmp_path / ".incoming" / "0").write_bytes(b"half")
    assert list(objects.paths("")) == []
    FileObjectStore(tmp_path)
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_a_file_limit_is_a_full_disk(tmp_path: Path) -> None:
    """The same through a real refusal by the kernel."""
    objects = FileObjectStore(tmp_path)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(Unavailable):
            objects.put_all([("a", leaf_hash(b"")), ("b", bytes(5000))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    objects.put_all([("a", leaf_hash(b"")), ("b", bytes(5000))])
