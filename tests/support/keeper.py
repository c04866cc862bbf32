# SPDX-License-Identifier: Apache-2.0
"""A real keeper process without the rest of an instance, and the callers that load it.

The callers speak to its socket as workers do, check each answer's proof, and remember what they
were promised and when. What is left of the data directory is then held against that.
"""

import asyncio
import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from countermark.app.data_dir import DataDir
from countermark.app.inspection import Inspection
from countermark.app.launch import KEEPER, Child, Launch
from countermark.app.messages import GetStatus, LogStatus
from countermark.core.ct.leaf import CertificateEntry
from countermark.core.ct.static_ct import DATA_TILES
from countermark.core.errors import CountermarkError, Unavailable
from countermark.core.rekor.hashedrekord import canonical_body
from countermark.core.rekor.stored import stored_search_keys
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.integrate import GrowingTree
from countermark.core.tlog.merkle import leaf_hash, verify_inclusion
from countermark.core.tlog.note import SignedNote
from countermark.ctlog.messages import AddCertificate, GetTreeHead
from countermark.observe import board
from countermark.rpc.address import KeeperAddress
from countermark.rpc.client import RemoteKeeper
from countermark.rpc.message import R, Request
from countermark.tlog.messages import AddEntry
from tests.support.rekor import Issuer, SigningKey, certificate

V1, CT, CT_URL = "rekor-v1-1", "ct-main", "main"
_START_S = 120.0
_numbers = itertools.count()


