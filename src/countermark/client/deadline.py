# SPDX-License-Identifier: Apache-2.0
"""One budget of time for all the calls that a piece of work makes."""

import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Deadline(NamedTuple):
    """A moment of this machine's monotonic clock, in seconds."""

    ends_s: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The moment so many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds until then; negative once it has passed."""
        return self.ends_s - time.monotonic()

    def share(self, others: int) -> "Deadline":
        """An equal part of what is left, so that as many others can still be tried."""
        return Deadline.after(self.left_s() / (others + 1))


def within(total_s: float, work: Callable[[threading.Event], T]) -> T:
    """The result of `work`, or its error, if that comes in time. Raises TimeoutError.

    It is done in a thread that is left behind when time is over, and told so by the event:
    timeouts of sockets begin again with every byte, and looking up a name has none.
    """
    done: queue.SimpleQueue[tuple[T, None] | tuple[None, Exception]] = queue.SimpleQueue()
    given_up = threading.Event()

    def run() -> None:
        try:
            done.put((work(given_up), None))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        outcome = done.get(timeout=min(total_s, threading.TIMEOUT_MAX))
    except queue.Empty:
        given_up.set()
        raise TimeoutError from None
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]
