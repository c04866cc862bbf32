# SPDX-License-Identifier: Apache-2.0
"""Examples of paths, notes and checkpoints: those of the specifications, and close misses."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError, SignatureInvalid
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.integrate import Forgotten, GrowingTree, TileNodes
from countermark.core.tlog.merkle import EMPTY_ROOT, leaf_hash, root_hash
from countermark.core.tlog.note import NoteKey, NoteSignature, SignedNote
from countermark.core.tlog.tiles import (
    BundleName,
    TileName,
    parse_path,
    partial_bundle,
    partial_tiles,
    tile_of,
)

TEXT = b"log.example\n3\n" + b"A" * 43 + b"=\n"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (TileName(0, 5), "tile/0/005"),
        (TileName(1, 1234067, 17), "tile/1/x001/x234/067.p/17"),
        (TileName(63, 999, 255), "tile/63/999.p/255"),
        (BundleName("entries", 1000), "tile/entries/x001/000"),
        (BundleName("data", 0, 1), "tile/data/000.p/1"),
    ],
)
def test_paths(name: TileName | BundleName, path: str) -> None:
    assert name.path == path
    assert parse_path(path) == name


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/5",
        "tile/00/005",
        "tile/64/000",
        "tile/0/0005",
        "tile/0/x000/005",
        "tile/0/x1/005",
        "tile/0/001/005",
        "tile/0/005.p/0",
        "tile/0/005.p/256",
        "tile/0/005.p/01",
        "tile/0/005.p/",
        "tile/0/005/",
        "/tile/0/005",
        "tile/../005",
        "tile/0/٠٠٥",
        "tile/0/005\n",
        "tile/0" + "/x999" * 20 + "/000",
        "checkpoint",
    ],
)
def test_close_misses_are_no_paths(path: str) -> None:
    with pytest.raises(FormatError):
        parse_path(path)


def test_which_partials_a_tree_has() -> None:
    """The example of C2SP tlog-tiles: 70,000 leaves."""
    assert list(partial_tiles(70_000)) == [
        TileName(0, 273, 112),
        TileName(1, 1, 17),
        TileName(2, 0, 1),
    ]
    assert list(partial_tiles(256)) == [TileName(1, 0, 1)]
    assert list(partial_tiles(0)) == []
    assert partial_bundle("entries", 70_000) == BundleName("entries", 273, 112)
    assert partial_bundle("entries", 256) is None


def test_where_a_node_is() -> None:
    assert tile_of(0, 700) == (0, 2, 0)
    assert tile_of(7, 3) == (0, 1, 7)
    assert tile_of(8, 3) == (1, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"log.example\n3\n",
        TEXT[:-1],
        TEXT + b"\n",
        b"\n" + TEXT,
        TEXT.replace(b"\n3\n", b"\n03\n"),
        TEXT.replace(b"\n3\n", b"\n+3\n"),
        TEXT.replace(b"\n3\n", b"\n-3\n"),
        TEXT.replace(b"\n3\n", "\n٣\n".encode()),
        TEXT.replace(b"\n3\n", b"\n9223372036854775808\n"),
        TEXT.replace(b"=", b""),
        TEXT.replace(b"A=", b"B="),
        TEXT.replace(b"AAAA", b"", 1),
        TEXT + b"\xff\n",
        TEXT + b"x" * 70_000 + b"\n",
    ],
)
def test_checkpoints_that_are_none(text: bytes) -> None:
    with pytest.raises(FormatError):
        Checkpoint.parse(text)


def test_a_checkpoint_with_an_extension_line() -> None:
    """Rekor v1 wrote a time there until 1.3.5."""
    checkpoint = Checkpoint.parse(TEXT + b"Timestamp: 1689177396617352539\n")
    assert checkpoint.extensions == ("Timestamp: 1689177396617352539",)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        TEXT,
        TEXT + b"\n",
        TEXT + b"\n- name AAAAAAAA\n",
        TEXT + "\n— name AAAAAAAA".encode(),
        TEXT + "\n— name AAAAAA==\n".encode(),  # no signature behind the hash
        TEXT + "\n— na+me AAAAAAAA\n".encode(),
        TEXT + "\n—  AAAAAAAA\n".encode(),
        TEXT + "\n— a\u2003b AAAAAAAA\n".encode(),
        TEXT + "\n— name AAAAAAAA \n".encode(),
        TEXT + "\n— name AAAAAAA\n".encode(),
        TEXT + b"\r" + "\n— name AAAAAAAA\n".encode(),
        TEXT + "\n— name AAAAAAAA\n\n".encode(),
        TEXT + ("\n" + "— name AAAAAAAA\n" * 200).encode(),
        TEXT + ("\n— name " + "AAAA" * 20_000 + "\n").encode(),
        b"\xff" + TEXT + "\n— name AAAAAAAA\n".encode(),
    ],
)
def test_notes_that_are_none(note: bytes) -> None:
    with pytest.raises(FormatError):
        SignedNote.parse(note)


def test_the_last_blank_line_ends_the_text() -> None:
    note = SignedNote.parse("a\n\nb\n\n— name AAAAAAAA\n".encode())
    assert note.text == b"a\n\nb\n"
    assert note.signatures == (NoteSignature("name", bytes(4), bytes(2)),)


def _ecdsa_note(*, prefix: tuple[NoteSignature, ...] = ()) -> tuple[SignedNote, NoteKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    note_key = NoteKey.for_rekor_v1("log.example", PublicKey.from_spki(spki))
    line = NoteSignature("log.example", note_key.key_hash, key.sign(TEXT, ec.ECDSA(SHA256())))
    return SignedNote(TEXT, (*prefix, line)), note_key


def test_a_key_is_found_by_name_and_hash_in_any_place() -> None:
    witness = NoteSignature("witness.example", bytes(4), bytes(72))
    note, key = _ecdsa_note(prefix=(witness,))
    SignedNote.parse(note.serialize()).verify(key)
    renamed = NoteSignature("other", key.key_hash, note.signatures[1].signature)
    with pytest.raises(SignatureInvalid, match="no signature by"):
        SignedNote(TEXT, (witness, renamed)).verify(key)


def test_one_bad_line_of_the_key_spoils_the_note() -> None:
    note, key = _ecdsa_note()
    bad = NoteSignature(key.name, key.key_hash, bytes(64))
    for lines in ((bad, *note.signatures), (*note.signatures, bad)):
        with pytest.raises(SignatureInvalid):
            SignedNote(TEXT, lines).verify(key)


def test_ed25519_keys_are_named_as_the_specification_says() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    note_key = NoteKey.for_key("log.example", PublicKey.from_spki(spki))
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    text = f"log.example+{note_key.key_hash.hex()}+{b64encode(bytes([1]) + raw).decode()}"
    assert NoteKey.parse(text) == note_key
    assert NoteKey.for_rekor_v1("log.example", note_key.public_key).key_hash != note_key.key_hash


def test_an_ecdsa_key_is_named_by_its_spki() -> None:
    _, key = _ecdsa_note()
    assert NoteKey.for_key("log.example", key.public_key) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+33d7b496",
        "name+33D7B496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
        "name+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
        "a b+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
        "example.com/log/testdata+33d7b496+AuHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
    ],
)
def test_verifier_keys_that_are_none(text: str) -> None:
    with pytest.raises(FormatError):
        NoteKey.parse(text)


def test_an_empty_tree() -> None:
    view = GrowingTree().view()
    assert (view.tree_size, view.root_hash) == (0, EMPTY_ROOT)
    assert root_hash(0, view.node) == EMPTY_ROOT
    with pytest.raises(ValueError, match="no leaf"):
        view.inclusion_proof(0)
    with pytest.raises(ValueError, match="no node"):
        view.node(0, 0)


def test_forgotten_nodes_say_so() -> None:
    tree = GrowingTree()
    tree.append(leaf_hash(b"%d" % number) for number in range(700))
    before = tree.view()
    tree.forget(513)
    view = tree.view()
    for ask in (
        lambda: view.node(0, 511),
        lambda: view.inclusion_proof(511),
        lambda: view.tile(TileName(0, 1)),
    ):
        with pytest.raises(Forgotten):
            ask()
    assert view.node(0, 512) == before.node(0, 512)
    assert view.node(8, 0) == before.node(8, 0)
    assert before.node(0, 0) == leaf_hash(b"0")  # an older view keeps what it shows
    for name in (TileName(0, 2, 189), TileName(1, 0, 3), TileName(2, 0, 1)):
        with pytest.raises(ValueError, match="has no tile"):
            view.tile(name)


def test_a_tree_needs_its_whole_edge() -> None:
    with pytest.raises(FormatError):
        GrowingTree(3, {0: [bytes(32)] * 2})
    with pytest.raises(FormatError):
        GrowingTree(257, {0: [bytes(32)]})


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), bytes(257 * 32)])
def test_tiles_of_odd_length(data: bytes) -> None:
    with pytest.raises(FormatError):
        TileNodes(data)
