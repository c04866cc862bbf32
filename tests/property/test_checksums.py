# SPDX-License-Identifier: Apache-2.0
"""Checksum files: what we write we read; whatever else comes is a listing or a FormatError."""

from hypothesis import given
from hypothesis import strategies as st

from countermark.client.checksums import parse_checksums, path_of, serialize_checksums
from countermark.core.errors import FormatError, RequestRejected

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
digests = st.binary(min_size=32, max_size=32) | st.binary(min_size=64, max_size=64)
pieces = st.sampled_from(
    [
        *(
            "ab" * 32,
            "cd" * 64,
            "a" * 40,
            "  ",
            " *",
            " ",
            "\\",
            "\n",
            "\r",
            "#",
            "SHA256 (",
            ") = ",
        ),
        *(") = ", "..", "/", "./", "name", "C:", "\\n", "\\\\", "\0", "é", "-", "(", ")", "MD5 ("),
    ]
)


@given(st.lists(st.tuples(names, digests), min_size=1, max_size=5, unique_by=lambda e: e[0]))
def test_listings_round_trip(entries: list[tuple[str, bytes]]) -> None:
    try:
        data = serialize_checksums(entries)
    except RequestRejected:
        return
    found = parse_checksums(data)
    assert [(entry.name, *entry.digests.values()) for entry in found] == entries


@given(st.binary(max_size=200) | st.lists(pieces, max_size=12).map("".join).map(str.encode))
def test_anything_else_is_a_listing_or_refused(data: bytes) -> None:
    try:
        entries = parse_checksums(data)
    except FormatError:
        return
    assert entries
    for entry in entries:
        assert entry.digests
        path = path_of(entry, "/folder/LIST")
        assert path.startswith("/folder/")
        assert "/../" not in f"{path}/"
