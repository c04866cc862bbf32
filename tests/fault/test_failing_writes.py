# SPDX-License-Identifier: Apache-2.0
"""Every write of the engine × {lost, persisted anyway}: nothing promised is lost, nothing forks.

The failing call raises OutcomeUnknown and the drivers refuse all further use, as a real failure
leaves them. Then a new "process" opens what is durable, goes on, and fsck re-derives it all.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from countermark.core.errors import CountermarkError, OutcomeUnknown, Unavailable
from countermark.ports.log_store import LogStore
from countermark.ports.objects import ObjectStore
from countermark.tilelog.log import Log
from tests.support.logs import (
    EmbeddedStores,
    MemoryStores,
    Stores,
    add_all,
    check_answer,
    check_whole,
    submission,
    with_log,
)

pytestmark = pytest.mark.fault

WRITES = ["commit_round", "put_all", "replace", "delete_all", "drop_staged"]


class Failing:
    """A driver whose n-th call of one method fails, before or after it took effect."""

    def __init__(self, driver: Any, dead: list[str], method: str, count: int, outcome: str) -> None:
        self._driver = driver
        self._dead = dead
        self._method = method
        self._left = count
        self._outcome = outcome

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._driver, name)

        def checked(*arguments: Any, **named: Any) -> Any:
            if self._dead:
                raise OutcomeUnknown(f"dead since {self._dead[0]} failed")
            if name != self._method:
                return call(*arguments, **named)
            self._left -= 1
            if self._left:
                return call(*arguments, **named)
            self._dead.append(name)
            if self._outcome == "persisted anyway":
                call(*arguments, **named)
            elif self._outcome == "half done":
                _half(call, arguments)
            raise OutcomeUnknown(f"{name} failed on purpose")

        return checked


def _half(call: Any, arguments: Sequence[Any]) -> None:
    items = list(arguments[0])
    call(items[: len(items) // 2])


@pytest.fixture(params=["memory", "embedded"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    return MemoryStores() if request.param == "memory" else EmbeddedStores(tmp_path)


def _cases() -> Iterator[tuple[str, str, int]]:
    for method in WRITES:
        outcomes = ["lost", "persisted anyway"]
        if method in ("put_all", "delete_all"):
            outcomes.append("half done")
        for outcome in outcomes:
            for count in (1, 3):
                yield method, outcome, count


@pytest.mark.parametrize(("method", "outcome", "count"), list(_cases()))
def test_a_log_survives_a_failed_write(
    stores: Stores, method: str, outcome: str, count: int
) -> None:
    promised: dict[bytes, int] = {}
    uncertain: list[str] = []

    async def grow(log: Log) -> None:
        answers = await add_all(log, [f"before {number}" for number in range(254)])
        promised.update({b"before %d" % n: answer.index for n, answer in enumerate(answers)})

    async def try_to_grow(log: Log) -> None:
        # Rounds one after the other cross a tile's edge: 254, 257, 260 … entries.
        for turn in range(30):
            texts = [f"during {turn} {number}" for number in range(3)]
            adds = [log.add(submission(text)) for text in texts]
            for text, answer in zip(
                texts, await asyncio.gather(*adds, return_exceptions=True), strict=True
            ):
                if isinstance(answer, BaseException):
                    assert isinstance(answer, CountermarkError)
                    uncertain.append(text)
                else:
                    check_answer(submission(text), answer)
                    promised[text.encode()] = answer.index
            await asyncio.sleep(0.004)

    def wrap(store: LogStore, objects: ObjectStore) -> tuple[LogStore, ObjectStore]:
        dead: list[str] = []
        failing_store: Any = Failing(store, dead, method, count, outcome)
        failing_objects: Any = Failing(objects, dead, method, count, outcome)
        return failing_store, failing_objects

    with_log(stores, grow)
    with pytest.raises(ExceptionGroup) as caught:
        with_log(stores, try_to_grow, wrap=wrap)
    assert caught.group_contains(OutcomeUnknown, match="on purpose|dead since")
    check_whole(stores, must_contain=promised)

    async def go_on(log: Log) -> None:
        """What was promised is where it was; what was not can be submitted again."""
        for record, index in promised.items():
            answer = await log.add(submission(record))
            assert answer.duplicate
            assert answer.index == index
        await add_all(log, uncertain)
        await add_all(log, [f"after {number}" for number in range(300)])

    with_log(stores, go_on)
    report = check_whole(stores, must_contain=promised)
    assert report.published_size == report.tree_size


def test_waiters_learn_that_the_outcome_is_unknown() -> None:
    stores = MemoryStores()

    async def work(log: Log) -> None:
        with pytest.raises(Unavailable, match="submit it again"):
            await log.add(submission("a"))

    def wrap(store: LogStore, objects: ObjectStore) -> tuple[LogStore, ObjectStore]:
        failing: Any = Failing(store, [], "commit_round", 1, "persisted anyway")
        return failing, objects

    with pytest.raises(ExceptionGroup) as caught:
        with_log(stores, work, wrap=wrap)
    assert caught.group_contains(OutcomeUnknown)
    check_whole(stores, must_contain={b"a": 0})
