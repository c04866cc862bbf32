# SPDX-License-Identifier: Apache-2.0
"""The RFC 6962 HTTP API of CT logs (section 4), both directions.

Bytes are standard base64, the SCT's and the tree head's signature are TLS structures inside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from countermark.core.ct.sct import SignedCertificateTimestamp
from countermark.core.ct.tls import TLSReader, vector
from countermark.core.encoding import from_base64_bits, to_base64
from countermark.core.errors import FormatError

MAX_REQUEST_BYTES: Final = 512 * 1024
MAX_CHAIN: Final = 10
_T = TypeVar("_T", bound=msgspec.Struct)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class SignedTreeHead:
    """An STH, not verified.

    Attributes:
        tree_size: number of leaves.
        timestamp_ms: Unix milliseconds.
        root_hash: 32 bytes.
        signature: TLS DigitallySigned over the tree head.
    """

    tree_size: int
    timestamp_ms: int
    root_hash: bytes
    signature: bytes


class _AddChain(msgspec.Struct):
    chain: list[str] | None = None


class _AddChainReply(msgspec.Struct):
    sct_version: int
    id: str
    timestamp: int
    extensions: str
    signature: str


class _TreeHead(msgspec.Struct):
    tree_size: int
    timestamp: int
    sha256_root_hash: str
    tree_head_signature: str


class _Consistency(msgspec.Struct):
    consistency: list[str]


class _Proof(msgspec.Struct):
    leaf_index: int
    audit_path: list[str]


class _Entry(msgspec.Struct):
    leaf_input: str
    extra_data: str


class _Entries(msgspec.Struct):
    entries: list[_Entry]


class _EntryAndProof(msgspec.Struct):
    leaf_input: str
    extra_data: str
    audit_path: list[str]


class _Roots(msgspec.Struct):
    certificates: list[str]


def add_chain_request(chain: Sequence[bytes]) -> bytes:
    """Body of ``add-chain`` and ``add-pre-chain``: DER, leaf first."""
    return _encode(_AddChain([to_base64(certificate) for certificate in chain]))


def parse_add_chain_request(data: bytes) -> tuple[bytes, ...]:
    """The chain as DER, leaf first, at least one certificate. Raises FormatError."""
    chain = _decode(_AddChain, data, "add-chain body").chain
    if not chain:
        raise FormatError("add-chain body", "cert chain was empty")
    if len(chain) > MAX_CHAIN:
        raise FormatError("add-chain body", f"holds more than {MAX_CHAIN} certificates")
    return tuple(from_base64_bits(item, "certificate") for item in chain)


def add_chain_reply(sct: SignedCertificateTimestamp) -> bytes:
    """An SCT as ``add-chain`` and ``add-pre-chain`` answer it."""
    signed = bytes((sct.hash_alg, sct.sig_alg)) + vector(sct.signature, 2, "SCT signature")
    return _encode(
        _AddChainReply(
            sct_version=0,
            id=to_base64(sct.log_id),
            timestamp=sct.timestamp_ms,
            extensions=to_base64(sct.extensions),
            signature=to_base64(signed),
        )
    )


def parse_add_chain_reply(data: bytes) -> SignedCertificateTimestamp:
    """Inverse of `add_chain_reply`. Raises FormatError."""
    reply = _decode(_AddChainReply, data, "SCT")
    if reply.sct_version != 0:
        raise FormatError("SCT", f"version {reply.sct_version} is unknown")
    log_id = _bytes(reply.id, "SCT log id", 32)
    _check_uint64(reply.timestamp, "SCT timestamp")
    reader = TLSReader(from_base64_bits(reply.signature, "SCT signature"), "SCT signature")
    hash_algorithm, signature_algorithm = reader.uint(1), reader.uint(1)
    signature = reader.vector(2)
    reader.end()
    return SignedCertificateTimestamp(
        log_id,
        reply.timestamp,
        from_base64_bits(reply.extensions, "SCT extensions"),
        hash_algorithm,
        signature_algorithm,
        signature,
    )


def tree_head_reply(head: SignedTreeHead) -> bytes:
    """``get-sth``."""
    return _encode(
        _TreeHead(
            tree_size=head.tree_size,
            timestamp=head.timestamp_ms,
            sha256_root_hash=to_base64(head.root_hash),
            tree_head_signature=to_base64(head.signature),
        )
    )


def parse_tree_head_reply(data: bytes) -> SignedTreeHead:
    """Inverse of `tree_head_reply`. Raises FormatError."""
    reply = _decode(_TreeHead, data, "STH")
    _check_uint64(reply.tree_size, "STH tree size")
    _check_uint64(reply.timestamp, "STH timestamp")
    root_hash = _bytes(reply.sha256_root_hash, "STH root hash", 32)
    signature = from_base64_bits(reply.tree_head_signature, "STH signature")
    return SignedTreeHead(reply.tree_size, reply.timestamp, root_hash, signature)


def consistency_reply(hashes: Iterable[bytes]) -> bytes:
    """``get-sth-consistency``."""
    return _encode(_Consistency([to_base64(value) for value in hashes]))


def parse_consistency_reply(data: bytes) -> tuple[bytes, ...]:
    """Inverse of `consistency_reply`. Raises FormatError."""
    return _hashes(_decode(_Consistency, data, "consistency proof").consistency)


def proof_reply(leaf_index: int, hashes: Iterable[bytes]) -> bytes:
    """``get-proof-by-hash``."""
    return _encode(_Proof(leaf_index, [to_base64(value) for value in hashes]))


def parse_proof_reply(data: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Leaf index and audit path. Raises FormatError."""
    reply = _decode(_Proof, data, "inclusion proof")
    _check_uint64(reply.leaf_index, "leaf index")
    return reply.leaf_index, _hashes(reply.audit_path)


def entries_reply(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """``get-entries`` from (leaf input, extra data) pairs."""
    return _encode(_Entries([_Entry(to_base64(leaf), to_base64(extra)) for leaf, extra in entries]))


def parse_entries_reply(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Inverse of `entries_reply`. Raises FormatError."""
    what = "log entry"
    return tuple(
        (from_base64_bits(entry.leaf_input, what), from_base64_bits(entry.extra_data, what))
        for entry in _decode(_Entries, data, what).entries
    )


def entry_and_proof_reply(leaf_input: bytes, extra: bytes, hashes: Iterable[bytes]) -> bytes:
    """``get-entry-and-proof``."""
    path = [to_base64(value) for value in hashes]
    return _encode(_EntryAndProof(to_base64(leaf_input), to_base64(extra), path))


def roots_reply(certificates: Iterable[bytes]) -> bytes:
    """``get-roots``: DER."""
    return _encode(_Roots([to_base64(certificate) for certificate in certificates]))


def parse_roots_reply(data: bytes) -> tuple[bytes, ...]:
    """Inverse of `roots_reply`. Raises FormatError."""
    reply = _decode(_Roots, data, "accepted roots")
    return tuple(from_base64_bits(item, "accepted root") for item in reply.certificates)


def _decode(kind: type[_T], data: bytes, what: str) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise FormatError(what, str(error)) from error


def _bytes(text: str, what: str, length: int) -> bytes:
    data = from_base64_bits(text, what)
    if len(data) != length:
        raise FormatError(what, f"holds {len(data)} bytes instead of {length}")
    return data


def _hashes(items: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(_bytes(item, "proof hash", 32) for item in items)


def _check_uint64(value: int, what: str) -> None:
    if not 0 <= value < 2**64:
        raise FormatError(what, f"{value} is not an unsigned 64-bit integer")
