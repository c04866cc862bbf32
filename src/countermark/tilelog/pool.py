# SPDX-License-Identifier: Apache-2.0
"""What waits for a round: submissions and who is told the outcome. Bounded."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from countermark.core.errors import CountermarkError, Pushback, Unavailable
from countermark.tilelog.personality import Submission
from countermark.tilelog.sequencer import Added, OldDuplicate, Outcome

Waiter = asyncio.Future[Added | OldDuplicate]


@dataclass(frozen=True, slots=True)
class Batch:
    """The submissions of one round and their waiters, in parallel."""

    submissions: Sequence[Submission]
    waiters: Sequence[Waiter]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Tell each waiter its outcome."""
        for waiter, outcome in zip(self.waiters, outcomes, strict=True):
            if waiter.done():  # its caller went away; the entry is logged all the same
                continue
            if isinstance(outcome, CountermarkError):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome)

    def fail(self, why: str) -> None:
        """Tell each waiter that its outcome is not known."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(Unavailable(why))


class Pool:
    """A first-in, first-out queue, bounded in number and bytes."""

    def __init__(self, maximum: int, maximum_bytes: int) -> None:
        self._maximum = maximum
        self._maximum_bytes = maximum_bytes
        self._queue: deque[tuple[Submission, Waiter]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether nothing more may be queued."""
        return len(self._queue) >= self._maximum or self._bytes >= self._maximum_bytes

    def put(self, submission: Submission) -> Waiter:
        """Queue a submission. Raises Pushback if the pool is full."""
        if self.full:
            raise Pushback("too many entries are waiting to be logged")
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._queue.append((submission, waiter))
        self._bytes += submission.byte_size
        self._filled.set()
        return waiter

    def take(self, maximum: int, maximum_bytes: int) -> Batch:
        """Take the oldest submissions, at least one, for a round."""
        submissions: list[Submission] = []
        waiters: list[Waiter] = []
        size = 0
        while self._queue and len(submissions) < maximum and size < maximum_bytes:
            submission, waiter = self._queue.popleft()
            size += submission.byte_size
            submissions.append(submission)
            waiters.append(waiter)
        self._bytes -= size
        return Batch(submissions, waiters)

    async def filled(self) -> None:
        """Wait until something is queued, or `wake` is called."""
        self._filled.clear()
        if not self._queue:
            await self._filled.wait()

    def wake(self) -> None:
        """End a wait in `filled`."""
        self._filled.set()
