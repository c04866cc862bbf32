# SPDX-License-Identifier: Apache-2.0
"""What a log refuses to open, and what it refuses to answer from, when its stores are damaged."""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest

from countermark.core.errors import InvariantBroken, OutcomeUnknown
from countermark.core.tlog.tiles import TileName
from countermark.drivers.memory import MemoryLog, MemoryLogStore
from countermark.ports.log_store import LogStore
from countermark.tilelog.log import Limits, Log
from tests.support.logs import (
    HASTY,
    NAME,
    ManualClock,
    MemoryStores,
    TextLog,
    add_all,
    check_whole,
    with_log,
)

SIZE = 300
FORGETFUL = Limits(tree_leaves=0, quiet_s=0, coalesce_s=0, pause_s=0)


def _stores(size: int = SIZE) -> MemoryStores:
    stores = MemoryStores()

    async def work(log: Log) -> None:
        await add_all(log, [f"entry {number:03d}" for number in range(size)])

    with_log(stores, work)
    return stores


def _open(stores: MemoryStores) -> Log:
    store, objects = stores.open()
    return Log.open(NAME, TextLog(), store, objects, ManualClock(), HASTY)


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def _shorten(data: bytes) -> bytes:
    return data[:-32]


def _empty(data: bytes) -> bytes:
    return data[:0]


def _blank(data: bytes) -> bytes:
    return bytes(len(data))