class KeeperProcess:
    """One keeper over a data directory. `tracer` is a command that runs it, strace perhaps."""

    def __init__(self, data_dir: DataDir, *, tracer: Sequence[str] = ()) -> None:
        self.data_dir = data_dir
        self.log = data_dir.path.parent / "keeper.log"
        self._tracer = tracer
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> bool:
        """Start it, and wait until it serves (True) or has ended (False)."""
        ours, theirs = socket.socketpair()
        lock = os.open(self.data_dir.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        launch = Launch(str(self.data_dir.path), lock, [], [], development=False)
        memory = board.create(len(launch.names))
        child = Child(launch, KEEPER, theirs.fileno(), memory, [], [])
        module = [sys.executable, "-P", "-m", "countermark.app.keeper", child.serialize()]
        with theirs, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._tracer, *module],
                pass_fds=[theirs.fileno(), lock, memory],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(lock)
        os.close(memory)
        self._control = ours  # kept open: the keeper ends with it
        readable, _, _ = select.select([ours], [], [], _START_S)
        assert readable, self.said()
        with suppress(ConnectionError):
            return ours.recv(1) == b"r"
        return False

    @property
    def pid(self) -> int:
        """The keeper's own, also under a tracer."""
        assert self._process is not None
        if not self._tracer:
            return self._process.pid
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(children.read_text().split()[0])

    @property
    def threads(self) -> set[int]:
        """Its threads' numbers."""
        return {int(name) for name in os.listdir(f"/proc/{self.pid}/task")}

    def ended(self) -> bool:
        """Whether it is gone."""
        assert self._process is not None
        return self._process.poll() is not None

    def kill(self) -> int:
        """kill -9; returns its status."""
        assert self._process is not None
        if not self.ended():
            with suppress(ProcessLookupError, IndexError):
                os.kill(self.pid, signal.SIGKILL)
        return self._wait()

    def stop(self) -> int:
        """Ask it to end, as the supervisor does; returns its status."""
        self._control.close()
        return self._wait()

    def _wait(self) -> int:
        assert self._process is not None
        status = self._process.wait(60)
        self._control.close()
        return status

    def said(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace")

    def logs(self) -> dict[str, LogStatus]:
        """Where its logs stand."""
        return {log.name: log for log in asyncio.run(ask(self.data_dir, GetStatus())).logs}

    def wait_published(self, seconds: float = 60.0) -> bool:
        """Wait until nothing is left to publish; False if it ended before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.ended():
                return False
            with suppress(CountermarkError):
                if all(log.published_size == log.tree_size for log in self.logs().values()):
                    return True
            time.sleep(0.02)
        raise AssertionError(f"not published within {seconds} s:\n{self.said()}")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An entry that was acknowledged; `when` in seconds since 1970."""

    when: float
    body: bytes
    index: int
    time_ms: int
    promise: bytes
    tree_size: int
    root_hash: bytes


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was logged, and the SCT for it."""

    when: float
    identity: bytes
    sct: bytes


@dataclass(slots=True)
class Promises:
    """Everything that callers were told."""

    entries: list[Acknowledged] = field(default_factory=list)
    certificates: list[Issued] = field(default_factory=list)
    heads: list[tuple[float, int, bytes]] = field(default_factory=list)  # of the CT log

    def before(self, when: float) -> "Promises":
        """What they had been told at that time."""
        return Promises(
            [entry for entry in self.entries if entry.when < when],
            [issued for issued in self.certificates if issued.when < when],
            [head for head in self.heads if head[0] < when],
        )

    def check(self, data_dir: DataDir) -> None:
        """Hold them against a directory that no process has: fsck, entries, SCTs, heads."""
        with Inspection.open(data_dir) as inspection:
            for report in inspection.check((), _quietly, rows=True):
                assert report.ok, report.problems
            roots = {
                V1: {entry.tree_size: entry.root_hash for entry in self.entries},
                CT: {size: root_hash for _, size, root_hash in self.heads if size},
            }
            for entry in self.entries:
                assert roots[V1][entry.tree_size] == entry.root_hash, "two trees of one size"
            for _, size, root_hash in self.heads:
                assert not size or roots[CT][size] == root_hash, "two trees of one size"
            records = list(inspection.records(V1))
            _check_heads(records, leaf_hash, roots[V1])
            _check_heads(inspection.records(CT), DATA_TILES.leaf_hash, roots[CT])
            for entry in self.entries:
                assert records[entry.index : entry.index + 1] == [entry.body], "an entry is lost"
                row = inspection.find(V1, leaf_hash(entry.body))
                assert row is not None
                assert (row.index, row.time_ms, row.promise) == (
                    (entry.index, entry.time_ms, entry.promise)
                )
            for issued in self.certificates:
                row = inspection.find(CT, issued.identity)
                assert row is not None, "a logged certificate is lost"
                assert row.promise == issued.sct


def _check_heads(
    records: Iterable[bytes], hashed: Callable[[bytes], bytes], roots: dict[int, bytes]
) -> None:
    tree, wanted = GrowingTree(), dict(roots)
    for record in records:
        tree.append([hashed(record)])
        root_hash = wanted.pop(tree.size, None)
        assert root_hash is None or root_hash == tree.view().root_hash, "another history"
    assert not wanted, "heads were shown that the log never reached"


def _quietly(name: str, done: int, total: int) -> None:
    del name, done, total


class Callers:
    """Makes entries and certificates, and has them logged."""

    def __init__(self) -> None:
        self.promises = Promises()
        self._key = SigningKey.new()
        self._issuer = Issuer.new()

    def body(self) -> bytes:
        """A new entry."""
        number = next(_numbers)
        digest = sha256(b"%d %d" % (os.getpid(), number)).hexdigest()
        return canonical_body("sha256", digest, self._key.sign(b"%d" % number), self._key.pem)

    def add(self, data_dir: DataDir, count: int) -> None:
        """Log some entries at once. Raises Unavailable, …"""

        async def work(keeper: RemoteKeeper) -> None:
            await asyncio.gather(*(self._add(keeper) for _ in range(count)))

        asyncio.run(_with_keeper(data_dir, work))

    def load(self, data_dir: DataDir, seconds: float, *, entries: int = 4, chains: int = 1) -> None:
        """Keep some adders of both kinds busy, at most until the keeper goes away."""

        async def work(keeper: RemoteKeeper) -> None:
            ends = time.monotonic() + seconds

            async def repeat(add: Callable[[RemoteKeeper], Awaitable[None]]) -> None:
                while time.monotonic() < ends:
                    await add(keeper)

            with suppress(Unavailable):
                await asyncio.gather(
                    *(repeat(self._add) for _ in range(entries)),
                    *(repeat(self._log) for _ in range(chains)),
                )

        asyncio.run(_with_keeper(data_dir, work))

    async def _add(self, keeper: RemoteKeeper) -> None:
        body = self.body()
        added = await keeper.call(AddEntry(body, stored_search_keys(body)))
        when = time.time()
        head = added.head
        verify_inclusion(leaf_hash(body), added.index, head.tree_size, added.proof, head.root_hash)
        shown = Checkpoint.parse(SignedNote.parse(head.checkpoint.encode()).text)
        assert (shown.tree_size, shown.root_hash) == (head.tree_size, head.root_hash)
        self.promises.entries.append(
            Acknowledged(
                when,
                body,
                added.index,
                added.time_ms,
                added.promise,
                head.tree_size,
                head.root_hash,
            )
        )

    async def _log(self, keeper: RemoteKeeper) -> None:
        leaf = certificate(SigningKey.new(), issuer=self._issuer).public_bytes(Encoding.DER)
        issuer = self._issuer.certificate.public_bytes(Encoding.DER)
        logged = await keeper.call(AddCertificate(CT_URL, b"", leaf, b"", (issuer,)))
        issued = Issued(time.time(), CertificateEntry(b"", leaf).identity, logged.sct)
        self.promises.certificates.append(issued)
        head = await keeper.call(GetTreeHead(CT_URL))
        self.promises.heads.append((time.time(), head.tree_size, head.root_hash))


async def ask(data_dir: DataDir, request: Request[R]) -> R:
    """One question."""
    answers: list[R] = []

    async def work(keeper: RemoteKeeper) -> None:
        answers.append(await keeper.call(request))

    await _with_keeper(data_dir, work)
    return answers[0]


async def _with_keeper(data_dir: DataDir, work: Callable[[RemoteKeeper], Awaitable[None]]) -> None:
    with KeeperAddress(data_dir.run) as address:
        keeper = RemoteKeeper(address.path, patience_s=2.0)
        connection = asyncio.create_task(keeper.run())
        try:
            async with asyncio.timeout(120):
                await work(keeper)
        finally:
            connection.cancel()
            await asyncio.gather(connection, return_exceptions=True)
