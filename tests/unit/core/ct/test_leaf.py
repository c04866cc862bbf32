# SPDX-License-Identifier: Apache-2.0
"""Merkle tree leaves and extra data, spelled out byte by byte."""

import pytest

from countermark.core.ct.leaf import (
    PRECERT_ENTRY,
    X509_ENTRY,
    CertificateEntry,
    TimestampedEntry,
    extra_data,
    parse_extra_data,
)
from countermark.core.ct.sct import sct_message_precert, sct_message_x509
from countermark.core.errors import FormatError

KEY_HASH = bytes(range(32))


def test_leaf_of_a_certificate() -> None:
    entry = CertificateEntry(b"", b"DER")
    leaf = TimestampedEntry(0x0102, entry, b"\xff").merkle_tree_leaf()
    assert leaf.hex() == "0000" + "0000000000000102" + "0000" + "000003" + "444552" + "0001ff"
    assert entry.entry_type == X509_ENTRY
    assert TimestampedEntry.parse_merkle_tree_leaf(leaf) == TimestampedEntry(258, entry, b"\xff")


def test_leaf_of_a_precertificate() -> None:
    entry = CertificateEntry(KEY_HASH, b"TBS")
    leaf = TimestampedEntry(1, entry).merkle_tree_leaf()
    expected = "0000" + "0000000000000001" + "0001" + KEY_HASH.hex() + "000003" + "544253" + "0000"
    assert leaf.hex() == expected
    assert entry.entry_type == PRECERT_ENTRY


def test_leaf_is_what_the_sct_signs() -> None:
    """RFC 6962 gives both structures the same bytes; the personality relies on it."""
    x509 = TimestampedEntry(7, CertificateEntry(b"", b"DER"), b"ext")
    assert x509.merkle_tree_leaf() == sct_message_x509(7, b"DER", b"ext")
    precert = TimestampedEntry(7, CertificateEntry(KEY_HASH, b"TBS"), b"ext")
    assert precert.merkle_tree_leaf() == sct_message_precert(7, KEY_HASH, b"TBS", b"ext")


def test_identity_leaves_the_time_out_and_the_issuer_in() -> None:
    one = CertificateEntry(KEY_HASH, b"TBS")
    assert one.identity == CertificateEntry(KEY_HASH, b"TBS").identity
    assert len(one.identity) == 32
    assert one.identity != CertificateEntry(bytes(32), b"TBS").identity
    assert one.identity != CertificateEntry(b"", b"TBS").identity


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x00" + bytes(15),  # version 2
        b"\x00\x01" + bytes(15),  # another leaf type
        b"\x00\x00" + bytes(8) + b"\x00\x02" + b"\x00\x00\x01a" + b"\x00\x00",  # entry type 2
        b"\x00\x00" + bytes(8) + b"\x00\x00" + b"\x00\x00\x00" + b"\x00\x00",  # empty certificate
        b"\x00\x00" + bytes(8) + b"\x00\x00" + b"\x00\x00\x01a" + b"\x00\x00" + b"!",
    ],
)
def test_what_is_no_leaf(data: bytes) -> None:
    with pytest.raises(FormatError):
        TimestampedEntry.parse_merkle_tree_leaf(data)


def test_key_hash_of_another_size() -> None:
    with pytest.raises(FormatError, match="32 bytes"):
        CertificateEntry(b"short", b"TBS")


def test_extra_data() -> None:
    assert extra_data(b"", (b"AB", b"C")).hex() == "000009" + "0000024142" + "00000143"
    both = extra_data(b"PRE", (b"AB",))
    assert both.hex() == "000003505245" + "000005" + "0000024142"
    assert parse_extra_data(PRECERT_ENTRY, both) == (b"PRE", (b"AB",))
    assert parse_extra_data(X509_ENTRY, extra_data(b"", ())) == (b"", ())
