# SPDX-License-Identifier: Apache-2.0
"""A backup's manifest is read as it was written; anything else is a typed refusal."""

from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from countermark.app.backup_files import BackedUpFile, BackedUpLog, Manifest
from countermark.core.errors import FormatError

_PART = st.text(min_size=1, max_size=12).filter(
    lambda part: not {"/", "\0"} & set(part) and part not in (".", "..")
)
_HASH = st.binary(min_size=32, max_size=32).map(bytes.hex)
_SIZE = st.integers(0, 2**62)
_PATH = st.lists(_PART, min_size=1, max_size=4).map(lambda parts: "/".join(("keys", *parts)))
_TEXT = st.text(max_size=40)
_FILES = st.lists(
    st.builds(BackedUpFile, _PATH, _SIZE, _HASH), max_size=8, unique_by=lambda file: file.path
)
MANIFESTS = st.builds(
    Manifest,
    layout=st.integers(1, 99),
    url=_TEXT,
    created=st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 2)),
    offline=st.booleans(),
    verified=st.booleans(),
    logs=st.lists(st.builds(BackedUpLog, _TEXT, _TEXT, _SIZE, _HASH, _SIZE, _TEXT), max_size=3).map(
        tuple
    ),
    files=_FILES.map(tuple),
)


@given(MANIFESTS)
def test_round_trip(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.serialize()) == manifest


@given(st.binary(max_size=300))
def test_garbage_is_a_format_error(data: bytes) -> None:
    with suppress(FormatError):
        Manifest.parse(data)


@given(MANIFESTS, st.data())
def test_damage_is_a_format_error_or_another_manifest(
    manifest: Manifest, data: st.DataObject
) -> None:
    text = bytearray(manifest.serialize())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FormatError):
        Manifest.parse(bytes(text))
