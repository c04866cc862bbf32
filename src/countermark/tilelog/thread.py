# SPDX-License-Identifier: Apache-2.0
"""One thread for work that blocks, in order. A thread pool's futures cost four times as much CPU
for each hop, which a log would pay for every round."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

_Task: TypeAlias = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class WorkThread:
    """Runs work on a thread of its own, first come, first served. Starts when first used."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._started = False

    def submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Have `work` done; the future gets its result or what it raised.

        Cancelling the future does not stop the work.
        """
        if not self._started:
            self._started = True
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._tasks.put((work, loop, future))
        return future

    def close(self) -> None:
        """Finish what was submitted and end the thread. Blocks. Safe to call twice."""
        if self._started:
            self._tasks.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            work, loop, future = task
            try:
                settle = partial(_settle, future, work(), None)
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
                settle = partial(_settle, future, None, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle)
            del task, work, future, settle  # nothing of it is kept until the next one comes


def _settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if future.done():  # its waiter was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
