# SPDX-License-Identifier: Apache-2.0
"""A v1 log in this process: real engine, keys and worker application, no sockets."""

import asyncio
import hashlib
import json
import threading
from base64 import b64decode
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import ASGIApp

from countermark.core.rekor.set_payload import set_message
from countermark.core.rekor.shard import Shard, Shards
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.merkle import leaf_hash, verify_inclusion
from countermark.core.tlog.note import NoteKey, SignedNote
from countermark.core.wire.rekor_v1 import LogEntry, parse_log_entry
from countermark.drivers.keys.file import FileSigner
from countermark.drivers.memory import MemoryLogStore, MemoryObjectStore
from countermark.httpkit.application import Application
from countermark.rpc.local import LocalKeeper
from countermark.rpc.message import Handlers
from countermark.tilelog.log import Log
from countermark.tlog.api import routes
from countermark.tlog.genesis import genesis_submissions
from countermark.tlog.keeper import LogKeeper
from countermark.tlog.personality import ShardPersonality
from countermark.tlog.shards import shard_handlers
from tests.support.asgi import Browser, Reply
from tests.support.rekor import encode

BASE_URL = "https://log.example"
TREE_ID = 0x0123456789ABCDEF
ENTRIES = "/api/v1/log/entries"
T = TypeVar("T")


class SettableClock:
    """A clock that a test moves. A `Clock`."""

    def __init__(self) -> None:
        self.time_ms = 1_800_000_000_123

    def now_ms(self) -> int:
        return self.time_ms


class WorkerBrowser(Browser):
    """Sends requests through the workers' own application, in the log's event loop."""

    def __init__(self, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__([])
        self.app = app
        self.loop = loop

    def execute(self, exchange: Coroutine[Any, Any, Reply]) -> Reply:
        return asyncio.run_coroutine_threadsafe(exchange, self.loop).result(30)


class RunningLog:
    """A log whose shards have their genesis entries. A context manager; everything ends with it.

    What is named in the singular is that of the open shard.
    """

    def __init__(
        self,
        *,
        genesis: bool = True,
        first_index: int = 0,
        key: ec.EllipticCurvePrivateKey | None = None,
        **options: Any,
    ) -> None:
        """`key` is the first shard's, of another log whose fork this one is to be."""
        self._first_key = key
        self.clock = SettableClock()
        self.store = MemoryLogStore()
        self.shards: dict[int, Shard] = {}
        self._genesis = genesis
        self._options = options
        self._objects: dict[int, MemoryObjectStore] = {}
        self._handlers: dict[int, Handlers] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.logs: dict[int, Log] = {}
        self._running: list[Future[None]] = []
        self._make(TREE_ID, first_index)

    def _make(self, tree_id: int, first_index: int) -> None:
        key, self._first_key = self._first_key, None
        self.signer = FileSigner(key or ec.generate_private_key(ec.SECP256R1()))
        self.shard = Shard(tree_id, "log.example", self.signer.public_key, first_index)
        frozen = tuple(self.shards.values())
        self.shards[tree_id] = self.shard
        self.objects = self._objects[tree_id] = MemoryObjectStore()
        self.personality = ShardPersonality(self.shard, self.signer)
        name = f"rekor-v1-{len(self.shards)}"
        self.log = Log.create(name, self.personality, self.store, self.objects, self.clock)
        self.logs[tree_id] = self.log
        self._handlers[tree_id] = LogKeeper(self.log).handlers()
        self.keeper = LocalKeeper(shard_handlers(self._handlers, tree_id))
        shards = Shards(frozen, self.shard)
        app = Application(routes(self.keeper, shards, self._objects, **self._options))
        self.browser = WorkerBrowser(app, self._loop)

    def _run(self) -> None:
        self._running.append(asyncio.run_coroutine_threadsafe(self.log.run(), self._loop))
        if self._genesis:
            for submission in genesis_submissions(self.shard, BASE_URL, self.signer):
                self.wait(self.log.add(submission))

    def next_shard(self, tree_id: int) -> None:
        """Freeze the open shard, open another."""
        self.log.freeze()
        self._make(tree_id, self.shard.first_index + self.log.head.tree_size)
        self._run()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run()
        return self

    def __exit__(self, *_: object) -> None:
        for log, running in zip(self.logs.values(), self._running, strict=True):
            self.wait(log.drain())
            running.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the log's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def post(self, proposal: object, path: str = ENTRIES, **headers: str) -> Reply:
        """Post JSON."""
        body = proposal if isinstance(proposal, bytes) else encode(proposal)
        headers.setdefault("content_type", "application/json")
        return self.browser.post(path, body, **headers)

    def check(self, data: bytes) -> LogEntry:
        """Everything that an entry's reply proves, in the shard of its id. Returns the entry."""
        entry_id, entry = parse_log_entry(data)
        shard = self.shards[int(entry_id[:16], 16)]
        proof = entry.inclusion_proof
        assert proof is not None
        assert entry_id == shard.entry_id(leaf_hash(entry.canonicalized_body))
        assert entry.log_id == hashlib.sha256(shard.public_key.spki).digest()
        assert entry.log_index == shard.first_index + proof.log_index
        message = set_message(
            entry.canonicalized_body, entry.integrated_time, entry.log_id, entry.log_index
        )
        shard.public_key.verify(entry.inclusion_promise, message)
        verify_inclusion(
            leaf_hash(entry.canonicalized_body),
            proof.log_index,
            proof.tree_size,
            proof.hashes,
            proof.root_hash,
        )
        head = self.check_note(proof.checkpoint, shard.tree_id)
        assert (head.tree_size, head.root_hash) == (proof.tree_size, proof.root_hash)
        return LogEntry(entry_id, entry)

    def check_note(self, text: str, tree_id: int = TREE_ID) -> Checkpoint:
        """A checkpoint of that shard, signed by it alone."""
        note = SignedNote.parse(text.encode())
        note.verify(NoteKey.for_rekor_v1("log.example", self.shards[tree_id].public_key))
        assert len(note.signatures) == 1
        head = Checkpoint.parse(note.text)
        assert head.origin == f"log.example - {tree_id}"
        assert head.extensions == ()
        return head


def error_of(reply: Reply) -> tuple[int, str]:
    """Code and message of an error's body."""
    assert reply.headers["content-type"] == "application/json"
    tree = json.loads(reply.body)
    assert list(tree) == ["code", "message"]
    return tree["code"], tree["message"]


def body_of(data: bytes) -> bytes:
    """The canonical body in an entry's reply."""
    ((_, entry),) = json.loads(data).items()
    return b64decode(entry["body"])
