# SPDX-License-Identifier: Apache-2.0
"""A log through its public face, over both pairs of drivers."""

import asyncio
from pathlib import Path

import pytest

from countermark.core.errors import (
    Conflict,
    LogFrozen,
    NotFound,
    Unavailable,
)
from countermark.core.tlog.bundles import ENTRIES
from countermark.core.tlog.merkle import EMPTY_ROOT, leaf_hash, verify_consistency
from countermark.core.tlog.tiles import BundleName, TileName
from countermark.drivers.memory import MemoryObjectStore
from countermark.tilelog.log import Limits, Log
from tests.support.logs import (
    HASTY,
    NAME,
    EmbeddedStores,
    ManualClock,
    MemoryStores,
    Stores,
    TextLog,
    add_all,
    check_answer,
    check_whole,
    published,
    submission,
    with_log,
)


@pytest.fixture(params=["memory", "embedded"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    return MemoryStores() if request.param == "memory" else EmbeddedStores(tmp_path)


def test_an_entry_is_answered_with_a_proof_and_found_again(stores: Stores) -> None:
    async def work(log: Log) -> None:
        assert log.head.tree_size == 0
        assert log.head.root_hash == EMPTY_ROOT
        [first] = await add_all(log, ["one"])
        assert (first.index, first.duplicate, first.head) == (0, False, log.head)
        [second] = await add_all(log, ["two"])
        assert second.index == 1
        assert second.time_ms > first.time_ms
        row = await log.find(leaf_hash(b"one"))
        assert row is not None
        assert (row.index, row.time_ms, row.promise) == (0, first.time_ms, first.promise)
        check_answer(submission("one"), await log.prove(row))
        assert await log.find(leaf_hash(b"three")) is None
        assert await log.search(b"o", limit=9) == [0]
        assert await log.records(0, 9) == [b"one", b"two"]

    with_log(stores, work)
    assert check_whole(stores, must_contain={b"one": 0, b"two": 1}).tree_size == 2


def test_a_duplicate_gets_the_original_entry(stores: Stores) -> None:
    async def work(log: Log) -> None:
        [first] = await add_all(log, ["one"])
        await add_all(log, ["two"])
        [again] = await add_all(log, ["one"])
        assert again.duplicate
        assert (again.index, again.time_ms, again.promise) == (0, first.time_ms, first.promise)
        assert again.head == log.head
        assert log.head.tree_size == 2

    with_log(stores, work)

    async def later(log: Log) -> None:
        [again] = await add_all(log, ["two"])
        assert (again.duplicate, again.index, log.head.tree_size) == (True, 1, 2)

    with_log(stores, later)


def test_duplicates_that_arrive_together_are_one_entry(stores: Stores) -> None:
    async def work(log: Log) -> None:
        answers = await add_all(log, [f"{number % 7}" for number in range(70)])
        assert log.head.tree_size == 7
        for number, answer in enumerate(answers):
            assert answer.index == answers[number % 7].index
            assert answer.promise == answers[number % 7].promise
        assert sum(not answer.duplicate for answer in answers) == 7

    with_log(stores, work)
    assert check_whole(stores).tree_size == 7


def test_growth_across_tiles_and_restarts(stores: Stores) -> None:
    promised: dict[bytes, int] = {}
    sizes = [1, 250, 5, 256, 1, 600, 30]
    total = 0
    heads = []
    for count in sizes:
        texts = [f"entry {number}" for number in range(total, total + count)]
        total += count

        async def work(log: Log, texts: list[str] = texts) -> None:
            for text, answer in zip(texts, await add_all(log, texts), strict=True):
                promised[text.encode()] = answer.index
            heads.append(log.head)

        with_log(stores, work)
        report = check_whole(stores, must_contain=promised)
        assert report.tree_size == report.published_size == total
    assert sorted(promised.values()) == list(range(total))

    async def read(log: Log) -> None:
        assert {record: i for i, record in enumerate(await log.records(0, total))} == promised
        assert await log.records(254, 258) == (await log.records(0, total))[254:258]
        last = heads[-1]
        for head in heads:
            proof = await log.consistency_proof(head.tree_size, last.tree_size)
            verify_consistency(
                head.tree_size, last.tree_size, head.root_hash, last.root_hash, proof
            )
            assert await log.root_hash(head.tree_size) == head.root_hash
        for record in (b"entry 0", b"entry 255", b"entry 256", b"entry 700"):
            row = await log.find(leaf_hash(record))
            assert row is not None
            check_answer(submission(record), await log.prove(row))

    # With next to nothing in memory, all of this comes out of stored tiles.
    with_log(stores, read, limits=Limits(tree_leaves=0, quiet_s=0, coalesce_s=0, pause_s=0))


def test_answers_come_out_of_stored_tiles_once_memory_forgot(stores: Stores) -> None:
    async def work(log: Log) -> None:
        answers = await add_all(log, [f"{number}" for number in range(600)])
        await published(log, 600)
        [again] = await add_all(log, ["0"])  # leaf 0's tile is not in memory any more
        first = answers[0]
        assert (again.duplicate, again.index, again.promise) == (True, first.index, first.promise)
        tile = await log.tile(TileName(0, 0, 100))
        assert tile == b"".join(leaf_hash(record) for record in await log.records(0, 100))

    limits = Limits(tree_leaves=0, quiet_s=0, coalesce_s=0, pause_s=0)
    with_log(stores, work, limits=limits)


def test_tiles_and_bundles_are_served_up_to_the_head(stores: Stores) -> None:
    async def work(log: Log) -> None:
        texts = [f"{number}".encode() for number in range(300)]
        await add_all(log, list(texts))
        records = await log.records(0, 300)
        assert sorted(records) == sorted(texts)
        bundle = await log.bundle(BundleName("entries", 1, 44))
        assert ENTRIES.split(bundle) == records[256:]
        assert ENTRIES.split(await log.bundle(BundleName("entries", 0))) == records[:256]
        assert len(await log.tile(TileName(1, 0, 1))) == 32
        for missing in (
            TileName(0, 1, 45),
            TileName(1, 0),
            TileName(2, 0, 1),
            BundleName("entries", 1, 45),
            BundleName("entries32", 0),
        ):
            with pytest.raises(NotFound):
                await (log.tile(missing) if isinstance(missing, TileName) else log.bundle(missing))

    with_log(stores, work)


def test_what_is_not_there_is_not_found(stores: Stores) -> None:
    async def work(log: Log) -> None:
        await add_all(log, ["a", "b", "c"])
        for index, size in ((3, 3), (-1, 3), (0, 4), (2, 2)):
            with pytest.raises(NotFound):
                await log.inclusion_proof(index, size)
        for old, new in ((0, 3), (2, 4), (3, 2), (-1, 1)):
            with pytest.raises(NotFound):
                await log.consistency_proof(old, new)
        with pytest.raises(NotFound):
            await log.root_hash(4)
        assert await log.records(3, 5) == []

    with_log(stores, work)


def test_a_stopped_log_takes_nothing() -> None:
    async def work(log: Log) -> None:
        await add_all(log, ["a"])
        await log.drain()
        with pytest.raises(Unavailable):
            await log.add(submission("b"))
        with pytest.raises(Unavailable):
            await log.find(leaf_hash(b"a"))

    with_log(MemoryStores(), work)


def test_a_caller_that_goes_away_takes_nothing_back(stores: Stores) -> None:
    async def work(log: Log) -> None:
        task = asyncio.create_task(log.add(submission("a")))
        await asyncio.sleep(0)
        task.cancel()
        [answer] = await add_all(log, ["a"])
        assert answer.duplicate or answer.index == 0

    with_log(stores, work)
    assert check_whole(stores).tree_size == 1


def test_drain_finishes_what_is_queued(stores: Stores) -> None:
    async def work(log: Log) -> None:
        adds = [asyncio.create_task(log.add(submission(f"{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        await log.drain()
        assert sorted(answer.index for answer in await asyncio.gather(*adds)) == list(range(20))

    with_log(stores, work, limits=Limits(round_size=3))
    assert check_whole(stores).published_size == 20


def test_partials_give_way(stores: Stores) -> None:
    async def work(log: Log) -> None:
        for number in range(20):
            await add_all(log, [f"{number}"])
            await published(log, number + 1)

    with_log(stores, work)
    store, objects = stores.open()
    partials = sorted(objects.paths("tile/0/000.p/"), key=lambda path: int(path[13:]))
    assert partials == [f"tile/0/000.p/{width}" for width in range(13, 21)]
    store.close()

    async def fill(log: Log) -> None:
        await add_all(log, [f"more {number}" for number in range(240)])

    with_log(stores, fill)
    store, objects = stores.open()
    assert sorted(objects.paths("tile/")) == [
        "tile/0/000",
        "tile/0/001.p/4",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/4",
    ]
    store.close()


def test_create_and_open_do_not_stand_in_for_each_other(stores: Stores) -> None:
    store, objects = stores.open()
    with pytest.raises(NotFound):
        Log.open(NAME, TextLog(), store, objects, ManualClock())
    Log.create(NAME, TextLog(), store, objects, ManualClock())
    with pytest.raises(Conflict):
        Log.create(NAME, TextLog(), store, objects, ManualClock())
    store.close()
    check_whole(stores)


def test_two_logs_share_a_store(stores: Stores) -> None:
    store, objects = stores.open()
    other = MemoryObjectStore()

    async def main() -> None:
        one = Log.create("one", TextLog(), store, objects, ManualClock(), HASTY)
        two = Log.create("two", TextLog(), store, other, ManualClock(), HASTY)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one.run())
            tasks.create_task(two.run())
            texts = [f"{number}" for number in range(300)]
            await asyncio.gather(add_all(one, texts), add_all(two, texts[:50]))
            await asyncio.gather(one.drain(), two.drain())
        assert (one.head.tree_size, two.head.tree_size) == (300, 50)

    asyncio.run(main())
    store.close()


def test_a_frozen_log_takes_nothing_and_shows_all(stores: Stores) -> None:
    async def work(log: Log) -> None:
        await add_all(log, ["one", "two"])
        log.freeze()
        assert log.frozen
        for text in ("two", "three"):
            with pytest.raises(LogFrozen, match="frozen"):
                await log.add(submission(text))
        assert await log.records(0, 9) == [b"one", b"two"]

    with_log(stores, work)
    report = check_whole(stores, must_contain={b"one": 0, b"two": 1})
    assert (report.tree_size, report.published_size) == (2, 2)
