# SPDX-License-Identifier: Apache-2.0
"""fsck: re-derives a whole log from its entry bundles up, and compares everything that is stored.

    bundles and staged leaves → leaf hashes → tiles → root → published checkpoint, head, signatures
    records → identity, search keys → index rows, times, promises

It believes nothing but the log's public key. Every fault test ends with it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from countermark.core.errors import FormatError, InvariantBroken
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.tiles import CHECKPOINT_PATH, TILE_WIDTH, BundleName
from countermark.ports.log_store import EntryRow, Head, LogStore, StagedLeaf
from countermark.ports.objects import ObjectStore
from countermark.tilelog.audit import TreeAudit
from countermark.tilelog.personality import Auditor
from countermark.tilelog.problems import Problem, Problems, TooManyProblems
from countermark.tilelog.published import PublishedObjects
from countermark.tilelog.recover import read_checkpoint

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was found.

    Attributes:
        name: of the log.
        tree_size: of its head.
        published_size: how much of it is in the object store.
        root_hash: as derived from the records; None where some could not be read.
        objects: how many stored objects were compared.
        problems: at most 1000 of them; empty for a log that is whole.
    """

    name: str
    tree_size: int
    published_size: int
    root_hash: bytes | None
    objects: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def fsck(
    name: str,
    auditor: Auditor,
    store: LogStore,
    objects: ObjectStore,
    *,
    rows: bool = True,
    progress: Progress | None = None,
) -> FsckReport:
    """Check a log that nobody writes to. Blocks for as long as reading all of it takes.

    Args:
        name: the log's name in the store.
        auditor: its formats and public key.
        store: its database.
        objects: its tiles and bundles.
        rows: whether to check index rows, search rows and promises too, which takes most time.
        progress: told the entries done and the entries there are, after each bundle.

    Raises NotFound if there is no such log, InvariantBroken if the database cannot be read.
    """
    return _Fsck(name, auditor, store, objects, rows=rows).run(progress)


