# SPDX-License-Identifier: Apache-2.0
"""What a worker asks of the keeper for the v1 log: one shard's entries, heads and proofs.

Entries are added to the open shard; every other question names its shard.

Indexes here are leaf indexes in the shard's tree, never global log indexes.
"""

import msgspec

from countermark.rpc.message import Request

MAX_LOOKUPS = 10
"""What a search may ask for. So many of the largest entries still fit in one reply."""


class HeadView(msgspec.Struct, frozen=True, array_like=True):
    """The newest head.

    Attributes:
        tree_size: number of leaves.
        root_hash: 32 bytes.
        checkpoint: the signed note over both.
    """

    tree_size: int
    root_hash: bytes
    checkpoint: str


class Added(msgspec.Struct, frozen=True, array_like=True):
    """Where an entry stands.

    Attributes:
        index: of the leaf; the original one's for a duplicate.
        time_ms: when it was sequenced, Unix milliseconds.
        promise: the SET's signature.
        duplicate: whether the log held the entry already.
        head: what `proof` leads to.
        proof: audit path.
        leaf_hash: of the body.
    """

    index: int
    time_ms: int
    promise: bytes
    duplicate: bool
    head: HeadView
    proof: tuple[bytes, ...]
    leaf_hash: bytes


class AddEntry(Request[Added], frozen=True, tag="tlog.add"):
    """Log a verified entry, in the open shard.

    Attributes:
        body: canonical body, at most `core.rekor.entry.MAX_BODY_BYTES`.
        search_keys: of `core.rekor.entry.SEARCH_KEY_BYTES` each.
    """

    body: bytes
    search_keys: tuple[bytes, ...]


class Found(msgspec.Struct, frozen=True, array_like=True):
    """An entry that the log holds; see `Added`.

    `body` is None if the entry lies in a full, published bundle: workers read it there.
    """

    body: bytes | None
    index: int
    time_ms: int
    promise: bytes
    proof: tuple[bytes, ...]


class Entries(msgspec.Struct, frozen=True, array_like=True):
    """Answers in the order asked for, leaf hashes first; all proofs lead to one head."""

    head: HeadView
    found: tuple[Found | None, ...]


class FetchEntries(Request[Entries], frozen=True, tag="tlog.fetch"):
    """Look entries up, at most `MAX_LOOKUPS` of them.

    Attributes:
        leaf_hashes: 32 bytes each.
        indexes: leaf indexes; beyond the tree is no error.
        tree_id: of the shard.
    """

    leaf_hashes: tuple[bytes, ...]
    indexes: tuple[int, ...]
    tree_id: int


class FetchHead(Request[HeadView], frozen=True, tag="tlog.head"):
    """Ask for the newest head of a shard."""

    tree_id: int


class Consistency(msgspec.Struct, frozen=True, array_like=True):
    """A consistency proof, empty if the head is smaller than the sizes asked for."""

    head: HeadView
    hashes: tuple[bytes, ...]


class ProveConsistency(Request[Consistency], frozen=True, tag="tlog.consistency"):
    """Prove that a shard's tree of `new_size` leaves extends that of `old_size`: 0 < old ≤ new."""

    old_size: int
    new_size: int
    tree_id: int
