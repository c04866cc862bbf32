# SPDX-License-Identifier: Apache-2.0
"""fsck finds whatever was changed behind the log's back."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from countermark.core.errors import NotFound, OutcomeUnknown
from countermark.core.tlog.merkle import leaf_hash
from countermark.drivers.memory import (
    MemoryLog,
    MemoryLogStore,
    MemoryObjectData,
    MemoryObjectStore,
)
from countermark.ports.log_store import EntryRow
from countermark.tilelog.fsck import FsckReport, fsck
from countermark.tilelog.log import Log
from tests.support.logs import (
    NAME,
    MemoryStores,
    TextAuditor,
    TextLog,
    add_all,
    check_whole,
    with_log,
)

SIZE = 600


@pytest.fixture
def stores() -> MemoryStores:
    """A log of 600 entries in two rounds, whole and public."""
    stores = MemoryStores()

    async def work(log: Log) -> None:
        await add_all(log, [f"entry {number:03d}" for number in range(SIZE)])

    with_log(stores, work)
    return stores


def _fsck(stores: MemoryStores, *, rows: bool = True) -> FsckReport:
    store = MemoryLogStore(stores.logs)
    return fsck(NAME, TextAuditor(TextLog()), store, MemoryObjectStore(stores.objects), rows=rows)


def test_a_whole_log_has_no_problems(stores: MemoryStores) -> None:
    seen: list[tuple[int, int]] = []
    store, objects = stores.open()
    report = fsck(
        NAME,
        TextAuditor(TextLog()),
        store,
        objects,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert report.ok
    assert report.root_hash == stores.logs[NAME].head.root_hash
    assert (report.tree_size, report.published_size) == (SIZE, SIZE)
    assert seen == [(256, SIZE), (512, SIZE), (SIZE, SIZE)]
    # three bundles, three level-0 tiles, one partial of level 1
    assert report.objects == 7


def test_an_empty_log_is_whole() -> None:
    stores = MemoryStores()

    async def nothing(log: Log) -> None:
        assert log.head.tree_size == 0

    with_log(stores, nothing)
    assert check_whole(stores).tree_size == 0


def test_an_unknown_log(stores: MemoryStores) -> None:
    store, objects = stores.open()
    with pytest.raises(NotFound):
        fsck("other", TextAuditor(TextLog()), store, objects)


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_one_flipped_bit_in_any_object_is_found(stores: MemoryStores, where: str) -> None:
    for path in list(stores.objects.immutable):
        data = stores.objects.immutable[path]
        at = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}[where]
        stores.objects.immutable[path] = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        report = _fsck(stores, rows=False)
        assert not report.ok, path
        stores.objects.immutable[path] = data
    assert _fsck(stores).ok


def test_any_missing_object_is_found(stores: MemoryStores) -> None:
    for path in list(stores.objects.immutable):
        data = stores.objects.immutable.pop(path)
        report = _fsck(stores, rows=False)
        assert [problem.what for problem in report.problems] == ["is missing"], path
        stores.objects.immutable[path] = data


def test_a_changed_record_is_found_in_tile_and_root(stores: MemoryStores) -> None:
    """An entry that was rewritten together with its bundle: hashes give it away."""
    objects = stores.objects.immutable
    objects["tile/entries/001"] = objects["tile/entries/001"].replace(b"entry 300", b"entry 3oo")
    report = _fsck(stores)
    places = {problem.where for problem in report.problems}
    assert {"tile/0/001", "tile/1/000.p/2", "head"} <= places
    assert any(place.startswith("entry ") for place in places)


def _drop_row(log: MemoryLog) -> None:
    del log.rows[leaf_hash(b"entry 123")]


def _move_row(log: MemoryLog) -> None:
    identity = leaf_hash(b"entry 123")
    log.rows[identity] = replace(log.rows[identity], index=log.rows[identity].index + 1)


def _other_promise(log: MemoryLog) -> None:
    identity = leaf_hash(b"entry 123")
    log.rows[identity] = replace(log.rows[identity], promise=bytes(64))


def _other_time(log: MemoryLog) -> None:
    identity = leaf_hash(b"entry 123")
    log.rows[identity] = replace(log.rows[identity], time_ms=log.rows[identity].time_ms + 1)


def _late_time(log: MemoryLog) -> None:
    row = log.rows[leaf_hash(b"entry 123")]
    log.rows[leaf_hash(b"entry 123")] = EntryRow(row.index, log.head.time_ms + 1, row.promise)


def _drop_search(log: MemoryLog) -> None:
    log.search[b"length 9"].remove(log.rows[leaf_hash(b"entry 123")].index)


def _other_root(log: MemoryLog) -> None:
    log.head = replace(log.head, root_hash=bytes(32))


def _other_size(log: MemoryLog) -> None:
    log.head = replace(log.head, tree_size=SIZE + 1)


def _other_signature(log: MemoryLog) -> None:
    log.head = replace(log.head, signed=log.head.signed[:-8] + b"AAAAAA=\n")


def _not_published(log: MemoryLog) -> None:
    log.published_size = 300


@pytest.mark.parametrize(
    "damage",
    [
        _drop_row,
        _move_row,
        _other_promise,
        _other_time,
        _late_time,
        _drop_search,
        _other_root,
        _other_size,
        _other_signature,
        _not_published,
    ],
)
def test_a_changed_database_is_found(
    stores: MemoryStores, damage: Callable[[MemoryLog], None]
) -> None:
    damage(stores.logs[NAME])
    assert not _fsck(stores).ok


def _no_checkpoint(objects: MemoryObjectData) -> None:
    del objects.mutable["checkpoint"]


def _no_note(objects: MemoryObjectData) -> None:
    objects.mutable["checkpoint"] = b"not a note"


def _newer(objects: MemoryObjectData) -> None:
    objects.mutable["checkpoint"] = TextLog().sign_head(SIZE + 1, bytes(32), 1)


def _older(objects: MemoryObjectData) -> None:
    objects.mutable["checkpoint"] = TextLog().sign_head(SIZE - 1, bytes(32), 1)


def _fork(objects: MemoryObjectData) -> None:
    objects.mutable["checkpoint"] = TextLog().sign_head(SIZE, bytes(32), 1)


class _Unwritable(MemoryObjectStore):
    """Publication fails: what is public stays behind the head."""

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        raise OutcomeUnknown("failed on purpose")


def test_an_older_checkpoint_must_be_signed_too(stores: MemoryStores) -> None:
    async def work(log: Log) -> None:
        await add_all(log, ["more"])

    with pytest.raises(ExceptionGroup):
        with_log(stores, work, wrap=lambda store, _: (store, _Unwritable(stores.objects)))
    report = _fsck(stores)
    assert report.ok
    assert (report.tree_size, report.published_size) == (SIZE + 1, SIZE)
    note = stores.objects.mutable["checkpoint"]
    other = b"B" if note[-10:-9] == b"A" else b"A"
    stores.objects.mutable["checkpoint"] = note[:-10] + other + note[-9:]
    report = _fsck(stores)
    assert [problem.where for problem in report.problems] == ["checkpoint"]


def _wider_tile(objects: MemoryObjectData) -> None:
    objects.immutable["tile/0/002.p/89"] = objects.immutable["tile/0/002.p/88"] + bytes(32)


def _tile_beyond(objects: MemoryObjectData) -> None:
    objects.immutable["tile/0/003.p/1"] = bytes(32)


def _level_beyond(objects: MemoryObjectData) -> None:
    objects.immutable["tile/2/000.p/1"] = bytes(32)


def _other_bundles(objects: MemoryObjectData) -> None:
    objects.immutable["tile/data/000"] = objects.immutable["tile/entries/000"]


def _not_a_tile(objects: MemoryObjectData) -> None:
    objects.immutable["tile/0/x000/000"] = bytes(32)


def _stray_file(objects: MemoryObjectData) -> None:
    objects.immutable["tile/0/000.p/tmp"] = b""


def _wrong_partial(objects: MemoryObjectData) -> None:
    objects.immutable["tile/entries/002.p/3"] = objects.immutable["tile/entries/002.p/88"]


@pytest.mark.parametrize(
    "damage",
    [
        _no_checkpoint,
        _no_note,
        _newer,
        _older,
        _fork,
        _wider_tile,
        _tile_beyond,
        _level_beyond,
        _other_bundles,
        _not_a_tile,
        _stray_file,
        _wrong_partial,
    ],
)
def test_changed_public_objects_are_found(
    stores: MemoryStores, damage: Callable[[MemoryObjectData], None]
) -> None:
    damage(stores.objects)
    assert not _fsck(stores).ok


def test_problems_are_bounded(stores: MemoryStores) -> None:
    log = stores.logs[NAME]
    log.rows = {identity: replace(row, promise=b"") for identity, row in log.rows.items()}
    log.search.clear()
    for number in range(3, 600):
        stores.objects.immutable[f"tile/0/{number:03d}"] = b""
    report = _fsck(stores)
    assert len(report.problems) == 1000
