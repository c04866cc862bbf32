# SPDX-License-Identifier: Apache-2.0
"""Asking a log whether it still holds what it signed before: online, and only when told to.

The log's newest checkpoint must be signed by the same key, be no smaller than any that is
remembered, and extend each of them, which its consistency proofs show. Log API v1 gives proofs;
from tiled logs (v2) they are built out of tiles.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote

from countermark.client.last_seen import (
    LastSeen,
    SeenLog,
    parse_checkpoint,
    proven,
    two_trees,
)
from countermark.client.log_evidence import refuse
from countermark.client.transport import Reply, Transport, check
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.encoding import from_utf8
from countermark.core.errors import (
    ConsistencyInvalid,
    FormatError,
    RequestRejected,
    SignatureInvalid,
    UpstreamDown,
)
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.merkle import (
    HASH_BYTES,
    consistency_proof,
    fold_right,
    verify_consistency,
)
from countermark.core.tlog.note import SignedNote
from countermark.core.tlog.tiles import TILE_WIDTH, TileName, tile_of, widest
from countermark.core.wire import rekor_v1

_LOG = "the transparency log"
_TREE_ID = re.compile(r".* - (0|[1-9][0-9]*)", re.ASCII | re.DOTALL)
_ATTEMPTS, _PAUSE_S = 3, 1.0


class Checked(NamedTuple):
    """A log that holds all that it signed before.

    Attributes:
        log: with its newest checkpoint.
        head: that checkpoint.
        earlier: sizes of the trees that it was shown to extend.
    """

    log: SeenLog
    head: Checkpoint
    earlier: tuple[int, ...]


def check_log(
    transport: Transport,
    seen: SeenLog,
    *,
    also: Sequence[str] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> Checked:
    """Ask a log for its newest checkpoint, and for proof that it extends all that is remembered.

    Args:
        transport: how to reach it.
        seen: the log, as it is remembered.
        also: other checkpoints of that tree that must be extended, whatever their size.
        sleep: waits, where a log that answers with an older checkpoint may be given time.

    Remembers the newest checkpoint. Raises ConsistencyInvalid, with the evidence in a file, for a
    log that does not hold what it signed; Unavailable if it cannot be asked now; FormatError.
    """
    before = {parse_checkpoint(note): note for note in (*seen.notes, *also)}
    largest = max(before, key=lambda head: head.tree_size)
    for attempt in range(1, _ATTEMPTS + 1):
        note = _newest(transport, seen)
        newest = parse_checkpoint(note)
        # Servers of one log may be a moment apart; a log that went back stays there.
        if newest.tree_size >= largest.tree_size or attempt == _ATTEMPTS:
            break
        sleep(_PAUSE_S)
    if newest.tree_size < largest.tree_size:
        what = (
            f"{seen.base_url} shows {newest.tree_size} entries, and has signed"
            f" {largest.tree_size} before: it took entries back"
        )
        raise refuse(seen, what, before[largest], note)
    for known in before.values():
        prove_extends(transport, seen, known, note, sleep=sleep)
    log = proven(seen, note, int(time.time()))
    return Checked(log, newest, tuple(sorted(head.tree_size for head in before)))


def check_signed(transport: Transport, bundles: Sequence[Bundle], root: TrustedRoot) -> int:
    """Have the logs that just took entries prove that they extend all that is remembered of them.

    Args:
        transport: how to reach them.
        bundles: what was just signed, verified under `root`.
        root: whom to believe.

    Remembers the newest checkpoint. Gives how many logs proved it; one that was never met before
    has nothing to prove. Raises as `check_log`; SettingsError if nothing can be remembered.
    """
    seen, heads = LastSeen(), set()
    for bundle in sorted(bundles, key=_largest, reverse=True):
        logs = frozenset(entry.log_id for entry in bundle.tlog_entries)
        if logs not in heads:  # the largest tree of a run stands for the others
            heads.add(logs)
            seen.meet(bundle, root)
    seen.save()
    asked = 0
    for log, met in seen.logs():
        notes = dict.fromkeys((*log.notes, *met))
        newest = max(notes, key=lambda note: parse_checkpoint(note).tree_size)
        for note in notes:
            if note != newest:
                prove_extends(transport, log, note, newest)
        if len(notes) > 1:
            proven(log, newest, int(time.time()))
            asked += 1
    return asked


def _largest(bundle: Bundle) -> int:
    proofs = (entry.inclusion_proof for entry in bundle.tlog_entries)
    return max((proof.tree_size for proof in proofs if proof is not None), default=0)


def prove_extends(
    transport: Transport,
    seen: SeenLog,
    before: str,
    now: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Check that the tree of a signed checkpoint extends that of an earlier, smaller one.

    Both must have been verified. Raises as `check_log`.
    """
    old, new = parse_checkpoint(before), parse_checkpoint(now)
    if old.tree_size == new.tree_size:
        if old.root_hash != new.root_hash:
            raise two_trees(seen, before, now)
        return
    proof: tuple[bytes, ...] | None = None
    try:
        proof = _proof(transport, seen, old.tree_size, new.tree_size, sleep)
        verify_consistency(old.tree_size, new.tree_size, old.root_hash, new.root_hash, proof)
    except (RequestRejected, FormatError) as error:
        what = (
            f"{seen.base_url} gives no proof that its {new.tree_size} entries extend the"
            f" {old.tree_size} that it signed before: {error}"
        )
        raise refuse(seen, what, before, now, proof) from error
    except ConsistencyInvalid as error:
        what = (
            f"{seen.base_url} rewrote its history: its {new.tree_size} entries do not extend"
            f" the {old.tree_size} that it signed before"
        )
        raise refuse(seen, what, before, now, proof) from error


