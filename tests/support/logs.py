# SPDX-License-Identifier: Apache-2.0
"""A small, real log for tests of the engine: signed notes, promises, an auditor; and its stores."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import RequestRejected, SignatureInvalid, UpstreamDown
from countermark.core.tlog.bundles import ENTRIES, BundleCodec
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.merkle import leaf_hash, verify_inclusion
from countermark.core.tlog.note import NoteKey, NoteSignature, SignedNote
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.memory import (
    MemoryLog,
    MemoryLogStore,
    MemoryObjectData,
    MemoryObjectStore,
)
from countermark.ports.log_store import EntryRow, Head, LogStore
from countermark.ports.objects import ObjectStore
from countermark.tilelog.fsck import FsckReport, fsck
from countermark.tilelog.log import Added, Limits, Log
from countermark.tilelog.personality import Leaf, Submission

T = TypeVar("T")

NAME = "log-1"
ORIGIN = "log.example/1"
# Publication without waiting: what is tested is order, not patience.
HASTY = Limits(quiet_s=0.0, coalesce_s=0.0, pause_s=0.0, retry_s=0.01)


class ManualClock:
    """A clock that moves when it is told to."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now


class TextLog:
    """Leaves are texts; the promise is a signature over index, time and text."""

    codec: BundleCodec = ENTRIES

    def __init__(self, origin: str = ORIGIN) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(origin.encode()).digest())
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.note_key = NoteKey.for_key(origin, PublicKey.from_spki(spki))
        self.origin = origin
        self.signer_down = False

    def finalise(self, submission: Submission, index: int, time_ms: int) -> Leaf:
        record: bytes = submission.payload
        if record.startswith(b"refuse"):
            raise RequestRejected("this text is refused")
        promise = self.key.sign(_promised(record, index, time_ms))
        return Leaf(record, leaf_hash(record), promise)

    def sign_head(self, tree_size: int, root_hash: bytes, time_ms: int) -> bytes:
        if self.signer_down:
            raise UpstreamDown("the signer does not answer")
        text = Checkpoint(self.origin, tree_size, root_hash, (str(time_ms),)).serialize()
        line = NoteSignature(self.origin, self.note_key.key_hash, self.key.sign(text))
        return SignedNote(text, (line,)).serialize()


class TextAuditor:
    """What `fsck` needs to know of a `TextLog`."""

    codec: BundleCodec = ENTRIES

    def __init__(self, log: TextLog) -> None:
        self._log = log

    def read_head(self, signed: bytes) -> Head:
        checkpoint = Checkpoint.parse(SignedNote.parse(signed).text)
        return Head(
            checkpoint.tree_size, checkpoint.root_hash, int(checkpoint.extensions[0]), signed
        )

    def check_head(self, head: Head) -> None:
        note = SignedNote.parse(head.signed)
        note.verify(self._log.note_key)
        claim = Checkpoint(self._log.origin, head.tree_size, head.root_hash, (str(head.time_ms),))
        if Checkpoint.parse(note.text) != claim:
            raise SignatureInvalid("the head is not the one that was signed")

    def identity(self, record: bytes) -> bytes:
        return leaf_hash(record)

    def search_keys(self, record: bytes) -> Sequence[bytes]:
        return submission(record).search_keys

    def check_promise(self, record: bytes, row: EntryRow) -> None:
        message = _promised(record, row.index, row.time_ms)
        self._log.note_key.public_key.verify(row.promise, message, "promise")


def _promised(record: bytes, index: int, time_ms: int) -> bytes:
    return b"%d %d " % (index, time_ms) + record


def submission(text: bytes | str) -> Submission:
    """A text to be logged, found by its first byte and its length."""
    record = text.encode() if isinstance(text, str) else text
    return Submission(leaf_hash(record), record, (record[:1], b"length %d" % len(record)))


@dataclass
class MemoryStores:
    """What survives a restart, and fresh drivers over it."""

    logs: dict[str, MemoryLog] = field(default_factory=dict)
    objects: MemoryObjectData = field(default_factory=MemoryObjectData)

    def open(self) -> tuple[LogStore, ObjectStore]:
        return MemoryLogStore(self.logs), MemoryObjectStore(self.objects)


@dataclass
class EmbeddedStores:
    """A folder with a RocksDB and files in it."""

    path: Path

    def open(self) -> tuple[LogStore, ObjectStore]:
        database = self.path / "db"
        store = RocksLogStore(database, create=not database.exists())
        return store, FileObjectStore(self.path / "objects")


Stores = MemoryStores | EmbeddedStores


def with_log(
    stores: Stores,
    work: Callable[[Log], Awaitable[T]],
    *,
    personality: TextLog | None = None,
    clock: ManualClock | None = None,
    limits: Limits = HASTY,
    wrap: Callable[[LogStore, ObjectStore], tuple[LogStore, ObjectStore]] | None = None,
) -> T:
    """Open (or create) a log in a "process" of its own, do something with it, and drain it."""
    store, objects = opened = stores.open()
    used, used_objects = opened if wrap is None else wrap(store, objects)

    async def main() -> T:
        make = Log.open if NAME in store.logs() else Log.create
        log = make(
            NAME, personality or TextLog(), used, used_objects, clock or ManualClock(), limits
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(log.run())
            result = await work(log)
            await log.drain()
        return result

    try:
        return asyncio.run(main())
    finally:
        store.close()


async def add_all(log: Log, texts: Sequence[bytes | str]) -> list[Added]:
    """Add texts concurrently; every answer is checked as a client would."""
    added = await asyncio.gather(*(log.add(submission(text)) for text in texts))
    for text, answer in zip(texts, added, strict=True):
        check_answer(submission(text), answer)
    return added


async def published(log: Log, size: int) -> None:
    """Wait until that much of a log is public."""
    for _ in range(1000):
        if log.published_size >= size:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"only {log.published_size} entries are public")


def check_answer(what: Submission, answer: Added) -> None:
    """The answer's proof leads to its head, and the head is signed."""
    head = answer.head
    verify_inclusion(what.identity, answer.index, head.tree_size, answer.proof, head.root_hash)
    TextAuditor(TextLog()).check_head(head)


def check_whole(stores: Stores, *, must_contain: dict[bytes, int] | None = None) -> FsckReport:
    """Run fsck over a log that is not open; promised entries must be where they were promised."""
    store, objects = stores.open()
    try:
        report = fsck(NAME, TextAuditor(TextLog()), store, objects)
        assert report.ok, report.problems
        for record, index in (must_contain or {}).items():
            [row] = store.find(NAME, [leaf_hash(record)])
            assert row is not None
            assert row.index == index
        return report
    finally:
        store.close()
