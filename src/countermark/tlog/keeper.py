# SPDX-License-Identifier: Apache-2.0
"""The keeper's half of the v1 log: from messages to the engine and back."""

from typing import Final

from countermark.core.errors import FormatError, InvariantBroken
from countermark.core.rekor.entry import MAX_BODY_BYTES, MAX_SEARCH_KEYS, SEARCH_KEY_BYTES
from countermark.core.tlog.merkle import HASH_BYTES, leaf_hash
from countermark.ports.log_store import EntryRow, Head
from countermark.rpc.message import Handlers
from countermark.tilelog.log import Log
from countermark.tlog.messages import (
    MAX_LOOKUPS,
    Added,
    AddEntry,
    Consistency,
    Entries,
    FetchEntries,
    FetchHead,
    Found,
    HeadView,
    ProveConsistency,
)
from countermark.tlog.personality import submission
from countermark.tlog.published import first_in_open_bundle

_KEY_SIZES: Final = frozenset((SEARCH_KEY_BYTES,))


class LogKeeper:
    """Answers for one shard. Whoever wires it runs the log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._view = _view(log.head)
        self._viewed = log.head

    def handlers(self) -> Handlers:
        """What this half answers."""
        return {
            AddEntry: self._add,
            FetchEntries: self._fetch,
            FetchHead: self._fetch_head,
            ProveConsistency: self._prove_consistency,
        }

    async def _add(self, message: AddEntry) -> Added:
        # Workers parse foreign bytes; what comes from them is checked once more for size.
        if not 0 < len(message.body) <= MAX_BODY_BYTES:
            raise FormatError("log entry", f"has {len(message.body)} bytes")
        keys = message.search_keys
        if len(keys) > MAX_SEARCH_KEYS or not _KEY_SIZES.issuperset(map(len, keys)):
            raise FormatError("search keys", "are too many or of a wrong size")
        entry = submission(message.body, keys)
        added = await self._log.add(entry)
        return Added(
            added.index,
            added.time_ms,
            added.promise,
            added.duplicate,
            self._head_view(added.head),
            added.proof,
            entry.identity,
        )

    async def _fetch(self, message: FetchEntries) -> Entries:
        if len(message.leaf_hashes) + len(message.indexes) > MAX_LOOKUPS:
            raise FormatError("lookup", f"asks for more than {MAX_LOOKUPS} entries")
        if any(len(identity) != HASH_BYTES for identity in message.leaf_hashes):
            raise FormatError("leaf hash", "is not 32 bytes long")
        # Rows and records first: whatever they name is under the head that is read after them.
        entries: list[tuple[bytes | None, EntryRow] | None] = []
        rows = await self._log.find_all(message.leaf_hashes) if message.leaf_hashes else ()
        in_bundles = first_in_open_bundle(self._log.published_size)
        for row in rows:
            if row is None:
                entries.append(None)
            elif row.index < in_bundles:
                entries.append((None, row))
            else:
                record = await self._record(row.index)
                entries.append(None if record is None else (record, row))
        for index in message.indexes:
            entries += (await self._at(index),)
        head = self._log.head
        found = [None if entry is None else await self._found(*entry, head) for entry in entries]
        return Entries(self._head_view(head), tuple(found))

    async def _record(self, index: int) -> bytes | None:
        records = await self._log.records(index, index + 1)
        return records[0] if records else None

    async def _at(self, index: int) -> tuple[bytes, EntryRow] | None:
        record = await self._record(index) if 0 <= index < self._log.head.tree_size else None
        if record is None:
            return None
        row = await self._log.find(leaf_hash(record))
        if row is None or row.index != index:
            raise InvariantBroken(f"log {self._log.name}: leaf {index} has no row of its own")
        return record, row

    async def _found(self, record: bytes | None, row: EntryRow, head: Head) -> Found:
        proof = await self._log.inclusion_proof(row.index, head.tree_size)
        return Found(record, row.index, row.time_ms, row.promise, proof)

    async def _fetch_head(self, _: FetchHead) -> HeadView:
        return self._head_view(self._log.head)

    async def _prove_consistency(self, message: ProveConsistency) -> Consistency:
        head = self._log.head
        if not 0 < message.old_size <= message.new_size:
            raise FormatError("tree sizes", "are not positive and in order")
        hashes: tuple[bytes, ...] = ()
        if message.new_size <= head.tree_size:
            hashes = await self._log.consistency_proof(message.old_size, message.new_size)
        return Consistency(self._head_view(head), hashes)

    def _head_view(self, head: Head) -> HeadView:
        # All answers of a round share their head.
        if head is not self._viewed:
            self._viewed, self._view = head, _view(head)
        return self._view


def _view(head: Head) -> HeadView:
    return HeadView(head.tree_size, head.root_hash, head.signed.decode("utf-8"))
