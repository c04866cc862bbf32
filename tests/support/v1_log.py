# SPDX-License-Identifier: Apache-2.0
"""A v1 log in this process: real engine, keys and worker application, no sockets."""

import asyncio
import hashlib
import json
import threading
from base64 import b64decode
from collections.abc import Coroutine
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
    """A shard with its genesis entries. A context manager; everything ends with it."""

    def __init__(self, *, genesis: bool = True, first_index: int = 0, **options: Any) -> None:
        self.clock = SettableClock()
        self.signer = FileSigner(ec.generate_private_key(ec.SECP256R1()))
        self.shard = Shard(TREE_ID, "log.example", self.signer.public_key, first_index)
        self.store = MemoryLogStore()
        self.objects = MemoryObjectStore()
        self.personality = ShardPersonality(self.shard, self.signer)
        self.log = Log.create("rekor-v1-1", self.personality, self.store, self.objects, self.clock)
        self.keeper = LocalKeeper(
            shard_handlers({TREE_ID: LogKeeper(self.log).handlers()}, TREE_ID)
        )
        self.genesis = genesis_submissions(self.shard, BASE_URL, self.signer) if genesis else ()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        app = Application(
            routes(self.keeper, Shards((), self.shard), {TREE_ID: self.objects}, **options)
        )
        self.browser = WorkerBrowser(app, self._loop)

    def __enter__(self) -> Self:
        self._thread.start()
        self._running = asyncio.run_coroutine_threadsafe(self.log.run(), self._loop)
        for submission in self.genesis:
            self.wait(self.log.add(submission))
        return self

    def __exit__(self, *_: object) -> None:
        self.wait(self.log.drain())
        self._running.result(10)
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
        """Everything that an entry's reply proves. Returns the entry."""
        entry_id, entry = parse_log_entry(data)
        proof = entry.inclusion_proof
        assert proof is not None
        assert entry_id == self.shard.entry_id(leaf_hash(entry.canonicalized_body))
        assert entry.log_id == hashlib.sha256(self.signer.public_key.spki).digest()
        assert entry.log_index == self.shard.first_index + proof.log_index
        message = set_message(
            entry.canonicalized_body, entry.integrated_time, entry.log_id, entry.log_index
        )
        self.signer.public_key.verify(entry.inclusion_promise, message)
        verify_inclusion(
            leaf_hash(entry.canonicalized_body),
            proof.log_index,
            proof.tree_size,
            proof.hashes,
            proof.root_hash,
        )
        head = self.check_note(proof.checkpoint)
        assert (head.tree_size, head.root_hash) == (proof.tree_size, proof.root_hash)
        return LogEntry(entry_id, entry)

    def check_note(self, text: str) -> Checkpoint:
        """A checkpoint of this log, signed by it alone."""
        note = SignedNote.parse(text.encode())
        note.verify(NoteKey.for_rekor_v1("log.example", self.signer.public_key))
        assert len(note.signatures) == 1
        head = Checkpoint.parse(note.text)
        assert head.origin == f"log.example - {TREE_ID}"
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
