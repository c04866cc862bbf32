# SPDX-License-Identifier: Apache-2.0
"""What every `LogStore` does."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from countermark.core.errors import Conflict, NotFound, OutcomeUnknown
from countermark.core.tlog.merkle import EMPTY_ROOT
from countermark.ports.log_store import EntryRow, Head, LogStore, StagedLeaf
from tests.support.logs import EmbeddedStores, MemoryStores, Stores

EMPTY = Head(0, EMPTY_ROOT, 1000, b"signed empty")


@pytest.fixture(params=["memory", "embedded"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    return MemoryStores() if request.param == "memory" else EmbeddedStores(tmp_path)


@pytest.fixture
def store(stores: Stores) -> Iterator[LogStore]:
    store, _ = stores.open()
    store.create_log("a", EMPTY)
    yield store
    store.close()


def _leaf(index: int, *keys: bytes, log: str = "a") -> StagedLeaf:
    identity = hashlib.sha256(f"{log} {index}".encode()).digest()
    return StagedLeaf(index, identity, b"record %d" % index, 2000 + index, b"p%d" % index, keys)


def _head(size: int) -> Head:
    return Head(size, hashlib.sha256(b"%d" % size).digest(), 1000 + size, b"signed %d" % size)


def _grow(store: LogStore, *sizes: int, log: str = "a") -> list[StagedLeaf]:
    """Commit one round for each size."""
    added: list[StagedLeaf] = []
    for size in sizes:
        old = store.head(log)
        leaves = [_leaf(index, b"all", log=log) for index in range(old.tree_size, size)]
        store.commit_round(log, old, _head(size), leaves)
        added += leaves
    return added


def _row(leaf: StagedLeaf) -> EntryRow:
    return EntryRow(leaf.index, leaf.time_ms, leaf.promise)


def test_a_new_log_is_empty(store: LogStore) -> None:
    assert store.head("a") == EMPTY
    assert store.published_size("a") == 0
    assert store.staged("a", 0, 100) == []
    assert store.find("a", [bytes(32)]) == [None]
    assert store.search("a", b"all", limit=10) == []


def test_a_log_is_created_once(store: LogStore) -> None:
    with pytest.raises(Conflict):
        store.create_log("a", EMPTY)


@pytest.mark.parametrize("verb", ["head", "published_size"])
def test_an_unknown_log_is_not_found(store: LogStore, verb: str) -> None:
    with pytest.raises(NotFound):
        getattr(store, verb)("b")
    with pytest.raises(NotFound):
        store.find("b", [bytes(32)])
    with pytest.raises(NotFound):
        store.commit_round("b", EMPTY, _head(1), [_leaf(0)])


def test_a_round_brings_head_rows_search_rows_and_tail(store: LogStore) -> None:
    leaves = [_leaf(0, b"k", b"x"), _leaf(1), _leaf(2, b"k")]
    store.commit_round("a", EMPTY, _head(3), leaves)
    assert store.head("a") == _head(3)
    assert store.staged("a", 0, 3) == leaves
    assert store.find("a", [leaves[2].identity, bytes(32), leaves[0].identity]) == [
        _row(leaves[2]),
        None,
        _row(leaves[0]),
    ]
    assert store.search("a", b"k", limit=10) == [0, 2]
    assert store.search("a", b"x", limit=10) == [0]
    assert store.search("a", b"", limit=10) == []


def test_the_head_is_swapped_only_from_the_current_one(store: LogStore) -> None:
    _grow(store, 2)
    for stale in (EMPTY, Head(2, _head(2).root_hash, _head(2).time_ms, b"signed otherwise")):
        with pytest.raises(Conflict):
            store.commit_round("a", stale, _head(3), [_leaf(2, b"new")])
    assert store.head("a") == _head(2)
    assert store.find("a", [_leaf(2).identity]) == [None]
    assert store.search("a", b"new", limit=10) == []
    assert store.staged("a", 2, 3) == []
    _grow(store, 3)  # a refused swap is no failure
    assert store.head("a") == _head(3)


def test_staged_leaves_are_read_by_index_across_rounds(store: LogStore) -> None:
    leaves = _grow(store, 3, 4, 9)
    assert store.staged("a", 0, 9) == leaves
    assert store.staged("a", 2, 6) == leaves[2:6]
    assert store.staged("a", 5, 5) == []
    assert store.staged("a", 8, 100) == leaves[8:]


@pytest.mark.parametrize("size", [0, 1, 3, 5, 9])
def test_dropped_leaves_are_gone_and_rows_stay(store: LogStore, size: int) -> None:
    leaves = _grow(store, 3, 4, 9)
    store.drop_staged("a", size)
    assert store.published_size("a") == size
    assert store.staged("a", 0, 9) == leaves[size:]
    assert store.find("a", [leaf.identity for leaf in leaves]) == list(map(_row, leaves))
    more = _grow(store, 11)
    store.drop_staged("a", 10)
    assert store.staged("a", 0, 11) == more[1:]


def test_search_pages_in_order(store: LogStore) -> None:
    _grow(store, 1, 300)
    assert store.search("a", b"all", limit=5) == [0, 1, 2, 3, 4]
    assert store.search("a", b"all", start=255, limit=3) == [255, 256, 257]
    assert store.search("a", b"all", start=298, limit=10) == [298, 299]
    assert store.search("a", b"all", limit=1000) == list(range(300))


@pytest.mark.parametrize("keys", [(b"", b"\x00", b"\x00\x00"), (b"ab", b"a", b"abc", b"ab\x00")])
def test_search_keys_do_not_run_into_each_other(store: LogStore, keys: Sequence[bytes]) -> None:
    leaves = [_leaf(index, key) for index, key in enumerate(keys)]
    store.commit_round("a", EMPTY, _head(len(keys)), leaves)
    for index, key in enumerate(keys):
        assert store.search("a", key, limit=10) == [index]


def test_a_key_given_twice_is_one_search_row(store: LogStore) -> None:
    store.commit_round("a", EMPTY, _head(1), [_leaf(0, b"k", b"k")])
    assert store.search("a", b"k", limit=10) == [0]


def test_long_keys_and_records(store: LogStore) -> None:
    key = bytes(65_535)
    leaf = StagedLeaf(0, bytes(32), bytes(1_000_000), 5, bytes(5000), (key,))
    store.commit_round("a", EMPTY, _head(1), [leaf])
    assert store.staged("a", 0, 1) == [leaf]
    assert store.search("a", key, limit=10) == [0]
    assert store.search("a", key[:-1], limit=10) == []


def test_logs_do_not_see_each_other(store: LogStore) -> None:
    store.create_log("b", EMPTY)
    assert set(store.logs()) == {"a", "b"}
    leaves = _grow(store, 4)
    assert store.head("b") == EMPTY
    assert store.find("b", [leaves[0].identity]) == [None]
    assert store.search("b", b"all", limit=10) == []
    _grow(store, 2, log="b")
    store.drop_staged("b", 2)
    assert store.published_size("a") == 0
    assert store.staged("a", 0, 4) == leaves


def test_everything_survives_a_restart(stores: Stores, store: LogStore) -> None:
    store.create_log("b", EMPTY)
    leaves = _grow(store, 3, 4, 9)
    store.drop_staged("a", 4)
    store.close()
    again, _ = stores.open()
    assert set(again.logs()) == {"a", "b"}
    assert again.head("a") == _head(9)
    assert again.published_size("a") == 4
    assert again.staged("a", 0, 9) == leaves[4:]
    assert again.find("a", [leaves[1].identity]) == [_row(leaves[1])]
    assert again.search("a", b"all", limit=100) == list(range(9))
    leaves += _grow(again, 10)
    again.drop_staged("a", 10)
    again.create_log("c", EMPTY)
    again.close()
    third, _ = stores.open()
    assert third.head("a") == _head(10)
    assert third.staged("a", 0, 10) == []
    assert third.head("c") == EMPTY
    third.close()


def test_a_closed_store_refuses_and_closes_again(store: LogStore) -> None:
    store.close()
    store.close()
    with pytest.raises(OutcomeUnknown):
        store.head("a")
    with pytest.raises(OutcomeUnknown):
        store.commit_round("a", EMPTY, _head(1), [_leaf(0)])
