# SPDX-License-Identifier: Apache-2.0
"""Rekor's HTTP API v1: proposals and replies, both directions, byte for byte.

Replies are compact JSON in upstream's key order with one final newline; some clients cut them
at fixed offsets. What servers check of requests is in `rekor_v1_requests`.
"""

import re
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from countermark.core.bundle.bundle import (
    MAX_PROOF_HASHES,
    InclusionProof,
    TransparencyLogEntry,
)
from countermark.core.encoding import MAX_INT64, from_base64, from_hex, to_base64
from countermark.core.errors import FormatError
from countermark.core.tlog.merkle import HASH_BYTES

ENTRIES_PATH: Final = "/api/v1/log/entries"
RETRIEVE_PATH: Final = "/api/v1/log/entries/retrieve"
LOG_PATH: Final = "/api/v1/log"
PROOF_PATH: Final = "/api/v1/log/proof"
PUBLIC_KEY_PATH: Final = "/api/v1/log/publicKey"
INDEX_PATH: Final = "/api/v1/index/retrieve"
MAX_REPLY_BYTES: Final = 16 * 1024 * 1024

_encode = msgspec.json.Encoder().encode
_ENTRY_OBJECT = (
    b'{"%b":{"body":"%b","integratedTime":%d,"logID":"%b","logIndex":%d,"verification":'
    b'{"inclusionProof":{"checkpoint":%b,"hashes":[%b],"logIndex":%d,%b},'
    b'"signedEntryTimestamp":"%b"}}}'
)
_ENTRY_ID = re.compile(r"(?:[0-9a-f]{16})?[0-9a-f]{64}", re.ASCII)


# --- proposals -----------------------------------------------------------------------------------


def proposed_hashedrekord(
    hash_name: str, digest_hex: str, signature: bytes, verifier_pem: str
) -> bytes:
    """The body of a POST that logs a signature over a digest.

    Args:
        hash_name: ``sha256``, ``sha384`` or ``sha512``.
        digest_hex: of the artifact, lower case.
        signature: DER for ECDSA.
        verifier_pem: public key or certificate.
    """
    spec = {
        "data": {"hash": {"algorithm": hash_name, "value": digest_hex}},
        "signature": {
            "content": to_base64(signature),
            "publicKey": {"content": to_base64(verifier_pem.encode("ascii"))},
        },
    }
    return _encode({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec})


def proposed_dsse(envelope_json: str, verifier_pems: Sequence[str]) -> bytes:
    """The body of a POST that logs a DSSE envelope, with a key or certificate per signature."""
    content = {
        "envelope": envelope_json,
        "verifiers": [to_base64(pem.encode("ascii")) for pem in verifier_pems],
    }
    return _encode({"apiVersion": "0.0.1", "kind": "dsse", "spec": {"proposedContent": content}})


# --- entries -------------------------------------------------------------------------------------


class LogEntry(NamedTuple):
    """One entry of a reply. Nothing in it is verified.

    Attributes:
        entry_id: 80 hex digits, or 64 from very old servers.
        entry: always with a promise, an inclusion proof and a checkpoint.
    """

    entry_id: str
    entry: TransparencyLogEntry


class _Proof(msgspec.Struct):
    checkpoint: str
    hashes: list[str]
    log_index: int = msgspec.field(name="logIndex")
    root_hash: str = msgspec.field(name="rootHash")
    tree_size: int = msgspec.field(name="treeSize")


class _Verification(msgspec.Struct):
    proof: _Proof = msgspec.field(name="inclusionProof")
    promise: str = msgspec.field(name="signedEntryTimestamp")


class _Entry(msgspec.Struct):
    body: str
    integrated_time: int = msgspec.field(name="integratedTime")
    log_id: str = msgspec.field(name="logID")
    log_index: int = msgspec.field(name="logIndex")
    verification: _Verification


class _Body(msgspec.Struct):
    kind: str
    version: str = msgspec.field(name="apiVersion")


_decode_entries = msgspec.json.Decoder(dict[str, _Entry]).decode
_decode_body = msgspec.json.Decoder(_Body).decode


