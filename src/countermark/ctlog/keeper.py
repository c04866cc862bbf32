# SPDX-License-Identifier: Apache-2.0
"""CT logs in the keeper: entries in, SCTs, tree heads and proofs out.

`CTLog` is one log on the engine; `CTLogKeeper` answers workers for all of them. The CA of the
same instance submits its precertificates to a `CTLog` directly.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from countermark.core.ct.leaf import CertificateEntry, extra_data
from countermark.core.ct.static_ct import TileLeaf
from countermark.core.errors import InvariantBroken, LogFrozen, NotFound, RequestRejected
from countermark.core.tlog.tiles import TileName, parse_path
from countermark.ctlog.auditor import issuer_path, tree_head_signature
from countermark.ctlog.messages import (
    AddCertificate,
    Content,
    Entries,
    Entry,
    EntryAndProof,
    GetCheckpoint,
    GetConsistency,
    GetEntries,
    GetEntryAndProof,
    GetIssuer,
    GetProofByHash,
    GetRoots,
    GetTile,
    GetTreeHead,
    Logged,
    Proof,
    Roots,
    TreeHead,
)
from countermark.ctlog.personality import CertificateSubmission, CTPersonality
from countermark.ports.clock import Clock
from countermark.ports.log_store import Head
from countermark.ports.objects import ObjectStore
from countermark.rpc.message import Handlers
from countermark.tilelog.log import Log
from countermark.tilelog.personality import Submission

MAX_TREE_HEAD_AGE_MS = 6 * 3600 * 1000  # a quarter of the usual maximum merge delay, 24 h
_MAX_ENTRIES = 256
_MAX_ENTRIES_BYTES = 1 << 20  # leaves and chains of one answer; well below a message's limit
_MAX_ISSUERS = 10_000


class CTLog:
    """One certificate transparency log."""

    def __init__(
        self,
        log: Log,
        personality: CTPersonality,
        objects: ObjectStore,
        roots: Sequence[bytes],
        clock: Clock,
    ) -> None:
        """`objects` are the log's own; `roots` are the accepted ones, DER."""
        self.roots = tuple(roots)
        self._log = log
        self._personality = personality
        self._objects = objects
        self._clock = clock
        self._issuers: dict[bytes, bytes] = {}
        self._resigned: tuple[Head, TreeHead] | None = None

    async def submit_precertificate(
        self, precertificate: bytes, tbs: bytes, issuer_key_hash: bytes, chain: tuple[bytes, ...]
    ) -> bytes:
        """Log a precertificate of this instance's CA. Returns the SCT's bytes. Raises Pushback."""
        return await self.add(CertificateEntry(issuer_key_hash, tbs), precertificate, chain)

    async def add(
        self, entry: CertificateEntry, pre_certificate: bytes, chain: tuple[bytes, ...]
    ) -> bytes:
        """Log an entry, durably; the SCT's bytes, the original ones for a duplicate.

        Raises LogFrozen.
        """
        if self._log.frozen:  # before anything is stored for it
            raise LogFrozen("this log is frozen: it takes no more certificates")
        issuers = tuple(map(_fingerprint, chain))
        missing = [
            (name, certificate)
            for name, certificate in zip(issuers, chain, strict=True)
            if name not in self._issuers
        ]
        if missing:
            await self._keep(missing)
        payload = CertificateSubmission(entry, pre_certificate, issuers)
        size = 1024 + len(entry.certificate) + len(pre_certificate)
        added = await self._log.add(Submission(entry.identity, payload, byte_size=size))
        return added.promise

    async def _keep(self, certificates: Sequence[tuple[bytes, bytes]]) -> None:
        """Store issuers before the entry that names them: entries are never incomplete."""
        files = [(issuer_path(name), data) for name, data in certificates]
        await asyncio.to_thread(self._objects.put_all, files)
        self._remember(certificates)

    def _remember(self, certificates: Sequence[tuple[bytes, bytes]]) -> None:
        if len(self._issuers) + len(certificates) > _MAX_ISSUERS:
            self._issuers.clear()
        self._issuers.update(certificates)

    def tree_head(self) -> TreeHead:
        """The newest tree head; one that got old is signed again with the time of now.

        A frozen log shows its last one: it signs nothing beyond the end of its validity.
        """
        head, now_ms = self._log.head, self._clock.now_ms()
        if self._resigned is not None and self._resigned[0] is head:
            newest = self._resigned[1]
        else:
            origin, log_id = self._personality.origin, self._personality.log_id
            timestamp_ms, signed = tree_head_signature(head.signed, origin, log_id)
            newest = TreeHead(head.tree_size, timestamp_ms, head.root_hash, signed)
        if now_ms - newest.timestamp_ms > MAX_TREE_HEAD_AGE_MS and not self._log.frozen:
            signed = self._personality.sign_tree_head(head.tree_size, head.root_hash, now_ms)
            newest = TreeHead(head.tree_size, now_ms, head.root_hash, signed)
            self._resigned = (head, newest)
        return newest

    async def consistency(self, first: int, second: int) -> Proof:
        """Proof between two tree sizes. Raises RequestRejected."""
        if first > second:
            raise RequestRejected(f"invalid first, second params: {first} {second}")
        if first == 0:
            return Proof(0, ())  # whatever the second is, as upstream answers
        self._need(second, "proof")
        return Proof(0, await self._log.consistency_proof(first, second))

    async def proof_by_hash(self, leaf_hash: bytes, tree_size: int) -> Proof:
        """Audit path of the leaf with that hash. Raises NotFound."""
        size = self._log.head.tree_size
        if tree_size > size:
            raise NotFound(f"log returned tree size: {size} but we expected: {tree_size}")
        # Two leaves may have one hash only if they are the same entry: the lowest is the one.
        indexes = await self._log.search(leaf_hash, limit=1)
        if not indexes or indexes[0] >= tree_size:
            raise NotFound("get-proof-by-hash: no such leaf in that tree")
        return Proof(indexes[0], await self._log.inclusion_proof(indexes[0], tree_size))

    async def entries(self, start: int, end: int) -> Entries:
        """Leaves start ≤ index < end, cut at what one answer may hold. Raises RequestRejected."""
        size = self._log.head.tree_size
        if start >= size:
            raise RequestRejected(f"need tree size: {start + 1} to get leaves but only got: {size}")
        records = await self._log.records(start, min(end, size, start + _MAX_ENTRIES))
        found: list[Entry] = []
        total = 0
        for record in records:
            entry = await self._entry(record)
            total += len(entry.leaf_input) + len(entry.extra_data)
            if found and total > _MAX_ENTRIES_BYTES:
                break
            found.append(entry)
        return Entries(tuple(found))

    async def entry_and_proof(self, index: int, tree_size: int) -> EntryAndProof:
        """One leaf and its audit path. Raises RequestRejected."""
        self._need(tree_size, "proof")
        if index >= tree_size:
            raise RequestRejected(f"leaf_index {index} out of range for tree of size {tree_size}")
        (record,) = await self._log.records(index, index + 1)
        proof = await self._log.inclusion_proof(index, tree_size)
        return EntryAndProof(await self._entry(record), proof)

    @property
    def checkpoint(self) -> bytes:
        """The newest checkpoint."""
        return self._log.head.signed

    async def tile(self, path: str) -> bytes:
        """A tile or data tile by its path. Raises NotFound, FormatError."""
        name = parse_path(path)
        return await (
            self._log.tile(name) if isinstance(name, TileName) else self._log.bundle(name)
        )

    async def issuer(self, fingerprint: bytes) -> bytes:
        """A certificate that entries name. Raises NotFound."""
        held = self._issuers.get(fingerprint)
        if held is not None:
            return held
        path = issuer_path(fingerprint)
        data = await asyncio.to_thread(self._objects.fetch, path)
        if hashlib.sha256(data).digest() != fingerprint:
            raise InvariantBroken(f"the CT log's {path} is damaged")
        self._remember([(fingerprint, data)])
        return data

    def _need(self, tree_size: int, what: str) -> None:
        size = self._log.head.tree_size
        if tree_size > size:
            raise RequestRejected(f"need tree size: {tree_size} for {what} but only got: {size}")

    async def _entry(self, record: bytes) -> Entry:
        leaf = TileLeaf.parse(record)
        try:
            chain = tuple([await self.issuer(name) for name in leaf.issuers])
        except NotFound as error:
            raise InvariantBroken(f"the CT log lost an issuer: {error}") from error
        return Entry(leaf.timestamped.merkle_tree_leaf(), extra_data(leaf.pre_certificate, chain))


