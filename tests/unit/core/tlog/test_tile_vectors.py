# SPDX-License-Identifier: Apache-2.0
"""A published tiled log of 15 entries, a checkpoint for each size (transparency-dev/tessera)."""

from pathlib import Path

import pytest

from countermark.core.errors import SignatureInvalid
from countermark.core.tlog.bundles import ENTRIES
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.integrate import GrowingTree, split_hashes
from countermark.core.tlog.merkle import (
    consistency_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from countermark.core.tlog.note import NoteKey, SignedNote
from countermark.core.tlog.tiles import BundleName, TileName, changed_bundles, changed_tiles
from tests.support.vectors import vectors

pytestmark = pytest.mark.vectors

KEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"


@pytest.fixture
def folder() -> Path:
    return vectors("tiles")


@pytest.fixture
def records(folder: Path) -> list[bytes]:
    return ENTRIES.split((folder / BundleName("entries", 0, 15).path).read_bytes())


def _checkpoint(data: bytes) -> Checkpoint:
    note = SignedNote.parse(data)
    note.verify(NoteKey.parse(KEY))
    assert note.serialize() == data
    return Checkpoint.parse(note.text)


def test_entries(records: list[bytes]) -> None:
    assert len(records) == 15
    assert records[0] == b"one"
    assert records[14] == b"fivten"


def test_every_checkpoint_is_the_root_of_its_entries(folder: Path, records: list[bytes]) -> None:
    roots: list[bytes] = []
    for size in range(16):
        checkpoint = _checkpoint((folder / f"checkpoint.{size}").read_bytes())
        tree = GrowingTree()
        tree.append(map(leaf_hash, records[:size]))
        assert checkpoint.tree_size == size
        assert checkpoint.origin == "example.com/log/testdata"
        assert checkpoint.root_hash == tree.view().root_hash
        roots.append(checkpoint.root_hash)
    assert _checkpoint((folder / "checkpoint").read_bytes()).root_hash == roots[15]
    view = tree.view()
    for index in range(15):
        proof = view.inclusion_proof(index)
        verify_inclusion(leaf_hash(records[index]), index, 15, proof, roots[15])
    for old in range(1, 16):
        proof = consistency_proof(old, 15, view.node)
        verify_consistency(old, 15, roots[old], roots[15], proof)


def test_tiles_and_bundles_are_ours_byte_for_byte(folder: Path, records: list[bytes]) -> None:
    """What we would publish after each entry, at the paths where we would publish it."""
    tree = GrowingTree()
    for size in range(1, 16):
        tree.append([leaf_hash(records[size - 1])])
        [tile] = changed_tiles(size - 1, size)
        assert tile == TileName(0, 0, size)
        assert (folder / tile.path).read_bytes() == tree.view().tile(tile)
        [bundle] = changed_bundles("entries", size - 1, size)
        framed = b"".join(map(ENTRIES.frame, records[:size]))
        assert (folder / bundle.path).read_bytes() == framed


def test_a_log_goes_on_from_published_tiles(folder: Path, records: list[bytes]) -> None:
    edge = {0: split_hashes((folder / TileName(0, 0, 11).path).read_bytes())}
    tree = GrowingTree(11, edge)
    tree.append(map(leaf_hash, records[11:]))
    assert tree.view().root_hash == _checkpoint((folder / "checkpoint").read_bytes()).root_hash


def test_another_key_and_another_text_do_not_verify(folder: Path) -> None:
    data = (folder / "checkpoint").read_bytes()
    key = NoteKey.parse(KEY)
    with pytest.raises(SignatureInvalid):
        SignedNote.parse(data.replace(b"\n15\n", b"\n14\n")).verify(key)
    with pytest.raises(SignatureInvalid):
        SignedNote.parse(data).verify(NoteKey("example.com/other", key.key_hash, key.public_key))
    with pytest.raises(SignatureInvalid):
        SignedNote.parse(data).verify(NoteKey(key.name, bytes(4), key.public_key))
