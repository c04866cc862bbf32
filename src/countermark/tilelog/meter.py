# SPDX-License-Identifier: Apache-2.0
"""What one log counts of its own work."""

import time

from countermark.observe import catalogue
from countermark.observe.board import Region
from countermark.tilelog.sequencer import Added, OldDuplicate, Round


class LogMeter:
    """Writes one log's numbers. Used from the event loop."""

    def __init__(self, region: Region, log: str) -> None:
        self._region = region
        self._log = log
        self._staged = self._going_out = 0
        self._going_out_since = 0.0
        # Places are looked up once; and so counters are there from the start, at zero.
        self._entries = region.series(catalogue.LOG_ENTRIES, log)
        self._duplicates = region.series(catalogue.LOG_DUPLICATES, log)
        self._refused = region.series(catalogue.LOG_REFUSED, log)
        self._pushbacks = region.series(catalogue.LOG_PUSHBACKS, log)
        self._rounds = region.series(catalogue.LOG_ROUNDS, log)
        self._round_size = region.series(catalogue.LOG_ROUND_SIZE, log)
        self._commit = region.series(catalogue.LOG_COMMIT, log)
        self._failures = region.series(catalogue.LOG_PUBLICATION_FAILURES, log)
        self._queued = region.series(catalogue.LOG_QUEUED, log)
        self._tree_size = region.series(catalogue.LOG_TREE_SIZE, log)
        self._staged_rounds = region.series(catalogue.LOG_STAGED, log)
        self._since = region.series(catalogue.LOG_UNPUBLISHED_SINCE, log)

    def opened(self, tree_size: int, published_size: int, *, public: bool) -> None:
        """The log was read back; what a former process left staged counts as one round."""
        self._region.show(catalogue.LOG_TREE_SIZE, tree_size, self._log)
        self._region.show(catalogue.LOG_PUBLISHED, published_size, self._log)
        self._stage(0 if public else 1, time.time())

    def queued(self, entries: int) -> None:
        """So many submissions wait for a round."""
        self._region.values[self._queued] = entries

    def pushback(self) -> None:
        """A submission was turned away."""
        self._region.values[self._pushbacks] += 1

    def round(self, done: Round) -> None:
        """A round was carried out."""
        region = self._region
        values = region.values
        size, new = len(done.outcomes), len(done.records)
        found = sum(isinstance(each, Added | OldDuplicate) for each in done.outcomes)
        values[self._rounds] += 1
        values[self._duplicates] += found - new
        values[self._refused] += size - found
        region.add_to(self._round_size, catalogue.LOG_ROUND_SIZE, size)
        if new:
            values[self._entries] += new
            region.add_to(self._commit, catalogue.LOG_COMMIT, done.commit_s)
            values[self._tree_size] = done.head.tree_size
            self._stage(self._staged + 1, time.time())

    def publishing(self) -> None:
        """What is staged now begins to be published."""
        self._going_out, self._going_out_since = self._staged, time.time()

    def published(self, size: int) -> None:
        """That is done."""
        self._region.show(catalogue.LOG_PUBLISHED, size, self._log)
        self._region.values[self._since] = 0.0
        self._stage(self._staged - self._going_out, self._going_out_since)

    def not_published(self) -> None:
        """It failed, and will be tried again."""
        self._region.values[self._failures] += 1

    def _stage(self, rounds: int, since_s: float) -> None:
        values = self._region.values
        self._staged = rounds
        values[self._staged_rounds] = rounds
        if not rounds:
            values[self._since] = 0.0
        elif not values[self._since]:
            values[self._since] = since_s