def parse_log_entry(data: bytes) -> LogEntry:
    """Read the reply to a POST or GET of one entry. Raises FormatError."""
    what = "log entry"
    if len(data) > MAX_REPLY_BYTES:
        raise FormatError(what, f"is larger than {MAX_REPLY_BYTES} bytes")
    try:
        entries = _decode_entries(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(what, str(error)) from error
    if len(entries) != 1:
        raise FormatError(what, f"reply holds {len(entries)} entries instead of one")
    ((entry_id, entry),) = entries.items()
    if not _ENTRY_ID.fullmatch(entry_id):
        raise FormatError(what, f"id {entry_id[:100]!r} is not 64 or 80 hexadecimal digits")
    proof = entry.verification.proof
    if len(proof.hashes) > MAX_PROOF_HASHES:
        raise FormatError("inclusionProof", f"has more than {MAX_PROOF_HASHES} hashes")
    numbers = (entry.integrated_time, entry.log_index, proof.log_index, proof.tree_size)
    if not all(0 <= number <= MAX_INT64 for number in numbers):
        raise FormatError(what, "holds a number that is negative or too large")
    body = from_base64(entry.body, "body")
    try:
        kind = _decode_body(body)
    except (ValueError, RecursionError) as error:
        raise FormatError("body", str(error)) from error
    return LogEntry(
        entry_id,
        TransparencyLogEntry(
            log_index=entry.log_index,
            log_id=from_hex(entry.log_id, "logID", length=32),
            kind=kind.kind,
            version=kind.version,
            integrated_time=entry.integrated_time,
            inclusion_promise=from_base64(entry.verification.promise, "signedEntryTimestamp"),
            inclusion_proof=InclusionProof(
                log_index=proof.log_index,
                root_hash=from_hex(proof.root_hash, "rootHash", length=32),
                tree_size=proof.tree_size,
                hashes=tuple(from_hex(item, "hashes", length=32) for item in proof.hashes),
                checkpoint=proof.checkpoint,
            ),
            canonicalized_body=body,
        ),
    )


def entry_object(
    entry_id: str,
    body: bytes,
    integrated_time: int,
    log_id_hex: str,
    log_index: int,
    proof: InclusionProof,
    promise: bytes,
) -> bytes:
    """One entry as a JSON object under its id. See `TransparencyLogEntry` for the fields."""
    # One call for all hashes: they are most of what a reply costs.
    hashes = b"".join(proof.hashes).hex("-", HASH_BYTES).replace("-", '","')
    checkpoint, root = _head_parts(proof.checkpoint, proof.root_hash, proof.tree_size)
    return _ENTRY_OBJECT % (
        entry_id.encode("ascii"),
        b2a_base64(body, newline=False),
        integrated_time,
        log_id_hex.encode("ascii"),
        log_index,
        checkpoint,
        f'"{hashes}"'.encode("ascii") if hashes else b"",
        proof.log_index,
        root,
        b2a_base64(promise, newline=False),
    )


def entry_reply(entry_object: bytes) -> bytes:
    """The reply that holds one entry."""
    return entry_object + b"\n"


def entries_reply(entry_objects: Iterable[bytes]) -> bytes:
    """The reply to a search: an array, empty if nothing was found."""
    return b"[%b]\n" % b",".join(entry_objects)


# --- the log itself ------------------------------------------------------------------------------


class LogInfo(msgspec.Struct, frozen=True):
    """A tree and its newest head.

    Attributes:
        tree_id: decimal.
        tree_size: number of leaves of this tree alone.
        root_hash: hex.
        signed_tree_head: the checkpoint, a signed note.
    """

    root_hash: str = msgspec.field(name="rootHash")
    signed_tree_head: str = msgspec.field(name="signedTreeHead")
    tree_id: str = msgspec.field(name="treeID")
    tree_size: int = msgspec.field(name="treeSize")


class _LogInfoReply(LogInfo, frozen=True):
    inactive: list[LogInfo] | None = msgspec.field(default=None, name="inactiveShards")


_decode_log_info = msgspec.json.Decoder(_LogInfoReply).decode


def log_info_reply(active: LogInfo, inactive: Sequence[LogInfo] = ()) -> bytes:
    """The reply about a log with its shards, the inactive ones oldest first."""
    shards = _encode(inactive) if inactive else b"null"  # what upstream says of no shards
    return b'{"inactiveShards":' + shards + b"," + _encode(active)[1:] + b"\n"


def parse_log_info(data: bytes) -> LogInfo:
    """Read what a log says about its active shard. Raises FormatError."""
    try:
        info = _decode_log_info(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("log info", str(error)) from error
    return LogInfo(info.root_hash, info.signed_tree_head, info.tree_id, info.tree_size)


def parse_all_heads(data: bytes) -> tuple[LogInfo, ...]:
    """Read what a log says about all its shards, the active one first. Raises FormatError."""
    try:
        info = _decode_log_info(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("log info", str(error)) from error
    active = LogInfo(info.root_hash, info.signed_tree_head, info.tree_id, info.tree_size)
    return (active, *(info.inactive or ()))


class _Consistency(msgspec.Struct):
    hashes: list[str]


_decode_consistency = msgspec.json.Decoder(_Consistency).decode


def parse_consistency(data: bytes) -> tuple[bytes, ...]:
    """Read a consistency proof's hashes. Raises FormatError."""
    what = "consistency proof"
    try:
        hashes = _decode_consistency(data).hashes
    except (ValueError, RecursionError) as error:
        raise FormatError(what, str(error)) from error
    if len(hashes) > 2 * MAX_PROOF_HASHES:
        raise FormatError(what, f"has more than {2 * MAX_PROOF_HASHES} hashes")
    return tuple(from_hex(item, "hashes", length=HASH_BYTES) for item in hashes)


def consistency_reply(hashes: Iterable[bytes], root_hash: bytes) -> bytes:
    """A consistency proof, with the root of the newest tree whatever sizes were asked for."""
    listed = ",".join(f'"{item.hex()}"' for item in hashes)
    return f'{{"hashes":[{listed}],"rootHash":"{root_hash.hex()}"}}\n'.encode()


# --- errors --------------------------------------------------------------------------------------


class _Error(msgspec.Struct):
    code: int
    message: str


_decode_error = msgspec.json.Decoder(_Error).decode


def error_reply(code: int, message: str) -> bytes:
    """An error's body. `code` is the HTTP status, or 6xx for a request that breaks the schema."""
    return _encode(_Error(code, message)) + b"\n"


def parse_error(data: bytes) -> str:
    """The message of an error's body; empty if it holds none, as a lookup's 404."""
    try:
        return _decode_error(data).message
    except (ValueError, RecursionError):
        return ""


@lru_cache(maxsize=64)
def _head_parts(checkpoint: str, root_hash: bytes, tree_size: int) -> tuple[bytes, bytes]:
    """What a proof says of its head, before and after the rest; entries of one round share it."""
    return _encode(checkpoint), b'"rootHash":"%b","treeSize":%d' % (
        root_hash.hex().encode("ascii"),
        tree_size,
    )
