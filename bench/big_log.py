# SPDX-License-Identifier: Apache-2.0
"""Data directories whose v1 log holds many entries, made once and kept outside the clone.

    python -m bench.big_log 1000000

A run that was interrupted goes on where the last one ended.

The engine's parts make it, in rounds and publications larger than a server's: identities, times,
leaves, rows, tiles and heads are what they would be. Only what a worker would have verified is
made up: a filler entry is a hashedrekord of about 850 bytes over a digest of its own, with a small
certificate of its own, and the signatures in both are arbitrary bytes. SETs are real up to two
million entries, so `countermark log fsck` finds such a log sound; a larger one with --tree-only.
Some entries, spread over the log, are real ones whose requests are kept, to be sent again.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from bench.instance import hashedrekord, new_keys
from countermark.app.data_dir import VERSION, DataDir, State
from countermark.app.init import initialise
from countermark.app.instance import V1_LOG
from countermark.app.keyring import KeyRing
from countermark.app.opening import open_instance
from countermark.core.crypto.keys import encode_pem
from countermark.core.rekor.entry import search_key
from countermark.core.rekor.hashedrekord import body_of_base64
from countermark.core.rekor.kinds import admit
from countermark.core.rekor.shard import Shard
from countermark.core.tlog.tiles import TILE_WIDTH
from countermark.core.wire.rekor_v1_requests import read_proposal
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.system import SystemClock, SystemEntropy
from countermark.ports.clock import Clock
from countermark.ports.log_store import Head, LogStore, StagedLeaf
from countermark.ports.objects import ObjectStore
from countermark.tilelog.personality import Submission
from countermark.tilelog.publisher import Publication, publish
from countermark.tilelog.recover import recover
from countermark.tlog.personality import ShardPersonality, submission

FORMAT: Final = 1  # of what is made here
PLANTED: Final = 2000
SIGNED_UP_TO: Final = 2_000_000  # entries; beyond, promises are arbitrary bytes too
_ROUND: Final = 4096
_ROUNDS_A_PUBLICATION: Final = 16
_KEYS: Final = 64
_PEOPLE: Final = 10_000
_SERIAL: Final = b"\x5a" * 16
_PERSON: Final = "user-0000000@example.com"
_PLAIN: Final = ec.SECP256R1()


@dataclass(frozen=True, slots=True)
class BigLog:
    """A data directory made here.

    Attributes:
        data: the directory.
        port: what its instance must listen on.
        size: entries of its v1 log, the genesis entries among them.
        planted: leaf index and POST body of entries that are real ones.
    """

    data: Path
    port: int
    size: int
    planted: tuple[tuple[int, bytes], ...]


def big_log(count: int, extension_bytes: int = 0) -> BigLog:
    """The kept directory with `count` entries, made now if it is not there.

    `extension_bytes` go into each filler entry's certificate.
    """
    tools = os.environ.get("COUNTERMARK_TOOLS", Path.home() / ".cache/countermark-tools")
    name = f"layout-{VERSION}-format-{FORMAT}-{count}-{extension_bytes}"
    place = Path(tools) / "bench-logs" / name
    if not (place / "complete").exists():
        print(f"making a log of {count} entries in {place}", file=sys.stderr)
        _make(place, count, extension_bytes)
    planted: dict[int, str] = dict(map(json.loads, (place / "planted").read_text().splitlines()))
    return BigLog(
        place / "data",
        _port(count),
        count,
        tuple((index, body.encode()) for index, body in planted.items()),
    )


@contextlib.contextmanager
def copy_of(log: BigLog) -> Iterator[BigLog]:
    """A copy to add entries to: what is never changed in place is linked, the rest copied."""
    place = log.data.parent / f"copy-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    try:
        shutil.copytree(log.data, place, copy_function=_link)
        yield BigLog(place, log.port, log.size, log.planted)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _link(source: str, target: str) -> None:
    # Tables and objects are replaced or deleted, never rewritten; the rest is appended to.
    if source.endswith(".sst") or "/logs/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _port(count: int) -> int:
    """Below the ports that the system hands out; an instance keeps the one it was made with."""
    return 24_400 + count.bit_length()


# --- filler ----------------------------------------------------------------------------------


class Filler:
    """Makes distinct entries that look real.

    `extension_bytes` go into each certificate, to make larger bodies.
    """

    def __init__(self, extension_bytes: int = 0) -> None:
        keys = [ec.derive_private_key(1 + number, _PLAIN) for number in range(_KEYS)]
        self._templates = [_certificate(key, extension_bytes) for key in keys]
        self._people = [
            (f"{number:07d}".encode(), search_key(_PERSON.replace("0" * 7, f"{number:07d}")))
            for number in range(_PEOPLE)
        ]

    def entry(self, number: int) -> Submission:
        """Body and search keys of filler entry `number`."""
        seed = hashlib.sha512(b"filler %d" % number).digest()
        person, person_key = self._people[int.from_bytes(seed[32:36]) % _PEOPLE]
        before, middle, after = self._templates[number % _KEYS]
        der = before + b"\x5a" + seed[:15] + middle + person + after
        pem = encode_pem("CERTIFICATE", der).encode("ascii")
        digest = seed[:32].hex()
        signature = b"\x30\x44\x02\x20\x5a" + seed[33:] + b"\x02\x20\x5a" + seed[:31]
        body = body_of_base64(
            "sha256",
            digest,
            b64encode(signature).decode("ascii"),
            b64encode(pem).decode("ascii"),
        )
        keys = (
            search_key("sha256:" + digest),
            search_key("sha256:" + hashlib.sha256(pem).hexdigest()),
            person_key,
        )
        return submission(body, keys)


def _certificate(
    key: ec.EllipticCurvePrivateKey, extension_bytes: int
) -> tuple[bytes, bytes, bytes]:
    """A certificate in three pieces, around its serial number and its person's seven digits."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(_SERIAL))
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(_PERSON)]), critical=True)
    )
    if extension_bytes:
        extension = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.99"), os.urandom(extension_bytes)
        )
        builder = builder.add_extension(extension, critical=False)
    der = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    before, rest = der.split(_SERIAL)
    name = _PERSON.encode()
    start = rest.index(name) + name.index(b"0")
    return before, rest[:start], rest[start + 7 :]


