# SPDX-License-Identifier: Apache-2.0
import pytest

from countermark.core.bundle.bundle import InclusionProof, TransparencyLogEntry
from countermark.core.cms.entry import encode_entry, parse_entry
from countermark.core.errors import FormatError

PROOF = InclusionProof(2, b"r" * 32, 3, (b"a" * 32, b"b" * 32), "origin\n3\n…\n")
ENTRY = TransparencyLogEntry(
    2**40, b"l" * 32, "hashedrekord", "0.0.1", 1700000000, b"promise", PROOF, b""
)
# By the protobuf runtime of another language: log_index 5, log id of 32 zeros, kind "k" of
# version "1".
BY_HAND = bytes.fromhex("0805" + "1222" + "0a20" + "00" * 32 + "1a06" + "0a016b" + "120131")


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY,
        ENTRY._replace(inclusion_promise=b""),
        ENTRY._replace(inclusion_proof=None),
        ENTRY._replace(inclusion_proof=PROOF._replace(hashes=(), log_index=0)),
        ENTRY._replace(log_index=0, integrated_time=2**63 - 1),
    ],
)
def test_round_trip(entry: TransparencyLogEntry) -> None:
    assert parse_entry(encode_entry(entry)) == entry


def test_the_wire_format() -> None:
    entry = TransparencyLogEntry(5, bytes(32), "k", "1", 0, b"", None, b"")
    assert parse_entry(BY_HAND) == entry
    assert encode_entry(entry) == BY_HAND


def test_unknown_fields_are_passed_over() -> None:
    newer = encode_entry(ENTRY) + b"\x98\x06\x01" + b"\xa2\x06\x02hi"  # 99: a number, 100: text
    assert parse_entry(newer) == ENTRY


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x08", "ends early"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "more than 64 bits"),
        (b"\x08" + b"\xff" * 11, "more than 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x01", "negative"),
        (b"\x12\x05abc", "ends early"),
        (b"\x00\x00", "without a number"),
        (b"\x09" + bytes(8), "wire type 1"),
        (b"\x0b\x0c", "wire type 3"),
        (BY_HAND + b"\x08\x05", "field 1 twice"),
        (BY_HAND + BY_HAND[2:38], "field 2 twice"),
        (BY_HAND.replace(b"\x0a\x01k", b"\x0a\x01\xff"), "UTF-8"),
        (b"\x10\x05", "no text"),
        (b"\x0a\x01x", "no number"),
        (b"\x12\x02\x0a\x00", "0 bytes in field 1 instead of 32"),
        (BY_HAND + b"\x32\x26\x12\x20" + bytes(32) + b"\x22\x02xx", "not 32 bytes"),
        (BY_HAND + b"\x32\x24\x12\x20" + bytes(32) + b"\x20\x05", "not 32 bytes"),
        (b"\x28\x01" * 300, "more than 256 fields"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        parse_entry(data)


def test_a_proof_without_end() -> None:
    proof = PROOF._replace(hashes=(b"x" * 32,) * 65)
    with pytest.raises(FormatError, match="more than 64 hashes"):
        parse_entry(encode_entry(ENTRY._replace(inclusion_proof=proof)))
