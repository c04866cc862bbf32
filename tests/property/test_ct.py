# SPDX-License-Identifier: Apache-2.0
"""CT structures: what was written is read back; any other bytes are a FormatError."""

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.ct.leaf import (
    CertificateEntry,
    TimestampedEntry,
    extra_data,
    parse_extra_data,
)
from countermark.core.ct.sct import SignedCertificateTimestamp
from countermark.core.ct.static_ct import (
    DATA_TILES,
    TileLeaf,
    checkpoint_signature,
    digitally_signed,
    leaf_index_extension,
    parse_checkpoint_signature,
    parse_leaf_index,
)
from countermark.core.errors import FormatError
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.wire import ct as wire

HASH = st.binary(min_size=32, max_size=32)
TIME = st.integers(0, 2**64 - 1)
ENTRY = st.builds(CertificateEntry, st.just(b"") | HASH, st.binary(min_size=1, max_size=99))
TIMESTAMPED = st.builds(TimestampedEntry, TIME, ENTRY, st.binary(max_size=9))
LEAF = st.builds(
    lambda timestamped, pre, issuers: TileLeaf(
        timestamped, pre if timestamped.entry.issuer_key_hash else b"", tuple(issuers)
    ),
    TIMESTAMPED,
    st.binary(min_size=1, max_size=99),
    st.lists(HASH, max_size=4),
)
SCT = st.builds(
    SignedCertificateTimestamp,
    HASH,
    TIME,
    st.binary(max_size=20),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=80),
)


@given(TIMESTAMPED)
def test_merkle_tree_leaves_come_back(entry: TimestampedEntry) -> None:
    assert TimestampedEntry.parse_merkle_tree_leaf(entry.merkle_tree_leaf()) == entry


@given(st.lists(LEAF, max_size=5))
def test_data_tiles_come_back(leaves: list[TileLeaf]) -> None:
    records = [leaf.serialize() for leaf in leaves]
    assert DATA_TILES.split(b"".join(map(DATA_TILES.frame, records))) == records
    assert [TileLeaf.parse(record) for record in records] == leaves
    hashes = [leaf_hash(leaf.timestamped.merkle_tree_leaf()) for leaf in leaves]
    assert list(map(DATA_TILES.leaf_hash, records)) == hashes


@given(st.sampled_from([0, 1]), st.binary(max_size=50), st.lists(st.binary(max_size=50)))
def test_extra_data_comes_back(kind: int, pre: bytes, chain: list[bytes]) -> None:
    pre = (pre or b"x") if kind else b""
    assert parse_extra_data(kind, extra_data(pre, tuple(chain))) == (pre, tuple(chain))


@given(st.integers(0, 2**40 - 1), st.integers(1, 255), st.binary(max_size=5))
def test_leaf_index_comes_back(index: int, other: int, data: bytes) -> None:
    unknown = bytes((other,)) + len(data).to_bytes(2) + data
    extension = leaf_index_extension(index)
    assert parse_leaf_index(extension) == index
    assert parse_leaf_index(unknown + extension + unknown) == index


@given(TIME, st.binary(max_size=80))
def test_checkpoint_signatures_come_back(time_ms: int, signature: bytes) -> None:
    signed = digitally_signed(signature, "PKIX_ECDSA_P256_SHA_256")
    assert parse_checkpoint_signature(checkpoint_signature(time_ms, signed)) == (time_ms, signed)


PARSERS: list[Callable[[bytes], object]] = [
    TimestampedEntry.parse_merkle_tree_leaf,
    TileLeaf.parse,
    DATA_TILES.split,
    DATA_TILES.leaf_hash,
    lambda data: parse_extra_data(0, data),
    lambda data: parse_extra_data(1, data),
    parse_leaf_index,
    parse_checkpoint_signature,
    wire.parse_add_chain_request,
    wire.parse_add_chain_reply,
    wire.parse_tree_head_reply,
    wire.parse_consistency_reply,
    wire.parse_proof_reply,
    wire.parse_entries_reply,
    wire.parse_roots_reply,
]


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=200))
def test_any_bytes(parse: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(FormatError):
        parse(data)


@given(LEAF, st.data())
def test_damaged_tile_leaves(leaf: TileLeaf, data: st.DataObject) -> None:
    record = bytearray(leaf.serialize())
    record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    del record[data.draw(st.integers(0, len(record))) :]
    with contextlib.suppress(FormatError):
        assert TileLeaf.parse(bytes(record)).serialize() == bytes(record)


# --- the API -----------------------------------------------------------------------------------


@given(st.lists(st.binary(), min_size=1, max_size=wire.MAX_CHAIN))
def test_chains_come_back(chain: list[bytes]) -> None:
    assert wire.parse_add_chain_request(wire.add_chain_request(chain)) == tuple(chain)


def test_chains_have_a_length() -> None:
    with pytest.raises(FormatError, match="more than"):
        wire.parse_add_chain_request(wire.add_chain_request([b"x"] * (wire.MAX_CHAIN + 1)))


@given(SCT)
def test_scts_come_back(sct: SignedCertificateTimestamp) -> None:
    assert wire.parse_add_chain_reply(wire.add_chain_reply(sct)) == sct


@given(st.builds(wire.SignedTreeHead, TIME, TIME, HASH, st.binary(max_size=80)))
def test_tree_heads_come_back(head: wire.SignedTreeHead) -> None:
    assert wire.parse_tree_head_reply(wire.tree_head_reply(head)) == head


@given(st.lists(HASH, max_size=9), TIME)
def test_proofs_come_back(hashes: list[bytes], index: int) -> None:
    assert wire.parse_consistency_reply(wire.consistency_reply(hashes)) == tuple(hashes)
    assert wire.parse_proof_reply(wire.proof_reply(index, hashes)) == (index, tuple(hashes))


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=5))
def test_entries_come_back(entries: list[tuple[bytes, bytes]]) -> None:
    assert wire.parse_entries_reply(wire.entries_reply(entries)) == tuple(entries)


@given(st.lists(st.binary(), max_size=4))
def test_roots_come_back(roots: list[bytes]) -> None:
    assert wire.parse_roots_reply(wire.roots_reply(roots)) == tuple(roots)


SCT_JSON = {
    "sct_version": 0,
    "id": "A" * 43 + "=",
    "timestamp": 1,
    "extensions": "",
    "signature": "BAMAAA==",
}


@pytest.mark.parametrize(
    "change",
    [
        {"sct_version": 1},
        {"id": "AAAA"},
        {"timestamp": -1},
        {"timestamp": 2**64},
        {"timestamp": "1"},
        {"extensions": "!"},
        {"signature": "BAM="},
        {"signature": "BAMAAAA="},
    ],
)
def test_what_is_no_sct(change: dict[str, object]) -> None:
    good = json.dumps(SCT_JSON).encode()
    assert wire.parse_add_chain_reply(good).timestamp_ms == 1
    with pytest.raises(FormatError):
        wire.parse_add_chain_reply(json.dumps({**SCT_JSON, **change}).encode())
