# SPDX-License-Identifier: Apache-2.0
"""Merkle trees of transparency logs: hashes, proofs, and checks of proofs. RFC 6962 section 2.

A *node* (level, index) is the root of the perfect subtree over leaves
``index << level`` up to ``(index + 1) << level``; level 0 holds the leaf hashes. Proofs are
built out of nodes through a `NodeReader`, so that they can come from memory or from tiles.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from countermark.core.errors import ConsistencyInvalid, InclusionInvalid

NodeReader: TypeAlias = Callable[[int, int], bytes]
"""``node(level, index)``: the 32-byte hash of one perfect subtree."""

Range: TypeAlias = tuple[int, int]
"""Leaves start ≤ i < end whose root is one hash of a proof."""

HASH_BYTES = 32
MAX_TREE_SIZE = 2**63 - 1
EMPTY_ROOT = hashlib.sha256(b"").digest()

_sha256 = hashlib.sha256


def leaf_hash(record: bytes) -> bytes:
    """SHA-256 over 0x00 and the leaf's bytes."""
    return _sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 over 0x01 and two 32-byte hashes."""
    return _sha256(b"\x01" + left + right).digest()


# --- building proofs ---------------------------------------------------------------------------


def inclusion_ranges(index: int, tree_size: int) -> list[Range]:
    """What the audit path of leaf `index` in a tree of `tree_size` leaves consists of, in order.

    Raises ValueError unless 0 ≤ index < tree_size.
    """
    if not 0 <= index < tree_size:
        raise ValueError(f"no leaf {index} in a tree of {tree_size}")
    path: list[Range] = []
    start, end = 0, tree_size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    path.reverse()
    return path


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """What the proof that a tree extends an older one consists of, in order.

    Empty for equal sizes. Raises ValueError unless 0 < old_size ≤ new_size.
    """
    if not 0 < old_size <= new_size:
        raise ValueError(f"a tree of {new_size} leaves does not extend one of {old_size}")
    path: list[Range] = []
    start, end = 0, new_size
    # RFC 6962 SUBPROOF: walk down to the right edge of the old tree, collecting the other halves.
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start != 0:  # else the verifier knows this subtree: it is the old root itself
        path.append((start, end))
    path.reverse()
    return path


def nodes_of(span: Range) -> Iterator[tuple[int, int]]:
    """The perfect subtrees that make up an aligned range, left to right, as (level, index)."""
    start, end = span
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def range_hash(span: Range, node: NodeReader) -> bytes:
    """The root over a range that `inclusion_ranges` or `consistency_ranges` named."""
    if span == (0, 0):
        return EMPTY_ROOT
    return fold_right([node(level, index) for level, index in nodes_of(span)])


def fold_right(hashes: Sequence[bytes]) -> bytes:
    """Join the roots of ever smaller subtrees, left to right, into one."""
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def root_hash(tree_size: int, node: NodeReader) -> bytes:
    """The root of a tree of `tree_size` leaves."""
    return range_hash((0, tree_size), node)


def inclusion_proof(index: int, tree_size: int, node: NodeReader) -> tuple[bytes, ...]:
    """The audit path of a leaf. Raises ValueError as `inclusion_ranges` does."""
    return tuple(range_hash(span, node) for span in inclusion_ranges(index, tree_size))


def consistency_proof(old_size: int, new_size: int, node: NodeReader) -> tuple[bytes, ...]:
    """The proof between two sizes. Raises ValueError as `consistency_ranges` does."""
    return tuple(range_hash(span, node) for span in consistency_ranges(old_size, new_size))


# --- checking proofs ---------------------------------------------------------------------------


def root_from_inclusion(leaf: bytes, index: int, tree_size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an audit path leads to, if its shape fits. Raises InclusionInvalid.

    Args:
        leaf: the 32-byte leaf hash.
        index: the leaf's index in this tree (not Rekor's global log index).
        tree_size: the size of the tree that the proof is for.
        proof: 32-byte hashes, lowest first.
    """
    if not 0 <= index < tree_size <= MAX_TREE_SIZE:
        raise InclusionInvalid(f"leaf index {index} is not in a tree of {tree_size} leaves")
    if any(len(item) != HASH_BYTES for item in (leaf, *proof)):
        raise InclusionInvalid("inclusion proof holds a hash that is not 32 bytes long")
    # Up to `inner` levels the path may turn either way; above, only left siblings are left.
    inner = (index ^ (tree_size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(proof) != inner + border:
        raise InclusionInvalid(
            f"inclusion proof has {len(proof)} hashes instead of {inner + border}"
        )
    result = leaf
    for level, sibling in enumerate(proof):
        if level < inner and not index >> level & 1:
            result = node_hash(result, sibling)
        else:
            result = node_hash(sibling, result)
    return result


def verify_inclusion(
    leaf: bytes, index: int, tree_size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf is in the tree with that root. Raises InclusionInvalid."""
    if root_from_inclusion(leaf, index, tree_size, proof) != root:
        raise InclusionInvalid("inclusion proof does not lead to the root hash")


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of `new_size` leaves starts with all those of the older tree.

    An empty older tree is refused: nothing about it can be proven. Raises ConsistencyInvalid.
    """
    if not 0 < old_size <= new_size <= MAX_TREE_SIZE:
        raise ConsistencyInvalid(
            f"a tree of {new_size} leaves cannot be shown to extend one of {old_size}"
        )
    if old_size == new_size:
        if proof:
            raise ConsistencyInvalid("trees of equal size need an empty consistency proof")
        if old_root != new_root:
            raise ConsistencyInvalid("two roots are claimed for one tree size")
        return
    if any(len(item) != HASH_BYTES for item in (old_root, new_root, *proof)):
        raise ConsistencyInvalid("consistency proof holds a hash that is not 32 bytes long")
    # RFC 9162 section 2.1.4.2. A perfect old tree is its own first hash and is left out.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    old_edge, new_edge = old_size - 1, new_size - 1
    while old_edge & 1:
        old_edge >>= 1
        new_edge >>= 1
    if not path:
        raise ConsistencyInvalid("consistency proof is empty")
    old_result = new_result = path[0]
    for sibling in path[1:]:
        if new_edge == 0:
            raise ConsistencyInvalid("consistency proof is too long")
        if old_edge & 1 or old_edge == new_edge:
            old_result = node_hash(sibling, old_result)
            new_result = node_hash(sibling, new_result)
            while old_edge and not old_edge & 1:
                old_edge >>= 1
                new_edge >>= 1
        else:
            new_result = node_hash(new_result, sibling)
        old_edge >>= 1
        new_edge >>= 1
    if new_edge != 0:
        raise ConsistencyInvalid("consistency proof is too short")
    if old_result != old_root:
        raise ConsistencyInvalid("consistency proof does not lead to the old root hash")
    if new_result != new_root:
        raise ConsistencyInvalid("consistency proof does not lead to the new root hash")


def _split(count: int) -> int:
    """The largest power of two smaller than `count` (> 1)."""
    return 1 << ((count - 1).bit_length() - 1)
