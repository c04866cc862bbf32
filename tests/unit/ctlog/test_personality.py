# SPDX-License-Identifier: Apache-2.0
"""Leaves, SCTs and tree heads that a CT log makes, and what its auditor says of them."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from countermark.core.ct.leaf import CertificateEntry
from countermark.core.ct.sct import SignedCertificateTimestamp
from countermark.core.ct.static_ct import DATA_TILES, TileLeaf
from countermark.core.errors import CountermarkError, FormatError, SettingsError
from countermark.core.tlog.note import NoteSignature, SignedNote
from countermark.ctlog.auditor import CTAuditor, tree_head_signature
from countermark.ctlog.personality import CertificateSubmission, CTPersonality
from countermark.drivers.keys.file import FileSigner
from countermark.ports.log_store import EntryRow, Head
from countermark.tilelog.personality import Leaf, Submission
from tests.support.authority import ORIGIN, PrivateKey

ENTRY = CertificateEntry(bytes(range(32)), b"TBS")
ROOT = bytes(range(100, 132))
TIME = 1_800_000_000_123
SIGNER = FileSigner(ec.generate_private_key(ec.SECP256R1()))


def finalise(signer: FileSigner, time_ms: int = TIME) -> Leaf:
    payload = CertificateSubmission(ENTRY, b"PRECERT", (ROOT,))
    return CTPersonality(ORIGIN, signer).finalise(Submission(ENTRY.identity, payload), 7, time_ms)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(ec.generate_private_key(ec.SECP256R1()), 3), (rsa.generate_private_key(65537, 2048), 1)],
)
def test_leaf(key: PrivateKey, algorithm: int) -> None:
    signer = FileSigner(key)
    leaf = finalise(signer)
    stored = TileLeaf.parse(leaf.record)
    assert stored.timestamped.entry == ENTRY
    assert stored.timestamped.timestamp_ms == TIME
    assert (stored.pre_certificate, stored.issuers) == (b"PRECERT", (ROOT,))
    assert leaf.leaf_hash == DATA_TILES.leaf_hash(leaf.record)
    assert leaf.search_keys == (leaf.leaf_hash,)
    sct = SignedCertificateTimestamp.parse(leaf.promise)
    assert (sct.hash_alg, sct.sig_alg, sct.extensions) == (4, algorithm, b"")
    assert (sct.log_id, sct.timestamp_ms) == (signer.public_key.key_id, TIME)
    sct.verify(signer.public_key, stored.timestamped.merkle_tree_leaf())


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()]
)
def test_keys_that_scts_cannot_be_signed_with(key: PrivateKey) -> None:
    with pytest.raises(SettingsError, match="SHA-256"):
        CTPersonality(ORIGIN, FileSigner(key))


def auditor() -> CTAuditor:
    return CTAuditor(ORIGIN, SIGNER.public_key)


def head(**changes: object) -> Head:
    signed = CTPersonality(ORIGIN, SIGNER).sign_head(3, ROOT, TIME)
    fields = {"tree_size": 3, "root_hash": ROOT, "time_ms": TIME, "signed": signed, **changes}
    return Head(**fields)  # type: ignore[arg-type]


def test_head() -> None:
    auditor().check_head(head())
    other = FileSigner(ec.generate_private_key(ec.SECP256R1()))
    note = SignedNote.parse(head().signed)
    (line,) = note.signatures
    damaged = NoteSignature(line.name, line.key_hash, line.signature[:-1] + b"\x00")
    for wrong in (
        head(tree_size=4),
        head(root_hash=bytes(32)),
        head(time_ms=TIME + 1),
        head(signed=CTPersonality(ORIGIN, other).sign_head(3, ROOT, TIME)),
        head(signed=CTPersonality("other", SIGNER).sign_head(3, ROOT, TIME)),
        head(signed=SignedNote(note.text, (damaged,)).serialize()),
        head(signed=b"nothing"),
    ):
        with pytest.raises(CountermarkError):
            auditor().check_head(wrong)


def test_witness_lines_are_read_past() -> None:
    note = SignedNote.parse(head().signed)
    witness = NoteSignature("witness.example", b"abcd", b"signature")
    both = SignedNote(note.text, (witness, *note.signatures)).serialize()
    log_id = SIGNER.public_key.key_id
    assert tree_head_signature(both, ORIGIN, log_id)[0] == TIME
    with pytest.raises(FormatError, match="no signature by"):
        tree_head_signature(SignedNote(note.text, (witness,)).serialize(), ORIGIN, log_id)


def test_promise() -> None:
    leaf = finalise(SIGNER)
    auditor().check_promise(leaf.record, EntryRow(7, TIME, leaf.promise))
    later = finalise(SIGNER, TIME + 1)
    other = finalise(FileSigner(ec.generate_private_key(ec.SECP256R1())))
    for row in (
        EntryRow(7, TIME + 1, leaf.promise),
        EntryRow(7, TIME, later.promise),
        EntryRow(7, TIME, other.promise),
        EntryRow(7, TIME, b""),
        EntryRow(7, TIME, leaf.promise[:-1] + bytes((leaf.promise[-1] ^ 1,))),
    ):
        with pytest.raises(CountermarkError):
            auditor().check_promise(leaf.record, row)
