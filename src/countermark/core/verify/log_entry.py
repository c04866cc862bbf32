# SPDX-License-Identifier: Apache-2.0
"""Believing a log entry: its promise (SET), its inclusion proof and the checkpoint over it.

A log is found by the entry's full log id; its checkpoint must carry a signature line of that
log, by name and key hash, and start with its origin.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from countermark.core.bundle.bundle import InclusionProof, TransparencyLogEntry
from countermark.core.bundle.trusted_root import TransparencyLog
from countermark.core.errors import InclusionInvalid, SignatureInvalid, TimeUnproven
from countermark.core.rekor.set_payload import set_message
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.merkle import leaf_hash, root_from_inclusion
from countermark.core.tlog.note import NoteKey, SignedNote
from countermark.core.verify.words import log_name, utc, window

KIND_V2 = ("hashedrekord", "0.0.2")  # the only kind of log API v2, and of no other
# v1 origins carry a tree id that the name on the signature line does not.
_ORIGIN_V1 = re.compile(r"(.+) - (?:0|[1-9][0-9]*)", re.ASCII)
_LAST_SECOND = 253402300799  # 9999-12-31T23:59:59Z, the last one `datetime` holds


def find_log(
    entry: TransparencyLogEntry, logs: Sequence[TransparencyLog], at: Sequence[datetime] = ()
) -> TransparencyLog:
    """The trusted log that an entry says it is from. Raises InclusionInvalid.

    Two logs under one id (shards that share a key, a log listed with two windows) are told apart
    by the checkpoint's name, then by the times `at` which the key was in use.
    """
    found = [log for log in logs if log.log_id == entry.log_id]
    if not found:
        raise InclusionInvalid(
            f"no trusted log has the id {entry.log_id.hex()}",
            found=f"log id {entry.log_id.hex()}",
            expected="one of " + (", ".join(map(log_name, logs[:8])) or "no logs at all"),
        )
    if len(found) > 1 and entry.inclusion_proof is not None and entry.inclusion_proof.checkpoint:
        origin = entry.inclusion_proof.checkpoint.partition("\n")[0]
        found = [log for log in found if key_name(origin) in names_of(log)] or found
    if len(found) > 1:
        found = [log for log in found if all(map(log.validity.covers, at))] or found
    if found[0].hash_algorithm != "SHA2_256":
        raise InclusionInvalid(f"{found[0].base_url} hashes with something else than SHA-256")
    return found[0]


def promised_time(entry: TransparencyLogEntry) -> tuple[datetime, ...]:
    """The time that an entry's promise would prove; none if it is no possible one."""
    if not 0 < entry.integrated_time <= _LAST_SECOND:
        return ()
    return (datetime.fromtimestamp(entry.integrated_time, UTC),)


def verify_promise(entry: TransparencyLogEntry, log: TransparencyLog) -> datetime:
    """Check an entry's SET and give the time it proves. Raises InclusionInvalid, TimeUnproven."""
    if (entry.kind, entry.version) == KIND_V2:
        raise InclusionInvalid("an entry of log API v2 cannot have a promise")
    message = set_message(
        entry.canonicalized_body, entry.integrated_time, entry.log_id, entry.log_index
    )
    try:
        # Every client and rekor-cli take SHA-256 here, whatever the log key's curve.
        log.public_key.verify_with_hash(entry.inclusion_promise, message, "sha256", "promise")
    except SignatureInvalid as error:
        raise InclusionInvalid(
            f"the promise was not signed by {log.base_url}",
            found=f"a promise over index {entry.log_index}, time {entry.integrated_time}",
            expected=f"a signature by key sha256:{log.public_key.key_id.hex()}",
        ) from error
    if not (times := promised_time(entry)):
        raise TimeUnproven("the promise states no possible time")
    (time,) = times
    if not log.validity.covers(time):
        raise TimeUnproven(
            f"the trusted root limits the key of {log.base_url} to another time",
            found=f"a promise made at {utc(time)}",
            expected=window(log.validity),
        )
    return time


def verify_inclusion_proof(
    entry: TransparencyLogEntry, proof: InclusionProof, log: TransparencyLog
) -> int:
    """Check an entry's proof up to a checkpoint that `log` signed; gives that tree's size.

    A proof without a checkpoint (old bundles) must at least agree with itself, and counts as
    none: 0. Raises InclusionInvalid, or FormatError for a checkpoint that is none.
    """
    if (entry.kind, entry.version) == KIND_V2 and entry.log_index != proof.log_index:
        raise InclusionInvalid(
            "the entry and its proof name different indexes",
            found=f"index {entry.log_index} in the entry",
            expected=f"index {proof.log_index}, as in the proof",
        )
    leaf = leaf_hash(entry.canonicalized_body)
    root = root_from_inclusion(leaf, proof.log_index, proof.tree_size, proof.hashes)
    if root != proof.root_hash:
        raise InclusionInvalid(
            "the inclusion proof does not lead to its own root hash",
            found=f"root {root.hex()}, computed from the entry",
            expected=f"root {proof.root_hash.hex()}",
        )
    if not proof.checkpoint:
        return 0
    checkpoint = _verify_checkpoint(proof.checkpoint, log)
    if (checkpoint.tree_size, checkpoint.root_hash) != (proof.tree_size, root):
        raise InclusionInvalid(
            "the inclusion proof is for another tree than its checkpoint",
            found=f"size {proof.tree_size}, root {root.hex()}",
            expected=f"size {checkpoint.tree_size}, root {checkpoint.root_hash.hex()}",
        )
    return checkpoint.tree_size


@lru_cache(maxsize=256)
def _verify_checkpoint(text: str, log: TransparencyLog) -> Checkpoint:
    # Remembered: entries that were added together are proven under one checkpoint.
    note = SignedNote.parse(text.encode("utf-8"))
    checkpoint = Checkpoint.parse(note.text)
    name = key_name(checkpoint.origin)
    if name not in names_of(log):
        raise InclusionInvalid(
            f"the checkpoint is of {name[:200]!r} and not of {log.base_url}",
            found=name[:200],
            expected=names_of(log)[0],
        )
    key = checkpoint_key(log, name)
    try:
        note.verify(key, "the checkpoint")
    except SignatureInvalid as error:
        lines = (f"{line.name[:80]} {line.key_hash.hex()}" for line in note.signatures[:8])
        raise InclusionInvalid(
            f"{error} ({log.base_url})",
            found="signature lines of " + ", ".join(lines),
            expected=f"one of {key.name} {key.key_hash.hex()} that verifies",
        ) from error
    return checkpoint


def checkpoint_key(log: TransparencyLog, name: str) -> NoteKey:
    """The key that signs a log's checkpoints under one of its names."""
    return NoteKey(name, (log.checkpoint_key_id or log.log_id)[:4], log.public_key)


def key_name(origin: str) -> str:
    """The name that signs checkpoints of an origin: without the tree id of a v1 log."""
    match = _ORIGIN_V1.fullmatch(origin)
    return match[1] if match else origin


def names_of(log: TransparencyLog) -> tuple[str, ...]:
    """The names under which a log may sign: its URL's host, with port and path or without."""
    rest = log.base_url.partition("://")[2].rstrip("/")
    authority, slash, path = rest.partition("/")
    # A colon inside the brackets of an IPv6 address starts no port.
    port_at = authority.find(":", authority.find("]") + 1)
    host = authority if port_at < 0 else authority[:port_at]
    return host, authority, host + slash + path, rest
