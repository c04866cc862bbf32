# SPDX-License-Identifier: Apache-2.0
"""Integers and vectors of the TLS presentation language."""

import pytest

from countermark.core.ct.tls import TLSReader, uint, vector
from countermark.core.errors import FormatError


def test_integers_are_big_endian_and_of_fixed_size() -> None:
    assert uint(258, 3, "x") == b"\x00\x01\x02"
    assert TLSReader(b"\x00\x01\x02", "x").uint(3) == 258


@pytest.mark.parametrize("value", [256, -1])
def test_integer_that_does_not_fit(value: int) -> None:
    with pytest.raises(FormatError, match="does not fit"):
        uint(value, 1, "x")


def test_vectors_have_their_length_in_front() -> None:
    assert vector(b"abc", 2, "x") == b"\x00\x03abc"
    reader = TLSReader(b"\x00\x03abc\x00", "x")
    assert reader.vector(2) == b"abc"
    assert reader.position == 5
    assert reader.vector(1) == b""
    reader.end()


def test_vector_that_is_too_long() -> None:
    with pytest.raises(FormatError):
        vector(bytes(256), 1, "x")


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x02a"])
def test_buffers_that_end_early(data: bytes) -> None:
    with pytest.raises(FormatError, match="x: ends early"):
        TLSReader(data, "x").vector(2)


def test_trailing_bytes() -> None:
    reader = TLSReader(b"a", "x")
    with pytest.raises(FormatError, match="trailing"):
        reader.end()
