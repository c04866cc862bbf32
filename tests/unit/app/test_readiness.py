# SPDX-License-Identifier: Apache-2.0
"""What makes an instance not ready, and what its logs counted meanwhile."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from countermark.app.messages import GetReadiness, Readiness
from countermark.app.readiness import readiness
from countermark.core.errors import Pushback, RequestRejected, Unavailable
from countermark.drivers.memory import MemoryObjectStore
from countermark.observe.board import Region
from countermark.ports.log_store import LogStore
from countermark.ports.objects import ObjectStore
from countermark.tilelog.log import Limits, Log
from tests.support.logs import HASTY, NAME, ManualClock, MemoryStores, submission, with_log


async def _problems(log: Log, folder: Path) -> tuple[str, ...]:
    answer = await readiness((log,), folder)(GetReadiness())
    assert isinstance(answer, Readiness)
    return answer.problems


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.001)


def _counted(region: Region) -> dict[str, list[float]]:
    return {
        each.family.name.removeprefix("log_"): each.values
        for each in region.read()
        if each.labels == (NAME,)
    }


class _FailingObjects(MemoryObjectStore):
    fails = False

    def put_all(self, objects: object) -> None:
        if self.fails:
            raise Unavailable("no space left")
        super().put_all(objects)  # type: ignore[arg-type]


def test_a_log_that_works_is_ready_and_counts(tmp_path: Path) -> None:
    region = Region()

    async def work(log: Log) -> None:
        log.count_in(region)
        texts = ("a", "b", "a", "refuse", "c")
        await asyncio.gather(*(log.add(submission(t)) for t in texts), return_exceptions=True)
        with pytest.raises(RequestRejected):
            await log.add(submission("refuse"))
        await _until(lambda: log.published_size == 3)
        await asyncio.sleep(0.01)
        assert await _problems(log, tmp_path) == ()

    with_log(MemoryStores(), work)
    counted = _counted(region)
    assert counted["entries_total"] == [3]
    assert counted["duplicates_total"] == [1]
    assert counted["refused_total"] == [2]
    assert counted["tree_size_entries"] == counted["published_size_entries"] == [3]
    assert counted["staged_rounds"] == counted["unpublished_since_seconds"] == [0]
    assert counted["queued_entries"] == counted["pushbacks_total"] == [0]
    (rounds,) = counted["rounds_total"]
    assert sum(counted["round_size_entries"][:-1]) == rounds >= 2
    assert counted["round_size_entries"][-1] == 6
    assert 1 <= sum(counted["commit_duration_seconds"][:-1]) < rounds


def test_publication_that_fails_is_not_ready_until_it_works(tmp_path: Path) -> None:
    stores = MemoryStores()
    objects = _FailingObjects(stores.objects)
    region = Region()

    def wrap(store: LogStore, _: ObjectStore) -> tuple[LogStore, ObjectStore]:
        return store, objects

    async def work(log: Log) -> None:
        log.count_in(region)
        objects.fails = True
        begun = time.time()
        await log.add(submission("a"))
        await log.add(submission("b"))
        await _until(lambda: _counted(region)["publication_failures_total"][0])
        assert await _problems(log, tmp_path) == (f"log {NAME} cannot write its static copies",)
        assert _counted(region)["staged_rounds"] == [2]
        assert begun - 1 <= _counted(region)["unpublished_since_seconds"][0] <= time.time()
        objects.fails = False
        await _until(lambda: _counted(region)["staged_rounds"] == [0])
        assert await _problems(log, tmp_path) == ()
        assert _counted(region)["unpublished_since_seconds"] == [0]

    with_log(stores, work, wrap=wrap)


def test_a_log_that_pushes_back_is_not_ready(tmp_path: Path) -> None:
    region = Region()
    limits = Limits(queued=2, quiet_s=60.0, coalesce_s=60.0)

    async def work(log: Log) -> None:
        log.count_in(region)
        adding = [asyncio.create_task(log.add(submission(f"text {n}"))) for n in range(3)]
        await asyncio.sleep(0)
        assert await _problems(log, tmp_path) == (f"log {NAME} has too much waiting",)
        assert _counted(region)["queued_entries"] == [2]
        outcomes = await asyncio.gather(*adding, return_exceptions=True)
        assert [type(each) for each in outcomes].count(Pushback) == 1
        assert _counted(region)["pushbacks_total"] == [1]
        assert await _problems(log, tmp_path) == ()

    with_log(MemoryStores(), work, limits=limits)


def test_a_log_whose_publication_lags_is_not_ready(tmp_path: Path) -> None:
    limits = Limits(unpublished=2, quiet_s=60.0, coalesce_s=60.0)

    async def work(log: Log) -> None:
        await log.add(submission("a"))
        assert await _problems(log, tmp_path) == ()
        await log.add(submission("b"))
        assert await _problems(log, tmp_path) == (f"log {NAME} has too much waiting",)

    with_log(MemoryStores(), work, limits=limits)


def test_a_clock_that_was_set_back_is_not_ready(tmp_path: Path) -> None:
    clock = ManualClock()

    async def work(log: Log) -> None:
        await log.add(submission("a"))
        clock.now -= 60_000
        assert await _problems(log, tmp_path) == (f"log {NAME} has a clock that was set back",)
        clock.now += 60_000
        assert await _problems(log, tmp_path) == ()

    with_log(MemoryStores(), work, clock=clock, limits=HASTY)


def test_a_log_that_stops_is_not_ready(tmp_path: Path) -> None:
    async def work(log: Log) -> None:
        await log.drain()
        assert await _problems(log, tmp_path) == (f"log {NAME} is stopping",)

    with_log(MemoryStores(), work)


def test_a_data_directory_that_is_gone_is_not_ready(tmp_path: Path) -> None:
    async def work(log: Log) -> None:
        missing = tmp_path / "missing"
        assert await _problems(log, missing) == ("the data directory cannot be reached",)

    with_log(MemoryStores(), work)