class _Fsck:
    def __init__(
        self, name: str, auditor: Auditor, store: LogStore, objects: ObjectStore, *, rows: bool
    ) -> None:
        self._name = name
        self._auditor = auditor
        self._codec = auditor.codec
        self._store = store
        self._objects = objects
        self._with_rows = rows
        self._head = store.head(name)
        self._published = store.published_size(name)
        self._last_time_ms = 0
        self._public_note = b""
        self._problems = Problems()
        self._public = PublishedObjects(objects, self._problems)
        self._tree = TreeAudit(auditor.codec, self._public, self._problems, self._published)

    def run(self, progress: Progress | None) -> FsckReport:
        root_hash = None
        with suppress(TooManyProblems):
            root_hash = self._check_everything(progress)
        return FsckReport(
            self._name,
            self._head.tree_size,
            self._published,
            root_hash,
            self._public.compared,
            self._problems.found,
        )

    def _check_everything(self, progress: Progress | None) -> bytes | None:
        """Go through the log; the root hash, if all records could be read."""
        head = self._head
        with self._problems.caught("head"):
            self._auditor.check_head(head)
        public = self._public_checkpoint()
        for start in range(0, head.tree_size, TILE_WIDTH):
            end = min(start + TILE_WIDTH, head.tree_size)
            records = self._records(start, end)
            if records is not None:
                if self._tree.size == start:  # no gap before
                    self._check_hashes(start, records, public)
                if self._with_rows:
                    self._check_rows(start, records)
            if progress is not None:
                progress(end, head.tree_size)
        self._public.check_strays(self._codec.directory, head.tree_size)
        if self._tree.size != head.tree_size:
            return None
        root_hash = self._tree.finish()
        self._problems.expect(
            root_hash == head.root_hash, "head", "has another root hash than the log"
        )
        return root_hash

    # --- records and what derives from them -------------------------------------------------

    def _records(self, start: int, end: int) -> list[bytes] | None:
        """The records of one bundle: what is published of it, then what is staged."""
        name = BundleName(self._codec.directory, start // TILE_WIDTH)
        needed = max(0, min(end, self._published) - start)
        stored = self._public.stored(name)
        widths = sorted(width for width in stored if width >= needed)
        records: list[bytes] = []
        if needed:
            if not widths:
                self._problems.report(name.path, "is missing")
                return None
            try:
                records += self._codec.split(stored[widths[0]])
            except FormatError as error:
                self._problems.report(name.path, str(error))
                return None
            if len(records) != widths[0]:
                self._problems.report(
                    name.path, f"holds {len(records)} records instead of {widths[0]}"
                )
                return None
        read = needed if len(records) == needed else 0
        records = records[:needed]
        staged = self._store.staged(self._name, start + needed, end)
        records += [leaf.record for leaf in staged]
        if len(records) != end - start:
            self._problems.report(
                f"entries {start} to {end}", "some are neither published nor staged"
            )
            return None
        if self._with_rows:
            self._check_staged(staged)

        def content(width: int) -> bytes:
            if width == read:  # that is where the records are from
                return stored[width]
            return b"".join(map(self._codec.frame, records[:width]))

        self._public.compare(name, stored, content, end - start)
        return records

    def _check_hashes(
        self, start: int, records: Sequence[bytes], public: Checkpoint | None
    ) -> None:
        if public is not None and start < public.tree_size <= start + len(records):
            last = public.tree_size - start
            root_hash = self._tree.root_with(records[:last])
            if root_hash is not None:
                self._problems.expect(
                    root_hash == public.root_hash,
                    CHECKPOINT_PATH,
                    "has another root hash than the log",
                )
                self._check_public_signature(public, records[last - 1])
        self._tree.append(records)

    def _check_public_signature(self, public: Checkpoint, last: bytes) -> None:
        """Check a published checkpoint that is older than the head; `last` is its last record."""
        with self._problems.caught(CHECKPOINT_PATH):
            [row] = self._store.find(self._name, [self._auditor.identity(last)])
            if row is not None:  # a round's head has the time of its leaves
                head = Head(public.tree_size, public.root_hash, row.time_ms, self._public_note)
                self._auditor.check_head(head)

    def _check_rows(self, start: int, records: Sequence[bytes]) -> None:
        """Check what the database says of the entries, and what the log promised about them."""
        auditor, store = self._auditor, self._store
        known: list[tuple[int, bytes, bytes]] = []
        for index, record in enumerate(records, start):
            with self._problems.caught(f"entry {index}"):
                known.append((index, record, auditor.identity(record)))
        rows = store.find(self._name, [identity for _, _, identity in known])
        for (index, record, _), row in zip(known, rows, strict=True):
            where = f"entry {index}"
            if row is None:
                self._problems.report(where, "cannot be found by its identity")
                continue
            if row.index != index:
                self._problems.report(where, f"its identity leads to entry {row.index}")
                continue
            self._problems.expect(
                self._last_time_ms <= row.time_ms <= self._head.time_ms,
                where,
                "its time is before that of an earlier entry or after the head's",
            )
            self._last_time_ms = max(self._last_time_ms, row.time_ms)
            with self._problems.caught(where):
                auditor.check_promise(record, row)
                for key in auditor.search_keys(record):
                    found = store.search(self._name, key, start=index, limit=1)
                    self._problems.expect(
                        list(found) == [index], where, f"is not found by key {key.hex()[:80]}"
                    )

    def _check_staged(self, staged: Sequence[StagedLeaf]) -> None:
        rows = self._store.find(self._name, [leaf.identity for leaf in staged])
        for leaf, row in zip(staged, rows, strict=True):
            self._problems.expect(
                row == EntryRow(leaf.index, leaf.time_ms, leaf.promise),
                f"staged entry {leaf.index}",
                "differs from its index row",
            )

    # --- what is public ----------------------------------------------------------------------

    def _public_checkpoint(self) -> Checkpoint | None:
        """The published checkpoint, if it can be compared with the tree later."""
        head = self._head
        try:
            public = read_checkpoint(self._name, self._objects)
        except InvariantBroken as error:
            self._problems.report(CHECKPOINT_PATH, str(error))
            return None
        if public is None:
            self._problems.report(CHECKPOINT_PATH, "is missing")
            return None
        data, checkpoint = public
        self._public_note = data
        if checkpoint.tree_size == head.tree_size:
            self._problems.expect(data == head.signed, CHECKPOINT_PATH, "is not the head's")
            return None
        if checkpoint.tree_size > head.tree_size:
            self._problems.report(
                CHECKPOINT_PATH, f"is of {checkpoint.tree_size} entries, the database older"
            )
            return None
        self._problems.expect(
            checkpoint.tree_size >= self._published,
            CHECKPOINT_PATH,
            f"is of {checkpoint.tree_size} entries, though {self._published} are published",
        )
        return checkpoint
