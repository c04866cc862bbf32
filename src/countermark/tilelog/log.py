# SPDX-License-Identifier: Apache-2.0
"""`Log`: one append-only log, as services see it.

Two tasks keep it going while `run` runs: the *sequencer* starts a round as soon as the last one
ended and anything waits (so an idle log answers at once and a busy one batches), and the
*publisher* follows behind it. Each has a thread for all that blocks.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self, TypeVar

from countermark.core.errors import LogFrozen, Pushback, Unavailable
from countermark.core.tlog.merkle import EMPTY_ROOT
from countermark.core.tlog.tiles import CHECKPOINT_PATH, BundleName, TileName
from countermark.observe.board import Region
from countermark.ports.clock import Clock
from countermark.ports.log_store import EntryRow, Head, LogStore
from countermark.ports.objects import ObjectStore
from countermark.tilelog.limits import Limits
from countermark.tilelog.meter import LogMeter
from countermark.tilelog.personality import Personality, Submission
from countermark.tilelog.pool import Pool
from countermark.tilelog.publisher import publish
from countermark.tilelog.reader import Reader
from countermark.tilelog.recover import Recovered, recover
from countermark.tilelog.sequencer import Added, OldDuplicate, Sequencer
from countermark.tilelog.thread import WorkThread

__all__ = ["Added", "Limits", "Log", "Submission"]

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Log:
    """One log. Used from one event loop; `create` and `open` block.

    Attributes:
        name: its name in the store.
    """

    def __init__(
        self,
        name: str,
        personality: Personality,
        store: LogStore,
        objects: ObjectStore,
        clock: Clock,
        recovered: Recovered,
        limits: Limits,
    ) -> None:
        self.name = name
        self._codec = personality.codec
        self._store = store
        self._objects = objects
        self._limits = limits
        self._reader = Reader(name, personality.codec, objects, recovered)
        self._sequencer = Sequencer(name, personality, store, clock, recovered.head, recovered.tree)
        self._pool = Pool(limits.queued, limits.queued_bytes)
        self._public = (
            recovered.checkpoint == recovered.head.signed
            and recovered.published_size == recovered.head.tree_size
        )
        self._publication_fails = False
        self.count_in(Region())
        self._moved = asyncio.Event()
        self._draining = asyncio.Event()
        self._sequenced = asyncio.Event()
        self._stopped = asyncio.Event()
        self._running = False
        self._frozen = False
        self._round_thread = WorkThread(f"round-{name}")
        self._publish_thread = WorkThread(f"publish-{name}")

    @classmethod
    def create(
        cls,
        name: str,
        personality: Personality,
        store: LogStore,
        objects: ObjectStore,
        clock: Clock,
        limits: Limits | None = None,
    ) -> Self:
        """Start a log with an empty, signed head. Raises Conflict if it exists already."""
        time_ms = clock.now_ms()
        signed = personality.sign_head(0, EMPTY_ROOT, time_ms)
        store.create_log(name, Head(0, EMPTY_ROOT, time_ms, signed))
        objects.replace(CHECKPOINT_PATH, signed)
        return cls.open(name, personality, store, objects, clock, limits)

    @classmethod
    def open(
        cls,
        name: str,
        personality: Personality,
        store: LogStore,
        objects: ObjectStore,
        clock: Clock,
        limits: Limits | None = None,
    ) -> Self:
        """Open a log that exists; what is staged is published once `run` runs.

        Raises NotFound if there is no such log, InvariantBroken if its stores are damaged or
        the database is older than what was published.
        """
        recovered = recover(name, personality.codec, store, objects)
        return cls(name, personality, store, objects, clock, recovered, limits or Limits())

    def count_in(self, region: Region) -> None:
        """Keep account there of what is done; before `run`."""
        self._meter = LogMeter(region, self.name)
        self._meter.opened(self.head.tree_size, self.published_size, public=self._public)

    @property
    def head(self) -> Head:
        """The newest durable, signed head."""
        return self._reader.head

    @property
    def frozen(self) -> bool:
        """Whether it takes nothing any more."""
        return self._frozen

    @property
    def published_size(self) -> int:
        """Below it, everything is in the object store under a public checkpoint."""
        return self._reader.published_size

    @property
    def trouble(self) -> str:
        """Why nothing can be logged or published now, as the end of a sentence; empty if it can."""
        if self._draining.is_set():
            return "is stopping"
        if self._pool.full or self._publication_lags:
            return "has too much waiting"
        if self._publication_fails:
            return "cannot write its static copies"
        return "has a clock that was set back" if self._sequencer.clock_is_behind else ""

    @property
    def _publication_lags(self) -> bool:
        reader, limits = self._reader, self._limits
        return (
            reader.head.tree_size - reader.published_size >= limits.unpublished
            or reader.unpublished_bytes >= limits.unpublished_bytes
        )

    # --- writing -----------------------------------------------------------------------------

    def freeze(self) -> None:
        """Take nothing from now on; what is there is still published and read."""
        self._frozen = True

    async def add(self, submission: Submission) -> Added:
        """Log something and wait until it is durable; a duplicate gets the original entry.

        Cancelling the wait does not take the submission back. Raises Pushback if too much is
        queued, Unavailable if the log is stopping (the entry may be logged all the same: submit
        it again), LogFrozen, or the reason why the personality refused it.
        """
        if self._frozen:
            raise LogFrozen(f"log {self.name} is frozen")
        if self._draining.is_set():
            raise Unavailable(f"log {self.name} is stopping")
        try:
            if self._publication_lags:
                raise Pushback("too many entries are waiting to be published")
            waiter = self._pool.put(submission)
        except Pushback:
            self._meter.pushback()
            raise
        self._meter.queued(len(self._pool))
        outcome = await waiter
        if isinstance(outcome, OldDuplicate):
            return await self._reader.prove(outcome.row)
        return outcome

    async def run(self) -> None:
        """Sequence and publish until `drain`, or until something must stop the process.

        Raises OutcomeUnknown or another InvariantBroken: end the process, start a new one.
        """
        self._running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sequence(), name=f"sequence {self.name}")
                tasks.create_task(self._publish(), name=f"publish {self.name}")
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            self._draining.set()
            while self._pool:
                self._pool.take(len(self._pool), 1 << 62).fail(f"log {self.name} stopped")
            self._stopped.set()
            # Blocks for the rest of a round at most; nothing uses the stores after that.
            self._round_thread.close()
            self._publish_thread.close()

    async def drain(self) -> None:
        """Take nothing new, finish and publish what is queued, and end `run`."""
        self._draining.set()
        self._pool.wake()
        self._moved.set()
        if self._running:
            await self._stopped.wait()

    # --- reading -----------------------------------------------------------------------------

    async def find(self, identity: bytes) -> EntryRow | None:
        """The row of an identity; None if the log does not hold it."""
        return (await self.find_all((identity,)))[0]

    async def find_all(self, identities: Sequence[bytes]) -> Sequence[EntryRow | None]:
        """The rows of some identities, in order."""
        return await self._on_round_thread(lambda: self._store.find(self.name, identities))

    async def search(self, key: bytes, *, start: int = 0, limit: int) -> Sequence[int]:
        """Indexes ≥ start of the entries with that search key, ascending, at most `limit`."""
        return await self._on_round_thread(
            lambda: self._store.search(self.name, key, start=start, limit=limit)
        )

    async def prove(self, row: EntryRow) -> Added:
        """An entry that the log holds, with its audit path to the newest head."""
        return await self._reader.prove(row)

    async def inclusion_proof(self, index: int, tree_size: int) -> tuple[bytes, ...]:
        """A leaf's audit path. Raises NotFound for an index or size that is not there."""
        return await self._reader.inclusion_proof(index, tree_size)

    async def consistency_proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """The proof that one size extends another. Raises NotFound unless 0 < old ≤ new ≤ head."""
        return await self._reader.consistency_proof(old_size, new_size)

    async def root_hash(self, tree_size: int) -> bytes:
        """The root at an earlier size. Raises NotFound beyond the head."""
        return await self._reader.root_hash(tree_size)

    async def records(self, start: int, end: int) -> Sequence[bytes]:
        """The records start ≤ index < end, those beyond the head left out.

        Bound the span: a whole bundle is read for each 256 entries it touches.
        """
        return await self._reader.records(start, end)

    async def tile(self, name: TileName) -> bytes:
        """A tile of the newest head's tree, or the start of it. Raises NotFound."""
        return await self._reader.tile(name)

    async def bundle(self, name: BundleName) -> bytes:
        """A bundle of the newest head, or the start of it. Raises NotFound."""
        return await self._reader.bundle(name)

    # --- the two tasks -----------------------------------------------------------------------

    async def _sequence(self) -> None:
        limits, loop = self._limits, asyncio.get_running_loop()
        while self._pool or not self._draining.is_set():
            if not self._pool:
                await self._pool.filled()
                continue
            started = loop.time()
            batch = self._pool.take(limits.round_size, limits.round_bytes)
            self._meter.queued(len(self._pool))
            try:
                done = await self._on_round_thread(
                    partial(self._sequencer.round, batch.submissions)
                )
            except BaseException:
                batch.fail(f"log {self.name} stopped; the entry may be logged: submit it again")
                raise
            if done.records:
                self._reader.advance(done.head, done.view, done.records)
                self._public = False
                self._moved.set()
            batch.settle(done.outcomes)
            self._meter.round(done)
            if len(batch.waiters) > 1:
                # A round costs as much as several entries. Under load, a third of the time for
                # rounds and the rest for callers to join the next one takes less work for the
                # same number.
                await asyncio.sleep(min(2 * (loop.time() - started), limits.breath_s))
        self._sequenced.set()
        self._moved.set()

    async def _publish(self) -> None:
        while not (self._public and self._sequenced.is_set()):
            if self._public:
                self._moved.clear()
                await self._moved.wait()
                continue
            await self._coalesce()
            try:
                await self._publish_once()
            except Unavailable as error:
                _log.warning("publication of log %s failed, to be retried: %s", self.name, error)
                self._publication_fails = True
                self._meter.not_published()
                if self._draining.is_set():
                    return  # what is staged is published by the next process
                await self._pause(self._limits.retry_s)
            else:
                await self._pause(self._limits.pause_s)

    async def _coalesce(self) -> None:
        """Wait for a quiet moment, but not for long."""
        limits, loop = self._limits, asyncio.get_running_loop()
        latest = loop.time() + limits.coalesce_s
        while loop.time() < latest and not self._draining.is_set():
            size = self.head.tree_size
            await self._pause(limits.quiet_s)
            if self.head.tree_size == size:
                return

    async def _publish_once(self) -> None:
        publication = self._reader.unpublished()
        self._meter.publishing()
        head = publication.head
        await self._publish_thread.submit(partial(publish, publication, self._codec, self._objects))
        keep = max(0, head.tree_size - self._limits.tree_leaves)

        def drop() -> None:
            self._store.drop_staged(self.name, head.tree_size)
            self._sequencer.forget(keep)

        await self._on_round_thread(drop)
        self._reader.published(head.tree_size)
        self._publication_fails = False
        self._meter.published(head.tree_size)
        self._public = head == self.head

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless the log is asked to drain."""
        if not self._draining.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._draining.wait(), seconds)

    async def _on_round_thread(self, work: Callable[[], T]) -> T:
        if self._stopped.is_set():
            raise Unavailable(f"log {self.name} has stopped")
        return await self._round_thread.submit(work)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first cause in a group: callers match on our errors, not on groups."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