@pytest.mark.parametrize("path", ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"])
@pytest.mark.parametrize("damage", [None, _flip, _shorten, _empty])
def test_a_damaged_edge_is_not_opened(path: str, damage: Callable[[bytes], bytes] | None) -> None:
    stores = _stores()
    data = stores.objects.immutable.pop(path)
    if damage is not None:
        stores.objects.immutable[path] = damage(data)
    with pytest.raises(InvariantBroken):
        _open(stores)


def _other_head(log: MemoryLog) -> None:
    log.head = replace(log.head, root_hash=bytes(32))


def _lost_tail(log: MemoryLog) -> None:
    log.published_size -= 1


@pytest.mark.parametrize("damage", [_other_head, _lost_tail])
def test_a_damaged_database_is_not_opened(damage: Callable[[MemoryLog], None]) -> None:
    stores = _stores()
    damage(stores.logs[NAME])
    with pytest.raises(InvariantBroken):
        _open(stores)


@pytest.mark.parametrize("size", [SIZE + 1, SIZE])
def test_a_checkpoint_of_another_history_is_refused(size: int) -> None:
    stores = _stores()
    stores.objects.mutable["checkpoint"] = TextLog().sign_head(size, bytes(32), 1)
    with pytest.raises(InvariantBroken):
        _open(stores)


def test_a_checkpoint_that_is_none_is_refused() -> None:
    stores = _stores()
    stores.objects.mutable["checkpoint"] = b"?"
    with pytest.raises(InvariantBroken):
        _open(stores)


def test_a_lost_checkpoint_is_published_again() -> None:
    stores = _stores()
    del stores.objects.mutable["checkpoint"]

    async def nothing(log: Log) -> None:
        assert log.head.tree_size == SIZE

    with_log(stores, nothing)
    assert check_whole(stores).ok


def test_an_edge_is_read_from_a_wider_partial_or_the_full_tile() -> None:
    """As after a crash between the deletion of narrower partials and the end of a publication."""
    stores = _stores()

    async def work(log: Log) -> None:
        await add_all(log, [f"more {number}" for number in range(SIZE)])

    with pytest.raises(ExceptionGroup):
        with_log(stores, work, wrap=lambda store, objects: (_NoDrop(store), objects))
    assert "tile/0/001.p/44" not in stores.objects.immutable
    assert "tile/0/001" in stores.objects.immutable
    log = _open(stores)
    assert (log.published_size, log.head.tree_size) == (SIZE, 2 * SIZE)


class _NoDrop(MemoryLogStore):
    """A database that fails after everything else of a publication is done."""

    def __init__(self, store: LogStore) -> None:
        assert isinstance(store, MemoryLogStore)
        super().__init__(store.data)

    def drop_staged(self, log: str, size: int) -> None:
        raise OutcomeUnknown("failed on purpose")


def _older_copy(stores: MemoryStores) -> MemoryStores:
    """The database as it is, beside the objects of two entries more."""
    older = deepcopy(stores.logs)

    async def work(log: Log) -> None:
        await add_all(log, [f"more {number}" for number in range(2)])

    with_log(stores, work)
    stores.logs = older
    return stores


@pytest.mark.parametrize("size", [255, 256, SIZE, 511, 512])
@pytest.mark.parametrize("checkpoint", ["newer", "lost", "older"])
def test_an_older_copy_of_the_database_is_refused(size: int, checkpoint: str) -> None:
    """The checkpoint tells, but can be lost or restored with the database; tiles tell as well."""
    stores = _stores(size)
    before = stores.objects.mutable["checkpoint"]
    stores = _older_copy(stores)
    if checkpoint == "lost":
        del stores.objects.mutable["checkpoint"]
    elif checkpoint == "older":
        stores.objects.mutable["checkpoint"] = before
    with pytest.raises(InvariantBroken, match="older copy"):
        _open(stores)


@pytest.mark.parametrize("damage", [None, _flip, _shorten, _empty, _blank])
def test_no_proof_comes_out_of_a_damaged_tile(damage: Callable[[bytes], bytes] | None) -> None:
    stores = _stores(600)
    data = stores.objects.immutable.pop("tile/0/000")
    if damage is not None:
        stores.objects.immutable["tile/0/000"] = damage(data)

    async def work(log: Log) -> None:
        with pytest.raises(InvariantBroken, match="fsck"):
            await log.inclusion_proof(254, 600)
        with pytest.raises(InvariantBroken, match="fsck"):
            await log.consistency_proof(255, 600)
        for size in (300, 512, 599):  # an older tree's proof is no less wrong
            with pytest.raises(InvariantBroken, match="fsck"):
                await log.inclusion_proof(254, size)
            with pytest.raises(InvariantBroken, match="fsck"):
                await log.consistency_proof(255, size)
        with pytest.raises(InvariantBroken, match="fsck"):
            await log.root_hash(255)
        await add_all(log, ["more"])  # writing needs none of it

    with_log(stores, work, limits=FORGETFUL)


@pytest.mark.parametrize("damage", [None, _shorten, _empty])
def test_a_tile_that_is_gone_or_too_short_is_not_served(
    damage: Callable[[bytes], bytes] | None,
) -> None:
    stores = _stores(600)
    data = stores.objects.immutable.pop("tile/0/000")
    if damage is not None:
        stores.objects.immutable["tile/0/000"] = damage(data)

    async def work(log: Log) -> None:
        for width in (256, 250):
            with pytest.raises(InvariantBroken, match="fsck"):
                await log.tile(TileName(0, 0, width))

    with_log(stores, work, limits=FORGETFUL)


@pytest.mark.parametrize("damage", [None, _shorten, _empty, _flip])
def test_no_record_comes_out_of_a_damaged_bundle(damage: Callable[[bytes], bytes] | None) -> None:
    stores = _stores(600)
    data = stores.objects.immutable.pop("tile/entries/001")
    if damage is not None:
        stores.objects.immutable["tile/entries/001"] = damage(data)

    async def work(log: Log) -> None:
        assert len(await log.records(0, 256)) == 256
        with pytest.raises(InvariantBroken, match="fsck"):
            await log.records(250, 512)

    with_log(stores, work, limits=FORGETFUL)


def test_readers_follow_a_log_that_moves_on() -> None:
    """Records are read while publication takes them out of memory."""
    stores = _stores(10)

    async def work(log: Log) -> None:
        async def read() -> None:
            for _ in range(200):
                size = log.head.tree_size
                records = await log.records(0, size)
                assert len(records) == size
                assert records[0] == (await log.records(0, 1))[0]
                await asyncio.sleep(0)

        async def write() -> None:
            for turn in range(20):
                await add_all(log, [f"turn {turn} {number}" for number in range(50)])

        await asyncio.gather(read(), write(), read())

    with_log(stores, work, limits=FORGETFUL)
    check_whole(stores)
