# SPDX-License-Identifier: Apache-2.0
"""Judging evidence against a log that somebody else kept (`log_evidence` writes it).

Believed of such a file is only what the log's key signed, and of the key only what a trusted root
of one's own says: anybody can make a key and call it somebody's log.
"""

from collections.abc import Iterable
from typing import NamedTuple

from countermark.client.instances import load_instances
from countermark.client.last_seen import SeenLog
from countermark.client.verify import PUBLIC, STAGING, Root, named_root
from countermark.core.bundle import protojson
from countermark.core.bundle.trusted_root import TransparencyLog
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_hex
from countermark.core.errors import (
    AlgorithmRefused,
    ConsistencyInvalid,
    FormatError,
    SignatureInvalid,
)
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.merkle import HASH_BYTES, verify_consistency
from countermark.core.tlog.note import SignedNote
from countermark.core.verify.log_entry import checkpoint_key, key_name

MAX_EVIDENCE_BYTES = 1024 * 1024
_WHAT = "evidence"
_MAX_PROOF = 128
TWO_TREES, OPEN, NOTHING = "two-trees", "open", "nothing"


class Judgement(NamedTuple):
    """What a file of evidence shows.

    Attributes:
        verdict: ``two-trees`` if the log signed two roots for one size, which needs nobody's
            word; ``open`` if only the log can show that the trees go together; ``nothing``.
        why: that in words.
        log: as one's own trusted root has it, with the smaller checkpoint.
        other: the larger checkpoint, or the second of that size.
        root: the name of that root.
    """

    verdict: str
    why: str
    log: SeenLog
    other: str
    root: str


def judge(data: bytes, root: Root | None = None) -> Judgement:
    """Judge a file's content, by one root or all that the user has.

    Raises FormatError if it cannot be read, SignatureInvalid for a checkpoint that the log did
    not sign, or a log that no trusted root knows.
    """
    tree = protojson.parse_object(data, _WHAT, limit=MAX_EVIDENCE_BYTES)
    origin = protojson.required_text(tree, "origin")
    key = PublicKey.from_pem(protojson.required_text(tree, "publicKey"), "publicKey")
    log_id = from_hex(protojson.required_text(tree, "logId"), "logId", length=HASH_BYTES)
    items = protojson.objects(tree, "checkpoints", limit=2)
    if len(items) != 2:
        raise FormatError("checkpoints", "are not two")
    notes = [protojson.required_text(item, "note") for item in items]
    log, name = _known_log(key, log_id, [root] if root is not None else _roots())
    heads = [(_head(note, origin, log), note) for note in notes]
    heads.sort(key=lambda item: item[0].tree_size)
    (small, small_note), (large, large_note) = heads
    seen = SeenLog(
        origin, log.base_url, log_id, checkpoint_key(log, key_name(origin)), (small_note,)
    )
    verdict, why = _compare(small, large, _proof(tree.get("consistencyProof")))
    return Judgement(verdict, why, seen, large_note, name)


def _compare(
    small: Checkpoint, large: Checkpoint, proof: tuple[bytes, ...] | None
) -> tuple[str, str]:
    if small.tree_size == large.tree_size:
        if small.root_hash == large.root_hash:
            return NOTHING, "both checkpoints are of one tree"
        return TWO_TREES, f"the log signed two different trees of {small.tree_size} entries"
    sizes = f"{small.tree_size} and {large.tree_size} entries"
    if proof is not None:
        try:
            verify_consistency(
                small.tree_size, large.tree_size, small.root_hash, large.root_hash, proof
            )
        except ConsistencyInvalid:
            pass
        else:
            return NOTHING, f"the trees of {sizes} go together, as the proof in the file shows"
    return OPEN, f"the log signed trees of {sizes}; only it can show that they go together"


def _known_log(key: PublicKey, log_id: bytes, roots: Iterable[Root]) -> tuple[TransparencyLog, str]:
    """The log of that key and id in one of the roots, and that root's name."""
    for root in roots:
        for log in root.trusted_root.tlogs:
            try:
                if log.log_id == log_id and log.public_key.spki == key.spki:
                    return log, root.name
            except (FormatError, AlgorithmRefused):
                continue  # one that this program cannot use says nothing
    raise SignatureInvalid(
        "no trusted root of yours knows this log's key, so nothing is shown about any log",
        found=f"key sha256:{key.key_id.hex()}",
        expected="the key of a log that a trusted root lists",
    )


def _roots() -> Iterable[Root]:
    for record in load_instances():
        yield named_root(record.url)
    yield named_root(PUBLIC)
    yield named_root(STAGING)


def _head(note: str, origin: str, log: TransparencyLog) -> Checkpoint:
    signed = SignedNote.parse(note.encode("utf-8", "surrogatepass"))
    head = Checkpoint.parse(signed.text)
    if head.origin != origin:
        raise FormatError("checkpoint", f"is not of the tree {origin[:200]!r}")
    signed.verify(checkpoint_key(log, key_name(origin)), "a checkpoint of the evidence")
    return head


def _proof(value: object) -> tuple[bytes, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > _MAX_PROOF:
        raise FormatError("consistencyProof", "is not a list of hashes")
    if not all(isinstance(item, str) for item in value):
        raise FormatError("consistencyProof", "is not a list of hashes")
    return tuple(from_hex(item, "consistencyProof", length=HASH_BYTES) for item in value)
