# SPDX-License-Identifier: Apache-2.0
"""Tile paths and entry bundles: round trips, and nothing but FormatError for garbage."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import FormatError
from countermark.core.tlog.bundles import ENTRIES, ENTRIES32, LengthPrefixed
from countermark.core.tlog.tiles import (
    BundleName,
    TileName,
    changed_bundles,
    changed_tiles,
    parse_path,
    partial_tiles,
    widest,
)

_INDEXES = st.integers(0, 2**55 - 1)
_WIDTHS = st.integers(1, 256)
_NAMES = st.builds(TileName, st.integers(0, 63), _INDEXES, _WIDTHS) | st.builds(
    BundleName, st.sampled_from(["entries", "entries32", "data"]), _INDEXES, _WIDTHS
)
_CODECS = st.sampled_from([ENTRIES, ENTRIES32])


@given(_NAMES)
def test_paths_round_trip(name: TileName | BundleName) -> None:
    assert parse_path(name.path) == name


@given(
    st.text(max_size=80)
    | st.from_regex(r"tile/[0-9a-z]{1,3}/(x[0-9]{3}/){0,3}[0-9]{1,3}(\.p/[0-9]{1,4})?")
)
def test_a_path_has_one_spelling(text: str) -> None:
    with contextlib.suppress(FormatError):
        assert parse_path(text).path == text


@given(st.integers(0, 300_000), st.integers(0, 3000))
def test_changed_tiles_are_those_that_the_old_tree_lacks(old: int, more: int) -> None:
    new = old + more
    changed = set(changed_tiles(old, new))
    for name in changed:
        assert name.width == widest(name.level, name.index, new)
        assert widest(name.level, name.index, old) < name.width
    assert set(partial_tiles(new)) - changed <= set(partial_tiles(old))
    bundles = list(changed_bundles("entries", old, new))
    covered = {leaf for bundle in bundles for leaf in range(bundle.start, bundle.end)}
    assert set(range(old, new)) <= covered
    assert [(b.index, b.width) for b in bundles] == [
        (t.index, t.width) for t in sorted(changed, key=lambda t: t.index) if t.level == 0
    ]


@given(_CODECS, st.lists(st.binary(max_size=300), max_size=40))
def test_bundles_round_trip(codec: LengthPrefixed, records: list[bytes]) -> None:
    assert codec.split(b"".join(map(codec.frame, records))) == records


@given(_CODECS, st.binary(max_size=400))
def test_garbage_bundles(codec: LengthPrefixed, bundle: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert b"".join(map(codec.frame, codec.split(bundle))) == bundle


def test_a_record_that_does_not_fit_is_refused() -> None:
    with pytest.raises(FormatError):
        ENTRIES.frame(bytes(65_536))
    assert ENTRIES32.split(ENTRIES32.frame(bytes(65_536))) == [bytes(65_536)]
    with pytest.raises(FormatError):
        ENTRIES32.split((2**24 + 1).to_bytes(4) + bytes(2**24 + 1))
