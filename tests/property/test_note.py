# SPDX-License-Identifier: Apache-2.0
"""Signed notes and checkpoints: round trips, and nothing but FormatError for garbage."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import FormatError
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.note import NoteKey, NoteSignature, SignedNote, check_name

_LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20)
_NAMES = st.from_regex(r"[a-z0-9./-]{1,20}", fullmatch=True)
_CHECKPOINTS = st.builds(
    Checkpoint,
    _LINES,
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(_LINES, max_size=3).map(tuple),
)
_SIGNATURES = st.builds(
    NoteSignature,
    _NAMES,
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=1, max_size=80),
)
_NOTES = st.builds(
    SignedNote,
    _CHECKPOINTS.map(Checkpoint.serialize),
    st.lists(_SIGNATURES, min_size=1, max_size=5).map(tuple),
)


@given(_CHECKPOINTS)
def test_checkpoints_round_trip(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(checkpoint.serialize()) == checkpoint


@given(_NOTES)
def test_notes_round_trip(note: SignedNote) -> None:
    assert SignedNote.parse(note.serialize()) == note


@given(st.binary(max_size=200))
def test_garbage_checkpoint(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert Checkpoint.parse(data).serialize() == data


@given(_CHECKPOINTS, st.integers(0, 200), st.binary(max_size=3))
def test_a_checkpoint_has_one_spelling(checkpoint: Checkpoint, at: int, patch: bytes) -> None:
    data = checkpoint.serialize()
    data = data[:at] + patch + data[at + 1 :]
    with contextlib.suppress(FormatError):
        assert Checkpoint.parse(data).serialize() == data


@given(st.binary(max_size=200) | _NOTES.map(SignedNote.serialize), st.integers(0, 300), st.binary())
def test_a_note_has_one_spelling(data: bytes, at: int, patch: bytes) -> None:
    data = data[:at] + patch + data[at + 1 :]
    with contextlib.suppress(FormatError):
        assert SignedNote.parse(data).serialize() == data


@given(st.text(max_size=40))
def test_names_never_break_a_line(name: str) -> None:
    with contextlib.suppress(FormatError):
        check_name(name)
        assert name == name.strip()
        assert len(name.split()) == 1


@given(st.text(max_size=100))
def test_garbage_verifier_keys(text: str) -> None:
    with contextlib.suppress(FormatError):
        NoteKey.parse(text)
