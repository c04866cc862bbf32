# SPDX-License-Identifier: Apache-2.0
"""What workers ask of the CT logs' keeper. `log` is the log's name in URLs."""

from typing import Annotated

import msgspec

from countermark.core.ct.static_ct import DATA_TILES
from countermark.core.wire.ct import MAX_CHAIN
from countermark.rpc.message import Request

_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Der = Annotated[bytes, msgspec.Meta(min_length=1, max_length=DATA_TILES.max_record_bytes)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Logged(msgspec.Struct, frozen=True, array_like=True):
    """The SCT's bytes; the original one for something that is in the log already."""

    sct: bytes


class AddCertificate(Request[Logged], tag="ctlog.add", frozen=True):
    """Log a checked certificate or precertificate.

    Fields: `issuer_key_hash` and `pre_certificate` (as submitted) are empty for finished
    certificates; `certificate` is the certificate or the precertificate's TBSCertificate
    without poison; `chain` is what stands above it, issuer first, root last. Raises Pushback.
    """

    log: str
    issuer_key_hash: Annotated[bytes, msgspec.Meta(max_length=32)]
    certificate: _Der
    pre_certificate: Annotated[bytes, msgspec.Meta(max_length=DATA_TILES.max_record_bytes)]
    chain: Annotated[tuple[_Der, ...], msgspec.Meta(max_length=MAX_CHAIN)]


class Roots(msgspec.Struct, frozen=True, array_like=True):
    """Certificates whose holders' certificates a log takes; DER."""

    certificates: tuple[bytes, ...]


class GetRoots(Request[Roots], tag="ctlog.roots", frozen=True):
    """The accepted roots."""

    log: str


class TreeHead(msgspec.Struct, frozen=True, array_like=True):
    """A signed tree head; `signature` is the TLS DigitallySigned."""

    tree_size: int
    timestamp_ms: int
    root_hash: bytes
    signature: bytes


class GetTreeHead(Request[TreeHead], tag="ctlog.head", frozen=True):
    """The newest tree head, signed within the log's maximum merge delay."""

    log: str


class Proof(msgspec.Struct, frozen=True, array_like=True):
    """An audit path or a consistency proof; `index` is the leaf's, 0 for the latter."""

    index: int
    hashes: tuple[bytes, ...]


class GetConsistency(Request[Proof], tag="ctlog.consistency", frozen=True):
    """That the tree of size `second` extends the one of size `first`.

    Raises RequestRejected if the log is not that large.
    """

    log: str
    first: _Size
    second: _Size


class GetProofByHash(Request[Proof], tag="ctlog.proof-by-hash", frozen=True):
    """Where the leaf with that hash is in the tree of that size. Raises NotFound."""

    log: str
    leaf_hash: _Hash
    tree_size: _Size


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One leaf as get-entries shows it."""

    leaf_input: bytes
    extra_data: bytes


class Entries(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive leaves, perhaps fewer than were asked for, never none."""

    entries: tuple[Entry, ...]


class GetEntries(Request[Entries], tag="ctlog.entries", frozen=True):
    """Leaves start ≤ index < end. Raises RequestRejected if the first is not in the log."""

    log: str
    start: _Size
    end: _Size


class EntryAndProof(msgspec.Struct, frozen=True, array_like=True):
    """One leaf and its audit path."""

    entry: Entry
    hashes: tuple[bytes, ...]


class GetEntryAndProof(Request[EntryAndProof], tag="ctlog.entry-and-proof", frozen=True):
    """Leaf `index` in the tree of size `tree_size`. Raises RequestRejected."""

    log: str
    index: _Size
    tree_size: _Size


class Content(msgspec.Struct, frozen=True, array_like=True):
    """One published file."""

    data: bytes


class GetCheckpoint(Request[Content], tag="ctlog.checkpoint", frozen=True):
    """The newest checkpoint: a signed note."""

    log: str


class GetTile(Request[Content], tag="ctlog.tile", frozen=True):
    """A tile or data tile of the newest checkpoint by its path. Raises NotFound, FormatError."""

    log: str
    path: Annotated[str, msgspec.Meta(max_length=64)]


class GetIssuer(Request[Content], tag="ctlog.issuer", frozen=True):
    """A certificate that entries name, by its SHA-256; DER. Raises NotFound."""

    log: str
    fingerprint: _Hash
