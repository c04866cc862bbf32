# SPDX-License-Identifier: Apache-2.0
"""DER: what we write we read back, one spelling only, and FormatError for everything else."""

import contextlib
from datetime import UTC, datetime

import pytest
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.crypto import der
from countermark.core.errors import FormatError

WHAT = "test"
ARCS = st.lists(st.integers(0, 2**64), min_size=1, max_size=8)
OIDS = st.builds(
    lambda first, second, rest: ".".join(map(str, (first, second, *rest))),
    st.integers(0, 2),
    st.integers(0, 39),
    ARCS,
)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)).map(
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)
TAGS = st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F)


def parse(data: bytes) -> der.Element:
    return der.decode(data, WHAT)


@given(TAGS, st.binary(max_size=40) | st.integers(0, 70_000).map(bytes))
def test_elements_round_trip(tag: int, content: bytes) -> None:
    data = der.encode(tag, content)
    assert parse(data) == der.Element(tag, content, data)
    reader = der.Reader(data + b"rest", WHAT)
    assert reader.content(tag) == content
    assert der.Reader(data, WHAT).read(tag).encoded == data
    assert der.header(data, 0, len(data), WHAT) == (tag, len(data) - len(content), len(data))


@given(st.integers(-(2**200), 2**200))
def test_integers_round_trip(value: int) -> None:
    data = der.integer(value)
    assert der.decode_integer(parse(data), WHAT) == value
    assert der.Reader(data, WHAT).integer() == value


@given(OIDS)
def test_object_identifiers_round_trip(dotted: str) -> None:
    assert der.decode_oid(parse(der.oid(dotted)), WHAT) == dotted
    with contextlib.suppress(ValueError):  # it bounds arcs to 128 bits
        assert ObjectIdentifier(dotted).dotted_string == dotted


@given(TIMES)
def test_times_round_trip(time: datetime) -> None:
    assert der.decode_time(parse(der.x509_time(time)), WHAT) == time
    assert der.decode_time(parse(der.generalized_time(time)), WHAT) == time


@given(st.binary(max_size=60))
def test_an_element_has_one_spelling(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        element = parse(data)
        assert der.encode(element.tag, element.content) == data


@given(st.binary(max_size=40), st.sampled_from([der.INTEGER, der.OID, der.BIT_STRING]))
def test_contents_have_one_spelling(content: bytes, tag: int) -> None:
    element = parse(der.encode(tag, content))
    with contextlib.suppress(FormatError):
        if tag == der.INTEGER:
            assert der.integer(der.decode_integer(element, WHAT)) == element.encoded
        elif tag == der.OID:
            assert der.oid(der.decode_oid(element, WHAT)) == element.encoded
        else:
            assert der.bit_string(der.decode_bit_string(element, WHAT)) == element.encoded


@given(st.binary(max_size=20) | st.text("0123456789Z.+-", max_size=20).map(str.encode))
def test_times_have_few_spellings(content: bytes) -> None:
    for tag in (der.UTC_TIME, der.GENERALIZED_TIME):
        with contextlib.suppress(FormatError):
            time = der.decode_time(parse(der.encode(tag, content)), WHAT)
            written = der.generalized_time(time) if tag == der.GENERALIZED_TIME else None
            fraction = b"." in content
            assert fraction or written in (None, der.encode(tag, content))


def whole(reader: der.Reader) -> None:
    reader.content(0x30)
    reader.end()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"\x30\x81\x01\x00",
        b"\x30\x82\x00\x80" + bytes(128),
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x1f\x01\x00",
        b"\x30\x02\x00",
        b"\x05\x00\x00",
    ],
)
def test_other_encodings_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse(data)
    with pytest.raises(FormatError):
        whole(der.Reader(data, WHAT))


@pytest.mark.parametrize(
    ("tag", "content", "expected"),
    [
        (der.UTC_TIME, b"491231235959Z", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (der.UTC_TIME, b"500101000000Z", datetime(1950, 1, 1, tzinfo=UTC)),
        (der.GENERALIZED_TIME, b"20500101000000Z", datetime(2050, 1, 1, tzinfo=UTC)),
        (der.GENERALIZED_TIME, b"20260304050607.25Z", datetime(2026, 3, 4, 5, 6, 7, 250_000, UTC)),
    ],
)
def test_centuries_and_fractions(tag: int, content: bytes, expected: datetime) -> None:
    assert der.decode_time(parse(der.encode(tag, content)), WHAT) == expected


@pytest.mark.parametrize(
    "content", [b"20260304050607.0Z", b"20260304050607.10Z", b"20261301000000Z", b"20260304050660Z"]
)
def test_impossible_times_are_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        der.decode_time(parse(der.encode(der.GENERALIZED_TIME, content)), WHAT)


def test_readers_know_their_end() -> None:
    reader = der.Reader(der.integer(5) + der.boolean(True), WHAT)
    assert reader
    assert reader.peek() == der.INTEGER
    assert reader.optional(der.OID) is None
    assert reader.optional(der.INTEGER) is not None
    with pytest.raises(FormatError, match="trailing"):
        reader.end()
    with pytest.raises(FormatError, match="tag is 0x01 instead of 0x30"):
        reader.sequence()
    assert der.Reader(b"", WHAT).peek() == -1
    assert der.Reader(b"", WHAT).optional(0x30) is None


def test_long_object_identifiers_are_refused() -> None:
    with pytest.raises(FormatError, match="malformed"):
        der.decode_oid(parse(der.encode(der.OID, b"\x2a" * 129)), WHAT)
