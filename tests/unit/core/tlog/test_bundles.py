# SPDX-License-Identifier: Apache-2.0
"""Entry bundles: records behind their lengths, and the hashes of many records at once."""

import pytest

from countermark.core.errors import FormatError
from countermark.core.tlog.bundles import ENTRIES, ENTRIES32, LengthPrefixed
from countermark.core.tlog.merkle import leaf_hash

RECORDS = [b"one", b"", b"three" * 100, b"\x00\x00\x00\x01"]


@pytest.mark.parametrize("codec", [ENTRIES, ENTRIES32])
def test_a_bundle_is_its_framed_records(codec: LengthPrefixed) -> None:
    bundle = b"".join(map(codec.frame, RECORDS))
    assert codec.split(bundle) == RECORDS
    assert codec.split(b"") == []
    assert bundle.startswith((3).to_bytes(codec.length_bytes) + b"one")


@pytest.mark.parametrize("codec", [ENTRIES, ENTRIES32])
def test_a_bundle_that_ends_inside_a_record(codec: LengthPrefixed) -> None:
    bundle = codec.frame(b"one") + codec.frame(b"two")
    whole = {0, len(bundle) // 2}
    for length in set(range(len(bundle))) - whole:
        with pytest.raises(FormatError, match="ends inside"):
            codec.split(bundle[:length])


def test_a_record_longer_than_a_bundle_may_hold() -> None:
    short = LengthPrefixed("entries", 2, 4)
    with pytest.raises(FormatError, match="5 bytes"):
        short.split(ENTRIES.frame(b"12345"))
    with pytest.raises(FormatError, match="5 bytes"):
        short.frame(b"12345")


@pytest.mark.parametrize("codec", [ENTRIES, ENTRIES32])
def test_leaf_hashes_of_many_records(codec: LengthPrefixed) -> None:
    expected = [leaf_hash(record) for record in RECORDS]
    assert codec.leaf_hashes(RECORDS) == expected == list(map(codec.leaf_hash, RECORDS))
