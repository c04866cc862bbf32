# SPDX-License-Identifier: Apache-2.0
"""The thread that does a log's blocking work."""

import asyncio
import threading
import time
from functools import partial

import pytest

from countermark.tilelog.thread import WorkThread


def test_work_is_done_in_order_on_one_other_thread() -> None:
    async def main() -> None:
        thread = WorkThread("test")
        seen: list[tuple[int, str]] = []

        def work(number: int) -> int:
            seen.append((number, threading.current_thread().name))
            return number * 2

        results = [thread.submit(partial(work, number)) for number in range(20)]
        assert await asyncio.gather(*results) == [number * 2 for number in range(20)]
        assert seen == [(number, "test") for number in range(20)]
        thread.close()
        thread.close()

    asyncio.run(main())


def test_what_work_raises_is_raised_where_it_is_awaited() -> None:
    async def main() -> None:
        thread = WorkThread("test")

        def fail() -> None:
            raise KeyError("gone")

        with pytest.raises(KeyError):
            await thread.submit(fail)
        assert await thread.submit(lambda: 1) == 1
        thread.close()

    asyncio.run(main())


def test_a_cancelled_wait_does_not_stop_the_work() -> None:
    async def main() -> None:
        thread = WorkThread("test")
        done = threading.Event()

        def slow() -> None:
            time.sleep(0.05)
            done.set()

        waiting = thread.submit(slow)
        waiting.cancel()
        assert await thread.submit(lambda: 1) == 1
        assert done.is_set()
        thread.close()

    asyncio.run(main())


def test_closing_waits_for_the_work() -> None:
    done = threading.Event()
    thread = WorkThread("test")

    def slow() -> None:
        time.sleep(0.05)
        done.set()

    async def main() -> None:
        thread.submit(slow)

    asyncio.run(main())  # the loop ends first
    thread.close()
    assert done.is_set()


def test_closing_an_unused_thread() -> None:
    WorkThread("test").close()
