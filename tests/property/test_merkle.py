# SPDX-License-Identifier: Apache-2.0
"""Laws of Merkle trees: proofs built by one half of the module satisfy the other half."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import ConsistencyInvalid, InclusionInvalid
from countermark.core.tlog import merkle
from countermark.core.tlog.integrate import GrowingTree, TileNodes
from countermark.core.tlog.tiles import TileName, partial_tiles

_HASHES = st.binary(min_size=32, max_size=32)
_SIZES = st.integers(min_value=1, max_value=1500)


def _leaf(index: int) -> bytes:
    return merkle.leaf_hash(str(index).encode())


def _root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(_root(leaves[:split]), _root(leaves[split:]))


def _path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*_path(index, leaves[:split]), _root(leaves[split:])]
    return [*_path(index - split, leaves[split:]), _root(leaves[:split])]


def _subproof(size: int, leaves: Sequence[bytes], *, known: bool) -> list[bytes]:
    """RFC 6962 section 2.1.2, word for word."""
    if size == len(leaves):
        return [] if known else [_root(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if size <= split:
        return [*_subproof(size, leaves[:split], known=known), _root(leaves[split:])]
    return [*_subproof(size - split, leaves[split:], known=False), _root(leaves[:split])]


@given(_SIZES, st.data())
def test_proofs_are_those_of_the_rfc(size: int, data: st.DataObject) -> None:
    leaves = [_leaf(index) for index in range(size)]
    tree = GrowingTree()
    tree.append(leaves)
    view = tree.view()
    assert view.root_hash == _root(leaves) == merkle.root_hash(size, view.node)
    index = data.draw(st.integers(0, size - 1))
    proof = view.inclusion_proof(index)
    assert list(proof) == _path(index, leaves)
    assert proof == merkle.inclusion_proof(index, size, view.node)
    merkle.verify_inclusion(leaves[index], index, size, proof, view.root_hash)
    old = data.draw(st.integers(1, size))
    consistency = merkle.consistency_proof(old, size, view.node)
    assert list(consistency) == _subproof(old, leaves, known=True)
    merkle.verify_consistency(old, size, _root(leaves[:old]), view.root_hash, consistency)


@given(_SIZES, st.data())
def test_wrong_inclusion_proofs_are_refused(size: int, data: st.DataObject) -> None:
    tree = GrowingTree()
    tree.append(map(_leaf, range(size)))
    view = tree.view()
    index = data.draw(st.integers(0, size - 1))
    proof = list(view.inclusion_proof(index))
    other = data.draw(st.integers(-2, size + 2).filter(lambda value: value != index))
    with pytest.raises(InclusionInvalid):
        merkle.verify_inclusion(_leaf(index), other, size, proof, view.root_hash)
    with pytest.raises(InclusionInvalid):
        merkle.verify_inclusion(_leaf(index), index, size, [*proof, _leaf(0)], view.root_hash)
    for place in range(len(proof)):
        damaged = bytes((proof[place][0] ^ 1,)) + proof[place][1:]
        changed = [*proof[:place], damaged, *proof[place + 1 :]]
        with pytest.raises(InclusionInvalid):
            merkle.verify_inclusion(_leaf(index), index, size, changed, view.root_hash)
        with pytest.raises(InclusionInvalid):
            merkle.verify_inclusion(
                _leaf(index), index, size, proof[:place] + proof[place + 1 :], view.root_hash
            )


@given(st.integers(2, 600), st.data())
def test_wrong_consistency_proofs_are_refused(size: int, data: st.DataObject) -> None:
    leaves = [_leaf(index) for index in range(size)]
    tree = GrowingTree()
    tree.append(leaves)
    view = tree.view()
    old = data.draw(st.integers(1, size - 1))
    proof = list(merkle.consistency_proof(old, size, view.node))
    old_root = _root(leaves[:old])
    with pytest.raises(ConsistencyInvalid):
        merkle.verify_consistency(old, size, _leaf(size), view.root_hash, proof)
    with pytest.raises(ConsistencyInvalid):
        merkle.verify_consistency(old, size, old_root, _leaf(size), proof)
    with pytest.raises(ConsistencyInvalid):
        merkle.verify_consistency(old, size, old_root, view.root_hash, [*proof, _leaf(0)])
    for place in range(len(proof)):
        with pytest.raises(ConsistencyInvalid):
            merkle.verify_consistency(
                old, size, old_root, view.root_hash, proof[:place] + proof[place + 1 :]
            )


@given(
    st.integers(-(2**64), 2**64),
    st.integers(-(2**64), 2**64),
    st.lists(st.binary(max_size=40), max_size=70),
    _HASHES,
)
def test_garbage_proofs_raise_only_our_errors(
    index: int, size: int, proof: list[bytes], root: bytes
) -> None:
    with pytest.raises(InclusionInvalid):
        merkle.verify_inclusion(b"", index, size, proof, root)
    if index != size:
        with pytest.raises(ConsistencyInvalid):
            merkle.verify_consistency(index, size, root, b"", proof)


@given(_SIZES, st.lists(st.integers(1, 400), max_size=5), st.integers(0, 2000))
def test_a_tree_restarts_from_its_edge(size: int, steps: list[int], forget: int) -> None:
    """However it grew, forgot, failed and restarted, a tree is the tree of its leaves."""
    grown = GrowingTree()
    grown.append(map(_leaf, range(size)))
    for step in steps:
        edge = {}
        for name in partial_tiles(grown.size):
            data = grown.view().tile(name)
            edge[name.level] = [data[at : at + 32] for at in range(0, len(data), 32)]
        grown = GrowingTree(grown.size, edge)
        before = grown.size
        root = grown.view().root_hash
        grown.append([b"\xee" * 32] * step)
        grown.truncate(before)
        assert grown.view().root_hash == root
        grown.append(map(_leaf, range(before, before + step)))
        grown.forget(min(forget, grown.size))
    whole = GrowingTree()
    whole.append(map(_leaf, range(grown.size)))
    assert grown.view().root_hash == whole.view().root_hash
    last = grown.size - 1
    assert grown.view().inclusion_proof(last) == whole.view().inclusion_proof(last)


@given(st.integers(0, 8), st.data())
def test_nodes_inside_a_tile(row: int, data: st.DataObject) -> None:
    tree = GrowingTree()
    tree.append(map(_leaf, range(256)))
    nodes = TileNodes(tree.view().tile(TileName(0, 0)))
    index = data.draw(st.integers(0, (256 >> row) - 1))
    assert nodes.node(row, index) == tree.view().node(row, index)