def _newest(transport: Transport, seen: SeenLog) -> str:
    """The log's own newest checkpoint of that tree, its signature verified."""
    if _TREE_ID.fullmatch(seen.origin):
        reply = _get(transport, seen, rekor_v1.LOG_PATH)
        notes = [head.signed_tree_head for head in rekor_v1.parse_all_heads(reply.body)]
    else:
        reply = _get(transport, seen, "/api/v2/checkpoint")
        notes = [from_utf8(reply.body, "checkpoint")]
    for note in notes:
        signed = SignedNote.parse(note.encode("utf-8", "surrogatepass"))
        if Checkpoint.parse(signed.text).origin != seen.origin:
            continue
        try:
            signed.verify(seen.key, "the checkpoint")
        except SignatureInvalid as error:
            raise ConsistencyInvalid(
                f"the checkpoint that {seen.base_url} shows was not signed by its key",
                found=", ".join(line.name for line in signed.signatures)[:300],
                expected=f"a signature by key sha256:{seen.key.public_key.key_id.hex()}",
            ) from error
        return note
    raise ConsistencyInvalid(
        f"{seen.base_url} shows no tree {seen.origin!r} any more",
        found=", ".join(parse_checkpoint(note).origin for note in notes)[:300],
        expected=seen.origin,
    )


def _get(transport: Transport, seen: SeenLog, path: str) -> Reply:
    """A reply that says where the log stands. Raises Unavailable if there is none."""
    reply = transport.get(_address(seen, path), _LOG)
    try:
        return check(reply, _LOG, rekor_v1.parse_error(reply.body))
    except RequestRejected as error:
        raise UpstreamDown(f"{seen.base_url} does not show where it stands: {error}") from error


def _proof(
    transport: Transport, seen: SeenLog, old: int, new: int, sleep: Callable[[float], None]
) -> tuple[bytes, ...]:
    tree_id = _TREE_ID.fullmatch(seen.origin)
    if tree_id is None:
        return consistency_proof(old, new, _Tiles(transport, seen, new).node)
    query = f"?firstSize={old}&lastSize={new}&treeID={quote(tree_id[1])}"
    for attempt in range(1, _ATTEMPTS + 1):
        reply = transport.get(_address(seen, rekor_v1.PROOF_PATH) + query, _LOG)
        if reply.status != 400 or attempt == _ATTEMPTS:
            break
        sleep(_PAUSE_S)  # one of several servers may not have seen all entries yet
    check(reply, _LOG, rekor_v1.parse_error(reply.body))
    return rekor_v1.parse_consistency(reply.body)


class _Tiles:
    """Nodes of a tiled log's tree of one size, out of its tiles, each fetched once."""

    def __init__(self, transport: Transport, seen: SeenLog, size: int) -> None:
        self._transport, self._seen, self._size = transport, seen, size
        self._tiles: dict[TileName, bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        """See `merkle.NodeReader`. A node is a perfect subtree of hashes of one tile."""
        tile_level, tile_index, row = tile_of(level, index)
        data = self._tile(tile_level, tile_index)
        first = (index % (TILE_WIDTH >> row)) << row
        hashes = data[first * HASH_BYTES : (first + (1 << row)) * HASH_BYTES]
        nodes = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        if len(nodes) != 1 << row:
            raise FormatError("tile", "is too narrow")
        while len(nodes) > 1:
            nodes = [fold_right(nodes[at : at + 2]) for at in range(0, len(nodes), 2)]
        return nodes[0]

    def _tile(self, level: int, index: int) -> bytes:
        width = widest(level, index, self._size)
        name = TileName(level, index, width)
        if name not in self._tiles:
            self._tiles[name] = self._fetch(name)
        return self._tiles[name]

    def _fetch(self, name: TileName) -> bytes:
        reply = self._transport.get(_address(self._seen, f"/api/v2/{name.path}"), _LOG)
        if reply.status == 404 and name.width < TILE_WIDTH:  # a partial that gave way
            full = name.full_path
            reply = self._transport.get(_address(self._seen, f"/api/v2/{full}"), _LOG)
        check(reply, _LOG)
        if len(reply.body) < name.byte_length:
            raise FormatError("tile", f"has {len(reply.body)} bytes, {name.byte_length} are needed")
        return reply.body


def _address(seen: SeenLog, path: str) -> str:
    return seen.base_url.rstrip("/") + path
