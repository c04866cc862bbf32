# SPDX-License-Identifier: Apache-2.0
"""One round: submissions in, a durable signed head and an answer for each out.

Everything here runs on the log's own thread, which may block on the database and on signers.
The order is what makes the log safe::

    look for duplicates → make leaves → extend the tree → sign the head → commit → answer

Nothing leaves the thread before the commit returned, so nobody ever sees a head that could be
lost. What fails before the commit is taken back and can be tried again; a commit that fails has
an unknown outcome, and the process must end.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from countermark.core.errors import (
    Conflict,
    CountermarkError,
    FormatError,
    InvariantBroken,
    Unavailable,
)
from countermark.core.tlog.integrate import Forgotten, GrowingTree, TreeView
from countermark.ports.clock import Clock
from countermark.ports.log_store import EntryRow, Head, LogStore, StagedLeaf
from countermark.tilelog.personality import Personality, Submission

MAX_CLOCK_STEP_BACK_MS = 10_000


class Added(msgspec.Struct, frozen=True):
    """Where an entry stands, proven. The answer to a submission.

    Attributes:
        index: the leaf's index in the tree.
        time_ms: when it was first sequenced, Unix milliseconds.
        promise: what the log promised about it then.
        duplicate: whether the log held it already.
        head: the head that the proof leads to; it covers the entry.
        proof: the leaf's audit path.
    """

    index: int
    time_ms: int
    promise: bytes
    duplicate: bool
    head: Head
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OldDuplicate:
    """A duplicate whose audit path is not in memory."""

    row: EntryRow


Outcome: TypeAlias = Added | OldDuplicate | CountermarkError


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did.

    Attributes:
        head: the head now; the former one if there was nothing new.
        view: the tree of that head.
        records: of the new leaves, in order.
        outcomes: one for each submission, in order.
        commit_s: how long the commit took; 0 if there was nothing new.
    """

    head: Head
    view: TreeView
    records: Sequence[bytes]
    outcomes: Sequence[Outcome]
    commit_s: float


class Sequencer:
    """Carries out the rounds of one log, one after the other, on one thread.

    Attributes:
        head: the newest committed head.
        view: the tree of that head.
    """

    def __init__(
        self,
        name: str,
        personality: Personality,
        store: LogStore,
        clock: Clock,
        head: Head,
        tree: GrowingTree,
    ) -> None:
        self._name = name
        self._personality = personality
        self._store = store
        self._clock = clock
        self._tree = tree
        self._max_record_bytes = personality.codec.max_record_bytes
        self.head = head
        self.view = tree.view()

    def round(self, submissions: Sequence[Submission]) -> Round:
        """Sequence submissions. Raises OutcomeUnknown or InvariantBroken: the log must stop."""
        rows = self._store.find(self._name, [item.identity for item in submissions])
        try:
            draft = self._draft(submissions, rows)
            extended = self._extend(draft) if draft.leaves else None
        except CountermarkError as error:  # the clock or the head's signer: nothing is logged
            if isinstance(error, InvariantBroken):
                raise
            self._tree.truncate(self.head.tree_size)
            draft = _Draft(0, [error if row is None else row for row in rows])
            extended = None
        commit_s = 0.0
        if extended is not None:
            begun = time.perf_counter()
            self._commit(extended[0], draft.leaves)
            commit_s = time.perf_counter() - begun
            self.head, self.view = extended
        return Round(
            self.head,
            self.view,
            [leaf.record for leaf in draft.leaves],
            [self._answer(place) for place in draft.places],
            commit_s,
        )

    @property
    def clock_is_behind(self) -> bool:
        """Whether the clock was set back so far that nothing can be signed."""
        return self._clock.now_ms() < self.head.time_ms - MAX_CLOCK_STEP_BACK_MS

    def forget(self, size: int) -> None:
        """Drop the tree's full tiles below leaf `size`, all published, from memory."""
        self._tree.forget(size)

    def _draft(
        self, submissions: Sequence[Submission], rows: Sequence[EntryRow | None]
    ) -> "_Draft":
        """Give each submission the row it has, a new leaf, or the reason why it gets none."""
        draft = _Draft(self._next_time_ms() if None in rows else 0)
        fresh: dict[bytes, StagedLeaf] = {}
        index = self.head.tree_size
        for submission, row in zip(submissions, rows, strict=True):
            identity = submission.identity
            if row is not None:
                draft.places.append(row)
            elif (first := fresh.get(identity)) is not None:
                draft.places.append(EntryRow(first.index, first.time_ms, first.promise))
            else:
                try:
                    leaf = self._make_leaf(submission, index, draft)
                except CountermarkError as error:
                    if isinstance(error, InvariantBroken):
                        raise
                    draft.places.append(error)
                else:
                    fresh[identity] = leaf
                    draft.places.append(leaf)
                    index += 1
        return draft

    def _make_leaf(self, submission: Submission, index: int, draft: "_Draft") -> StagedLeaf:
        made = self._personality.finalise(submission, index, draft.time_ms)
        if len(made.record) > self._max_record_bytes:
            raise FormatError(
                "log entry", f"has {len(made.record)} bytes, more than {self._max_record_bytes}"
            )
        leaf = StagedLeaf(
            index,
            submission.identity,
            made.record,
            draft.time_ms,
            made.promise,
            submission.search_keys + made.search_keys,
        )
        draft.leaves.append(leaf)
        draft.hashes.append(made.leaf_hash)
        return leaf

    def _next_time_ms(self) -> int:
        """A time after the last head's and close to now, for the whole round."""
        now, last = self._clock.now_ms(), self.head.time_ms
        if now < last - MAX_CLOCK_STEP_BACK_MS:
            # Signed times would be wrong by more than anyone tolerates until the clock caught up.
            raise Unavailable(
                f"the clock is {(last - now) // 1000} s behind the log's last tree head; set it"
            )
        return max(now, last + 1)

    def _extend(self, draft: "_Draft") -> tuple[Head, TreeView]:
        """Grow the tree and sign it."""
        self._tree.append(draft.hashes)
        view = self._tree.view()
        signed = self._personality.sign_head(view.tree_size, view.root_hash, draft.time_ms)
        return Head(view.tree_size, view.root_hash, draft.time_ms, signed), view

    def _commit(self, new_head: Head, leaves: Sequence[StagedLeaf]) -> None:
        try:
            self._store.commit_round(self._name, self.head, new_head, leaves)
        except Conflict as error:
            # Only another sequencer on the same store can have moved the head: two of them
            # would sign two histories, so this one stops.
            raise InvariantBroken(
                f"log {self._name}: its head was moved by somebody else; stop the other writer"
            ) from error

    def _answer(self, place: "_Place") -> Outcome:
        if isinstance(place, CountermarkError):
            return place
        try:
            proof = self.view.inclusion_proof(place.index)
        except Forgotten:
            return OldDuplicate(EntryRow(place.index, place.time_ms, place.promise))
        duplicate = isinstance(place, EntryRow)
        return Added(place.index, place.time_ms, place.promise, duplicate, self.head, proof)


_Place: TypeAlias = StagedLeaf | EntryRow | CountermarkError
"""A new leaf, the row of one that the log holds, or why there is neither."""


@dataclass(slots=True)
class _Draft:
    """A round before its commit. Leaves and hashes are parallel; places go by submission."""

    time_ms: int
    places: list[_Place] = field(default_factory=list)
    leaves: list[StagedLeaf] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
