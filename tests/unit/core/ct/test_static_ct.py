# SPDX-License-Identifier: Apache-2.0
"""Data tiles, leaf index extensions, and tree head signatures inside checkpoints."""

import hashlib

import pytest

from countermark.core.ct.leaf import CertificateEntry, TimestampedEntry
from countermark.core.ct.static_ct import (
    DATA_TILES,
    TileLeaf,
    checkpoint_key_id,
    checkpoint_signature,
    digitally_signed,
    leaf_index_extension,
    parse_checkpoint_signature,
    parse_leaf_index,
    tree_head_message,
)
from countermark.core.errors import FormatError

KEY_HASH = bytes(range(32))
ISSUER = bytes(range(32, 64))
X509 = TileLeaf(TimestampedEntry(1, CertificateEntry(b"", b"DER")), b"", (ISSUER,))
PRECERT = TileLeaf(TimestampedEntry(2, CertificateEntry(KEY_HASH, b"TBS")), b"PRE", ())


def test_tile_leaves_spelled_out() -> None:
    x509 = "0000000000000001" + "0000" + "000003444552" + "0000" + "0020" + ISSUER.hex()
    assert X509.serialize().hex() == x509
    precert = "0000000000000002" + "0001" + KEY_HASH.hex() + "000003544253" + "0000"
    assert PRECERT.serialize().hex() == precert + "000003505245" + "0000"


def test_tile_is_its_leaves() -> None:
    records = [X509.serialize(), PRECERT.serialize(), X509.serialize()]
    assert DATA_TILES.split(b"".join(map(DATA_TILES.frame, records))) == records
    assert DATA_TILES.split(b"") == []
    assert [TileLeaf.parse(record) for record in records] == [X509, PRECERT, X509]


def test_leaf_hash_is_of_the_merkle_tree_leaf() -> None:
    leaf = b"\x00" + b"\x00\x00" + X509.timestamped.serialize()
    assert DATA_TILES.leaf_hash(X509.serialize()) == hashlib.sha256(leaf).digest()
    records = [PRECERT.serialize(), X509.serialize()]
    assert DATA_TILES.leaf_hashes(records) == list(map(DATA_TILES.leaf_hash, records))


def test_record_that_is_too_long_for_a_tile() -> None:
    with pytest.raises(FormatError, match="larger than"):
        DATA_TILES.frame(bytes(DATA_TILES.max_record_bytes + 1))


@pytest.mark.parametrize(
    "data",
    [
        X509.serialize()[:-1],
        X509.serialize() + b"\x00",
        X509.serialize()[:-34] + b"\x00\x1f" + bytes(31),
    ],
)
def test_damaged_tiles(data: bytes) -> None:
    with pytest.raises(FormatError):
        DATA_TILES.split(data)


def test_precertificates_belong_to_precertificate_entries() -> None:
    with pytest.raises(FormatError, match="wrong kind"):
        TileLeaf(X509.timestamped, b"PRE", ())
    with pytest.raises(FormatError, match="wrong kind"):
        TileLeaf(PRECERT.timestamped, b"", ())


def test_leaf_index_as_a_real_static_log_writes_it() -> None:
    real = bytes.fromhex("00000500000dde14")  # staging's log2026-1
    assert leaf_index_extension(0x0DDE14) == real
    assert parse_leaf_index(real) == 0x0DDE14
    assert parse_leaf_index(b"") is None
    assert parse_leaf_index(b"\x07\x00\x01z" + real) == 0x0DDE14


@pytest.mark.parametrize("data", [b"\x00\x00\x01a", bytes(8) * 2, b"\x00\x00", b"\x00"])
def test_malformed_extensions(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_leaf_index(data)


@pytest.mark.parametrize("index", [-1, 2**40])
def test_leaf_index_that_does_not_fit(index: int) -> None:
    with pytest.raises(FormatError):
        leaf_index_extension(index)


def test_tree_head_message_spelled_out() -> None:
    message = tree_head_message(0x0102, 3, KEY_HASH)
    assert message.hex() == "0001" + "0000000000000102" + "0000000000000003" + KEY_HASH.hex()


def test_signature_inside_a_checkpoint() -> None:
    signed = digitally_signed(b"sig", "PKIX_ECDSA_P256_SHA_256")
    assert signed == b"\x04\x03\x00\x03sig"
    assert digitally_signed(b"", "PKIX_RSA_PKCS1V15_2048_SHA256") == b"\x04\x01\x00\x00"
    assert parse_checkpoint_signature(checkpoint_signature(9, signed)) == (9, signed)
    with pytest.raises(FormatError):
        parse_checkpoint_signature(checkpoint_signature(9, signed) + b"!")


def test_checkpoint_key_id() -> None:
    expected = hashlib.sha256(b"ct.example/log\n\x05" + KEY_HASH).digest()[:4]
    assert checkpoint_key_id("ct.example/log", KEY_HASH) == expected
