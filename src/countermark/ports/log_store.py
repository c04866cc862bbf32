# SPDX-License-Identifier: Apache-2.0
"""The port to the database of logs: heads, unique identities, search rows and staged tails.

One transaction carries a whole round. Calls about one log come from one thread at a time; calls
about different logs may overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec


@dataclass(frozen=True, slots=True)
class Head:
    """A signed, durable state of one log.

    Attributes:
        tree_size: number of leaves.
        root_hash: RFC 6962 root over exactly those leaves, 32 bytes.
        time_ms: when the round was sequenced, Unix milliseconds; never goes back.
        signed: what the log's personality signed over it (a signed note), ready to hand out.
    """

    tree_size: int
    root_hash: bytes
    time_ms: int
    signed: bytes


class StagedLeaf(msgspec.Struct, frozen=True):  # made for every entry: a dataclass costs more
    """One new leaf of a round.

    Attributes:
        index: its index in the tree.
        identity: 32 bytes, unique in the log for ever; what duplicates are found by.
        record: the bytes that its entry bundle will hold; the leaf hash derives from them.
        time_ms: when it was sequenced, Unix milliseconds.
        promise: what the log promised about it (SET, SCT), kept so that a duplicate gets it again.
        search_keys: what it can be found by.
    """

    index: int
    identity: bytes
    record: bytes
    time_ms: int
    promise: bytes
    search_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryRow:
    """Where a leaf is and what was promised about it; kept for ever, found by identity."""

    index: int
    time_ms: int
    promise: bytes


class LogStore(Protocol):
    """Heads, rows and staged leaves of any number of logs, by log name.

    Trusted: whoever can write here can make a log sign two histories. Writes are durable on
    return. A write that raises anything but Conflict has an unknown outcome: the driver raises
    OutcomeUnknown, refuses all further use, and only a new process may open the store again.
    """

    def create_log(self, log: str, head: Head) -> None:
        """Start a log at an empty head. Raises Conflict if it exists."""
        ...

    def logs(self) -> Sequence[str]:
        """Names of all logs."""
        ...

    def head(self, log: str) -> Head:
        """The newest committed head. Raises NotFound."""
        ...

    def commit_round(
        self, log: str, old_head: Head, new_head: Head, leaves: Sequence[StagedLeaf]
    ) -> None:
        """Swap the head and add the round's leaves with their rows, all or nothing, durably.

        `leaves` fill exactly the indexes from old to new tree size, with identities the log
        does not hold yet (the driver may rely on it: the sequencer is alone and looked).
        Raises Conflict if `old_head` is not the current one, OutcomeUnknown on any failure.
        """
        ...

    def find(self, log: str, identities: Sequence[bytes]) -> Sequence[EntryRow | None]:
        """The row of each identity, in order; None where the log does not hold it."""
        ...

    def search(self, log: str, key: bytes, *, start: int = 0, limit: int) -> Sequence[int]:
        """Indexes ≥ start of entries added with that search key, ascending, at most `limit`."""
        ...

    def staged(self, log: str, start: int, end: int) -> Sequence[StagedLeaf]:
        """The leaves start ≤ index < end that are still staged, in order."""
        ...

    def published_size(self, log: str) -> int:
        """The size below which no leaf is staged any more: all of it is in the object store."""
        ...

    def drop_staged(self, log: str, size: int) -> None:
        """Forget staged leaves below `size` and remember it as the published size, durably."""
        ...

    def close(self) -> None:
        """Release the store. Safe to call twice."""
        ...
