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
        self._queued_at = region.series(catalogue.LOG_QUEUED, log)
        self._staged = self._going_out = 0
        self._going_out_since = 0.0
        for family in (
            *(catalogue.LOG_ENTRIES, catalogue.LOG_DUPLICATES, catalogue.LOG_REFUSED),
            *(catalogue.LOG_PUSHBACKS, catalogue.LOG_ROUNDS, catalogue.LOG_ROUND_SIZE),
            *(catalogue.LOG_COMMIT, catalogue.LOG_PUBLICATION_FAILURES),
        ):
            region.series(family, log)  # counters are there from the start, at zero

    def opened(self, tree_size: int, published_size: int, *, public: bool) -> None:
        """The log was read back; what a former process left staged counts as one round."""
        self._region.show(catalogue.LOG_TREE_SIZE, tree_size, self._log)
        self._region.show(catalogue.LOG_PUBLISHED, published_size, self._log)
        self._stage(0 if public else 1, time.time())

    def queued(self, entries: int) -> None:
        """So many submissions wait for a round."""
        self._region.values[self._queued_at] = entries

    def pushback(self) -> None:
        """A submission was turned away."""
        self._region.count(catalogue.LOG_PUSHBACKS, self._log)

    def round(self, done: Round) -> None:
        """A round was carried out."""
        region, log = self._region, self._log
        places = [each for each in done.outcomes if isinstance(each, Added | OldDuplicate)]
        new = len(done.records)
        region.count(catalogue.LOG_ROUNDS, log)
        region.count(catalogue.LOG_DUPLICATES, log, by=len(places) - new)
        region.count(catalogue.LOG_REFUSED, log, by=len(done.outcomes) - len(places))
        region.observe(catalogue.LOG_ROUND_SIZE, len(done.outcomes), log)
        if new:
            region.count(catalogue.LOG_ENTRIES, log, by=new)
            region.observe(catalogue.LOG_COMMIT, done.commit_s, log)
            region.show(catalogue.LOG_TREE_SIZE, done.head.tree_size, log)
            self._stage(self._staged + 1, time.time())

    def publishing(self) -> None:
        """What is staged now begins to be published."""
        self._going_out, self._going_out_since = self._staged, time.time()

    def published(self, size: int) -> None:
        """That is done."""
        self._region.show(catalogue.LOG_PUBLISHED, size, self._log)
        self._region.show(catalogue.LOG_UNPUBLISHED_SINCE, 0, self._log)
        self._stage(self._staged - self._going_out, self._going_out_since)

    def not_published(self) -> None:
        """It failed, and will be tried again."""
        self._region.count(catalogue.LOG_PUBLICATION_FAILURES, self._log)

    def _stage(self, rounds: int, since_s: float) -> None:
        region, log = self._region, self._log
        self._staged = rounds
        region.show(catalogue.LOG_STAGED, rounds, log)
        place = region.series(catalogue.LOG_UNPUBLISHED_SINCE, log)
        if not rounds:
            region.values[place] = 0.0
        elif not region.values[place]:
            region.values[place] = since_s
