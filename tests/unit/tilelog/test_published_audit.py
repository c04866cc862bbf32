# SPDX-License-Identifier: Apache-2.0
"""What a log shows the world is audited without its database, while it grows."""

import pytest

from countermark.drivers.memory import MemoryObjectStore
from countermark.tilelog.fsck import FsckReport, Progress
from countermark.tilelog.log import Log
from countermark.tilelog.published_audit import audit_published
from tests.support.logs import NAME, MemoryStores, TextAuditor, TextLog, add_all, with_log

SIZE = 600


def _add(stores: MemoryStores, first: int, end: int) -> None:
    async def work(log: Log) -> None:
        await add_all(log, [f"entry {number:03d}" for number in range(first, end)])

    with_log(stores, work)


@pytest.fixture
def stores() -> MemoryStores:
    """A log of 600 entries, whole and public."""
    stores = MemoryStores()
    _add(stores, 0, SIZE)
    return stores


def _audit(stores: MemoryStores, progress: Progress | None = None) -> FsckReport:
    objects = MemoryObjectStore(stores.objects)
    return audit_published(NAME, TextAuditor(TextLog()), objects, progress=progress)


def test_a_whole_log_has_no_problems(stores: MemoryStores) -> None:
    seen: list[tuple[int, int]] = []
    report = _audit(stores, lambda done, total: seen.append((done, total)))
    assert report.ok
    assert report.root_hash == stores.logs[NAME].head.root_hash
    assert (report.tree_size, report.published_size) == (SIZE, SIZE)
    assert seen == [(256, SIZE), (512, SIZE)]
    assert report.objects == len(stores.objects.immutable)


def test_an_empty_log_is_whole() -> None:
    stores = MemoryStores()
    _add(stores, 0, 0)
    report = _audit(stores)
    assert report.ok
    assert report.tree_size == 0


def test_a_log_that_grows_meanwhile(stores: MemoryStores) -> None:
    """Its partial tiles and bundles give way to full ones, and a newer checkpoint is there."""
    before = set(stores.objects.immutable)

    def grow(done: int, _: int) -> None:
        if done == 256:
            _add(stores, SIZE, 1100)

    report = _audit(stores, grow)
    assert before - set(stores.objects.immutable)
    assert report.ok
    assert report.tree_size == SIZE
    assert _audit(stores).tree_size == 1100


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_one_flipped_bit_in_any_object_is_found(stores: MemoryStores, where: str) -> None:
    for path in list(stores.objects.immutable):
        data = stores.objects.immutable[path]
        at = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}[where]
        stores.objects.immutable[path] = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        assert not _audit(stores).ok, path
        stores.objects.immutable[path] = data
    assert _audit(stores).ok


def test_any_missing_object_is_found(stores: MemoryStores) -> None:
    for path in list(stores.objects.immutable):
        data = stores.objects.immutable.pop(path)
        assert [str(problem) for problem in _audit(stores).problems] == [f"{path}: is missing"]
        stores.objects.immutable[path] = b""
        assert not _audit(stores).ok
        stores.objects.immutable[path] = data


@pytest.mark.parametrize("path", ["tile/entries/000", "tile/entries/002.p/88"])
def test_a_bundle_cut_short_is_found(stores: MemoryStores, path: str) -> None:
    record = 2 + len(b"entry 000")
    stores.objects.immutable[path] = stores.objects.immutable[path][:-record]
    assert not _audit(stores).ok


def _checkpoint(size: int, root_hash: bytes) -> bytes:
    return TextLog().sign_head(size, root_hash, 1)


def test_a_checkpoint_that_is_not_the_logs(stores: MemoryStores) -> None:
    note = stores.objects.mutable.pop("checkpoint")
    assert [each.what for each in _audit(stores).problems] == ["is missing"]
    for other in (
        b"not a note",
        note[:-10] + (b"B" if note[-10:-9] == b"A" else b"A") + note[-9:],
        _checkpoint(SIZE, bytes(32)),
        _checkpoint(SIZE + 1, bytes(32)),
        _checkpoint(SIZE - 1, bytes(32)),
        TextLog("other.example/1").sign_head(SIZE, stores.logs[NAME].head.root_hash, 1),
    ):
        stores.objects.mutable["checkpoint"] = other
        assert not _audit(stores).ok, other
    stores.objects.mutable["checkpoint"] = note
    assert _audit(stores).ok