class CTLogKeeper:
    """Answers workers for CT logs by their names in URLs."""

    def __init__(self, logs: Mapping[str, CTLog]) -> None:
        self._logs = dict(logs)

    def handlers(self) -> Handlers:
        """What it answers, by request type."""
        return {
            AddCertificate: self.add,
            GetRoots: self.roots,
            GetTreeHead: self.tree_head,
            GetConsistency: self.consistency,
            GetProofByHash: self.proof_by_hash,
            GetEntries: self.entries,
            GetEntryAndProof: self.entry_and_proof,
            GetCheckpoint: self.checkpoint,
            GetTile: self.tile,
            GetIssuer: self.issuer,
        }

    def _log(self, name: str) -> CTLog:
        try:
            return self._logs[name]
        except KeyError:
            raise NotFound(f"there is no CT log {name!r}") from None

    async def add(self, request: AddCertificate) -> Logged:
        """Log what a worker checked."""
        entry = CertificateEntry(request.issuer_key_hash, request.certificate)
        log = self._log(request.log)
        return Logged(await log.add(entry, request.pre_certificate, request.chain))

    async def roots(self, request: GetRoots) -> Roots:
        """The accepted roots."""
        return Roots(self._log(request.log).roots)

    async def tree_head(self, request: GetTreeHead) -> TreeHead:
        """The newest tree head."""
        return self._log(request.log).tree_head()

    async def consistency(self, request: GetConsistency) -> Proof:
        """A consistency proof."""
        return await self._log(request.log).consistency(request.first, request.second)

    async def proof_by_hash(self, request: GetProofByHash) -> Proof:
        """An audit path by leaf hash."""
        log = self._log(request.log)
        return await log.proof_by_hash(request.leaf_hash, request.tree_size)

    async def entries(self, request: GetEntries) -> Entries:
        """Consecutive leaves."""
        return await self._log(request.log).entries(request.start, request.end)

    async def entry_and_proof(self, request: GetEntryAndProof) -> EntryAndProof:
        """A leaf and its audit path."""
        return await self._log(request.log).entry_and_proof(request.index, request.tree_size)

    async def checkpoint(self, request: GetCheckpoint) -> Content:
        """The newest checkpoint."""
        return Content(self._log(request.log).checkpoint)

    async def tile(self, request: GetTile) -> Content:
        """A tile or data tile."""
        return Content(await self._log(request.log).tile(request.path))

    async def issuer(self, request: GetIssuer) -> Content:
        """A certificate that entries name."""
        return Content(await self._log(request.log).issuer(request.fingerprint))


@lru_cache(maxsize=1024)
def _fingerprint(certificate: bytes) -> bytes:
    return hashlib.sha256(certificate).digest()