# --- making ----------------------------------------------------------------------------------


def _make(place: Path, count: int, extension_bytes: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    data_dir = DataDir.at(place / "data")
    clock = SystemClock()
    if data_dir.state() is not State.COMPLETE:
        initialise(data_dir, f"http://localhost:{_port(count)}", clock, SystemEntropy())
    config = open_instance(data_dir)
    log = config.log(V1_LOG)
    signer = KeyRing.load(data_dir, config).signer(log.key)
    personality = ShardPersonality(Shard(log.tree_id, log.note_name, signer.public_key), signer)
    store = RocksLogStore(data_dir.db)
    objects = _UnsyncedObjects(data_dir.log_folder(V1_LOG))
    try:
        with (place / "planted").open("a") as planted:
            _Maker(personality, store, objects, count, Filler(extension_bytes), planted).run(clock)
    finally:
        store.close()
    os.sync()
    (place / "complete").touch()


class _Maker:
    """Does what `Log` does, without queues, proofs and answers."""

    def __init__(
        self,
        personality: ShardPersonality,
        store: LogStore,
        objects: ObjectStore,
        count: int,
        filler: Filler,
        planted: TextIO,
    ) -> None:
        recovered = recover(V1_LOG, personality.codec, store, objects)
        self._planted = planted
        self._requests: list[str] = []
        self._personality = personality
        self._store = store
        self._objects = objects
        self._count = count
        self._filler = filler
        self._head = recovered.head
        self._tree = recovered.tree
        self._tail = recovered.records
        self._published = recovered.published_size
        self._tail_start = self._published // TILE_WIDTH * TILE_WIDTH
        self._promises = [b"\x30" + os.urandom(70) for _ in range(251)]

    def run(self, clock: Clock) -> None:
        """Add rounds until the log has its size."""
        began, already = time.monotonic(), self._head.tree_size
        with ThreadPoolExecutor(1) as behind:
            publishing = behind.submit(self._publish, self._publication())
            for number in itertools.count(1):
                if self._head.tree_size < self._count:  # an interrupted run can end here
                    self._round(max(clock.now_ms(), self._head.time_ms + 1))
                done = self._head.tree_size == self._count
                if number % _ROUNDS_A_PUBLICATION and not done:
                    continue
                publishing.result()
                self._store.drop_staged(V1_LOG, self._published)
                self._tree.forget(self._published)
                publishing = behind.submit(self._publish, self._publication())
                rate = (self._head.tree_size - already) / (time.monotonic() - began)
                _tell(self._head.tree_size, self._count, rate)
                if done:
                    break
            publishing.result()
        self._store.drop_staged(V1_LOG, self._published)

    def _round(self, time_ms: int) -> None:
        start = self._head.tree_size
        end = min(start + _ROUND, self._count)
        leaves = [self._leaf(index, time_ms) for index in range(start, end)]
        self._tree.append([leaf.identity for leaf in leaves])  # v1's identities are leaf hashes
        root_hash = self._tree.view().root_hash
        signed = self._personality.sign_head(end, root_hash, time_ms)
        head = Head(end, root_hash, time_ms, signed)
        self._store.commit_round(V1_LOG, self._head, head, leaves)
        self._head = head
        self._planted.writelines(self._requests)
        self._planted.flush()
        self._requests.clear()
        self._tail += [leaf.record for leaf in leaves]

    def _leaf(self, index: int, time_ms: int) -> StagedLeaf:
        if index % max(1, self._count // PLANTED) == 3:
            entry = self._real_entry(index)
        else:
            entry = self._filler.entry(index)
        if self._count <= SIGNED_UP_TO:
            promise = self._personality.finalise(entry, index, time_ms).promise
        else:
            promise = self._promises[index % len(self._promises)]
        keys = entry.search_keys
        return StagedLeaf(index, entry.identity, entry.payload, time_ms, promise, keys)

    def _real_entry(self, index: int) -> Submission:
        [signer] = new_keys(1)
        request = hashedrekord(signer, index)
        proposal = read_proposal(request)
        entry = admit(proposal.kind, proposal.version, proposal.spec)
        self._requests.append(json.dumps((index, request.decode())) + "\n")
        return submission(entry.body, entry.search_keys)

    def _publication(self) -> Publication:
        """Everything new, and the tail without what is public then."""
        head = self._head
        made = Publication(
            self._published, head, self._tree.view(), self._tail[:], self._tail_start
        )
        self._published = head.tree_size
        start = head.tree_size // TILE_WIDTH * TILE_WIDTH
        del self._tail[: start - self._tail_start]
        self._tail_start = start
        return made

    def _publish(self, publication: Publication) -> None:
        publish(publication, self._personality.codec, self._objects)


class _UnsyncedObjects(FileObjectStore):
    """Files that are not synced one by one: nobody relies on a log before it is all made."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._place = root

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        for path, data in objects:
            self.replace(path, data)

    def replace(self, path: str, data: bytes) -> None:
        target = self._place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _tell(done: int, count: int, per_second: float) -> None:
    left = (count - done) / per_second
    print(
        f"\r{done} of {count} entries, {per_second:.0f}/s, {left:.0f} s left  ",
        end="" if done < count else "\n",
        file=sys.stderr,
        flush=True,
    )


def main() -> int:
    """Entry point of `python -m bench.big_log`."""
    parser = argparse.ArgumentParser(prog="bench.big_log", description=__doc__)
    parser.add_argument("count", type=int)
    log = big_log(parser.parse_args().count)
    print(log.data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
