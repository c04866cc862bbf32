# SPDX-License-Identifier: Apache-2.0
"""What a log refuses, survives and stops at."""

import asyncio
from pathlib import Path

import pytest

from countermark.core.errors import (
    InvariantBroken,
    Pushback,
    RequestRejected,
    Unavailable,
)
from countermark.core.tlog.merkle import leaf_hash
from countermark.drivers.memory import MemoryObjectStore
from countermark.tilelog.log import Limits, Log, Submission
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


def test_a_refused_submission_harms_nobody_else(stores: Stores) -> None:
    async def work(log: Log) -> None:
        answers = await asyncio.gather(
            *(log.add(submission(text)) for text in ("a", "refuse me", "b", "refuse", "a")),
            return_exceptions=True,
        )
        assert isinstance(answers[1], RequestRejected)
        assert isinstance(answers[3], RequestRejected)
        assert log.head.tree_size == 2

    with_log(stores, work)
    check_whole(stores)


def test_a_record_that_no_bundle_holds_is_refused(stores: Stores) -> None:
    async def work(log: Log) -> None:
        await add_all(log, [bytes(65_535)])
        with pytest.raises(Exception, match="65536 bytes"):
            await log.add(submission(bytes(65_536)))

    with_log(stores, work)
    check_whole(stores)


def test_a_signer_that_is_down_fails_the_round_and_no_more(stores: Stores) -> None:
    personality = TextLog()

    async def work(log: Log) -> None:
        await add_all(log, ["a"])
        personality.signer_down = True
        answers = await asyncio.gather(
            *(log.add(submission(text)) for text in ("a", "b", "c", "b")), return_exceptions=True
        )
        check_answer(submission("a"), answers[0])  # type: ignore[arg-type]
        assert all(isinstance(answer, Unavailable) for answer in answers[1:])
        assert log.head.tree_size == 1
        personality.signer_down = False
        await add_all(log, ["b", "c"])
        assert log.head.tree_size == 3

    with_log(stores, work, personality=personality)
    check_whole(stores)


def test_time_never_goes_back() -> None:
    stores = MemoryStores()
    clock = ManualClock()

    async def work(log: Log) -> None:
        [first] = await add_all(log, ["a"])
        clock.now -= 5000
        [second] = await add_all(log, ["b"])
        assert second.time_ms == first.time_ms + 1 == log.head.time_ms
        clock.now -= 3_600_000
        with pytest.raises(Unavailable, match="clock"):
            await log.add(submission("c"))
        [again] = await add_all(log, ["a"])  # nothing is signed for that
        assert again.duplicate
        clock.now += 7_200_000
        await add_all(log, ["c"])
        assert log.head.time_ms == clock.now

    with_log(stores, work, clock=clock)
    check_whole(stores)


def test_too_much_is_pushed_back_and_the_rest_is_logged(stores: Stores) -> None:
    limits = Limits(queued=10, round_size=4)

    async def work(log: Log) -> None:
        answers = await asyncio.gather(
            *(log.add(submission(f"{number}")) for number in range(50)), return_exceptions=True
        )
        pushed = [answer for answer in answers if isinstance(answer, Pushback)]
        assert len(pushed) == 40
        assert pushed[0].retry_after_s >= 1
        await add_all(log, ["and", "now"])
        assert log.head.tree_size == 12

    with_log(stores, work, limits=limits)
    check_whole(stores)


def test_queued_bytes_are_bounded() -> None:
    async def work(log: Log) -> None:
        big = [Submission(leaf_hash(b"%d" % n), b"%d" % n, (), 600) for n in range(4)]
        answers = await asyncio.gather(*map(log.add, big), return_exceptions=True)
        assert [isinstance(answer, Pushback) for answer in answers] == [False, False, True, True]

    with_log(MemoryStores(), work, limits=Limits(queued_bytes=1000))


class _FullDisk(MemoryObjectStore):
    """An object store that cannot take tiles for a while."""

    full = True

    def put_all(self, objects: object) -> None:
        if self.full:
            raise Unavailable("the disk is full")
        super().put_all(objects)  # type: ignore[arg-type]


def test_publication_that_fails_is_retried_and_bounds_the_tail() -> None:
    stores = MemoryStores()
    disk = _FullDisk(stores.objects)

    async def work(log: Log) -> None:
        await add_all(log, ["a", "b", "c"])
        with pytest.raises(Pushback):
            await log.add(submission("d"))
        assert log.published_size == 0
        assert await log.records(0, 3) == [b"a", b"b", b"c"]
        disk.full = False
        await published(log, 3)
        await add_all(log, ["d"])

    limits = Limits(unpublished=3, quiet_s=0, coalesce_s=0, pause_s=0, retry_s=0.01)
    with_log(stores, work, limits=limits, wrap=lambda store, _: (store, disk))
    check_whole(stores)


def test_draining_with_a_full_disk_leaves_the_tail_for_the_next_process() -> None:
    stores = MemoryStores()
    disk = _FullDisk(stores.objects)

    async def work(log: Log) -> None:
        await add_all(log, ["a", "b"])

    with_log(stores, work, wrap=lambda store, _: (store, disk))
    assert check_whole(stores, must_contain={b"a": 0, b"b": 1}).published_size == 0
    with_log(stores, work)
    assert check_whole(stores, must_contain={b"a": 0, b"b": 1}).published_size == 2


def test_an_older_database_is_refused() -> None:
    """A database that comes back older than what was published must not be used to go on."""

    async def three(log: Log) -> None:
        await add_all(log, ["a", "b", "c"])

    async def one(log: Log) -> None:
        await add_all(log, ["a"])

    newer, older = MemoryStores(), MemoryStores()
    with_log(newer, three)
    with_log(older, one)
    with pytest.raises(InvariantBroken, match="older copy"):
        with_log(MemoryStores(older.logs, newer.objects), one)


def test_another_writer_stops_the_log() -> None:
    stores = MemoryStores()

    async def work(log: Log) -> None:
        await add_all(log, ["a"])
        await published(log, 1)  # else the rival opens stores that are about to change
        store, objects = stores.open()
        rival = Log.open(NAME, TextLog(), store, objects, ManualClock(), HASTY)
        run = asyncio.create_task(rival.run())
        await add_all(rival, ["theirs"])
        await rival.drain()
        await run
        with pytest.raises(Unavailable):
            await log.add(submission("ours"))

    with pytest.raises(ExceptionGroup) as caught:
        with_log(stores, work)
    assert caught.group_contains(InvariantBroken, match="moved by somebody else")
    assert check_whole(stores).tree_size == 2
