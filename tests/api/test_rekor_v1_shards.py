# SPDX-License-Identifier: Apache-2.0
"""Rekor's API v1 over a log of three shards: two are frozen, one takes entries."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from countermark.core.errors import LogFrozen, NotFound
from countermark.core.rekor.shard import Shards
from countermark.core.tlog.merkle import verify_consistency
from countermark.core.wire.rekor_v1 import LogEntry
from countermark.drivers.memory import MemoryObjectStore
from countermark.tlog.api import routes
from countermark.tlog.messages import FetchHead
from countermark.tlog.personality import submission
from tests.support.asgi import Browser
from tests.support.rekor import SigningKey, encode, hashedrekord
from tests.support.v1_log import ENTRIES, TREE_ID, RunningLog, error_of

KEY = SigningKey.new()
SECOND, THIRD = 5, 2**63 - 1
SIZES = (5, 4, 3)
"""Of the trees; two of each are genesis entries."""

BOTH = hashedrekord(KEY, b"in the first and the second")
ALL = hashedrekord(KEY, b"in all")


@dataclass
class Sharded:
    """The log and what was posted to each shard."""

    log: RunningLog
    posted: tuple[list[LogEntry], ...]

    def get(self, **query: str) -> LogEntry:
        reply = self.log.browser.get(ENTRIES, query=query)
        assert reply.status == 200
        return self.log.check(reply.body)

    def retrieve(self, **query: object) -> list[str]:
        """Ids of what a search finds, all of it checked."""
        reply = self.log.post(query, f"{ENTRIES}/retrieve")
        assert reply.status == 200
        found = json.loads(reply.body)
        return [self.log.check(encode(item)).entry_id for item in found]


@pytest.fixture(scope="module")
def sharded() -> Iterator[Sharded]:
    with RunningLog() as log:

        def post(*proposals: dict[str, object]) -> list[LogEntry]:
            replies = [log.post(proposal) for proposal in proposals]
            assert [reply.status for reply in replies] == [201] * len(replies)
            return [log.check(reply.body) for reply in replies]

        first = post(BOTH, hashedrekord(KEY, b"first"), ALL)
        log.next_shard(SECOND)
        second = post(ALL, BOTH)
        log.next_shard(THIRD)
        third = post(ALL)
        yield Sharded(log, (first, second, third))


def test_indexes_go_on(sharded: Sharded) -> None:
    indexes = [[item.entry.log_index for item in posted] for posted in sharded.posted]
    assert indexes == [[2, 3, 4], [7, 8], [11]]
    in_tree = [
        [item.entry.inclusion_proof.log_index for item in posted if item.entry.inclusion_proof]
        for posted in sharded.posted
    ]
    assert in_tree == [[2, 3, 4], [2, 3], [2]]
    ids = [{item.entry_id[:16] for item in posted} for posted in sharded.posted]
    assert ids == [{f"{TREE_ID:016x}"}, {f"{SECOND:016x}"}, {f"{THIRD:016x}"}]
    assert len({item.entry.log_id for posted in sharded.posted for item in posted}) == 3


def test_every_entry_by_its_index(sharded: Sharded) -> None:
    trees = [TREE_ID] * SIZES[0] + [SECOND] * SIZES[1] + [THIRD] * SIZES[2]
    for index, tree_id in enumerate(trees):
        found = sharded.get(logIndex=str(index))
        assert (found.entry.log_index, int(found.entry_id[:16], 16)) == (index, tree_id)
    reply = sharded.log.browser.get(ENTRIES, query={"logIndex": str(sum(SIZES))})
    assert (reply.status, reply.body) == (404, b"")


def test_every_entry_by_its_id(sharded: Sharded) -> None:
    for posted in sharded.posted:
        for item in posted:
            reply = sharded.log.browser.get(f"{ENTRIES}/{item.entry_id}")
            found = sharded.log.check(reply.body)
            assert found.entry_id == item.entry_id
            assert found.entry.log_index == item.entry.log_index
            assert found.entry.inclusion_promise == item.entry.inclusion_promise
    stranger = sharded.posted[0][1].entry_id[16:]
    for tree_id in (SECOND, THIRD, 6):
        assert sharded.log.browser.get(f"{ENTRIES}/{tree_id:016x}{stranger}").status == 404


def test_a_bare_uuid_is_found_in_the_active_shard_then_from_the_oldest(sharded: Sharded) -> None:
    first, second, third = sharded.posted
    for item, holder in ((first[2], third[0]), (first[0], first[0]), (first[1], first[1])):
        reply = sharded.log.browser.get(f"{ENTRIES}/{item.entry_id[16:]}")
        assert sharded.log.check(reply.body).entry_id == holder.entry_id
    assert second[1].entry_id[16:] == first[0].entry_id[16:]
    assert sharded.log.browser.get(f"{ENTRIES}/{'00' * 32}").status == 404


def test_one_query_may_yield_an_entry_of_each_shard(sharded: Sharded) -> None:
    first, second, third = ([item.entry_id for item in posted] for posted in sharded.posted)
    everywhere, twice = [third[0], first[2], second[0]], [first[0], second[1]]
    assert sharded.retrieve(entryUUIDs=[first[2][16:]]) == everywhere
    assert sharded.retrieve(entries=[ALL]) == everywhere
    assert sharded.retrieve(entries=[BOTH]) == twice
    assert sharded.retrieve(entryUUIDs=[second[1]]) == [second[1]]
    foreign = f"{THIRD:016x}{first[1][16:]}"
    assert sharded.retrieve(entryUUIDs=[foreign, f"{6:016x}{'00' * 32}"]) == []


def test_order_of_a_search(sharded: Sharded) -> None:
    first, second, third = ([item.entry_id for item in posted] for posted in sharded.posted)
    found = sharded.retrieve(
        logIndexes=[11, 99, 2, 8],
        entryUUIDs=[first[0][16:], third[0], first[1], "00" * 32],
        entries=[ALL],
    )
    full, bare = [third[0], first[1]], [first[0], second[1]]
    entries, indexes = [third[0], first[2], second[0]], [third[0], first[0], second[1]]
    assert found == [*full, *bare, *entries, *indexes]


def test_duplicates_are_those_of_the_active_shard() -> None:
    with RunningLog() as log:
        proposal = hashedrekord(KEY, b"again")
        before = log.check(log.post(proposal).body)
        assert log.post(proposal).status == 409
        log.next_shard(SECOND)
        reply = log.post(proposal)
        assert reply.status == 201
        assert log.check(reply.body).entry_id == f"{SECOND:016x}{before.entry_id[16:]}"
        reply = log.post(proposal)
        assert reply.status == 409
        assert reply.headers["location"] == f"{ENTRIES}/{SECOND:016x}{before.entry_id[16:]}"


def test_info_lists_the_inactive_shards(sharded: Sharded) -> None:
    log = sharded.log
    reply = log.browser.get("/api/v1/log")
    info = json.loads(reply.body)
    shape = ["rootHash", "signedTreeHead", "treeID", "treeSize"]
    assert list(info) == ["inactiveShards", *shape]
    assert [list(item) for item in info["inactiveShards"]] == [shape, shape]
    told = [*info["inactiveShards"], info]
    assert [item["treeID"] for item in told] == [str(TREE_ID), str(SECOND), str(THIRD)]
    assert [item["treeSize"] for item in told] == list(SIZES)
    for item in told:
        head = log.check_note(item["signedTreeHead"], int(item["treeID"]))
        assert (head.tree_size, head.root_hash.hex()) == (item["treeSize"], item["rootHash"])
    compact = json.dumps(info, separators=(",", ":"), ensure_ascii=False)
    assert reply.body == compact.encode() + b"\n"
    again = json.loads(log.browser.get("/api/v1/log").body)
    assert again["inactiveShards"] == info["inactiveShards"]


def test_proofs_of_each_shard(sharded: Sharded) -> None:
    log = sharded.log
    told = json.loads(log.browser.get("/api/v1/log").body)
    for tree, size in zip([*told["inactiveShards"], told], SIZES, strict=True):
        query = {"firstSize": "2", "lastSize": str(size), "treeID": tree["treeID"]}
        proof = json.loads(log.browser.get("/api/v1/log/proof", query=query).body)
        assert proof["rootHash"] == tree["rootHash"]
        beyond = {**query, "lastSize": str(size + 1)}
        reply = log.browser.get("/api/v1/log/proof", query=beyond)
        assert (reply.status, error_of(reply)[0]) == (400, 400)
        hashes = [bytes.fromhex(item) for item in proof["hashes"]]
        earlier = log.wait(log.logs[int(tree["treeID"])].root_hash(2))
        verify_consistency(2, size, earlier, bytes.fromhex(tree["rootHash"]), hashes)
    reply = log.browser.get("/api/v1/log/proof", query={"lastSize": "1", "treeID": "6"})
    assert error_of(reply) == (400, "no log range found for tree ID 6")


def test_keys_of_each_shard(sharded: Sharded) -> None:
    path = "/api/v1/log/publicKey"
    for tree_id, shard in sharded.log.shards.items():
        reply = sharded.log.browser.get(path, query={"treeID": str(tree_id)})
        assert reply.text == shard.public_key.to_pem()
    active = sharded.log.browser.get(path).text
    assert active == sharded.log.shards[THIRD].public_key.to_pem()
    assert sharded.log.browser.get(path, query={"treeID": "6"}).status == 400


def test_a_frozen_shard_takes_nothing(sharded: Sharded) -> None:
    log = sharded.log
    frozen = log.logs[SECOND]
    with pytest.raises(LogFrozen):
        log.wait(frozen.add(submission(b"{}", ())))
    assert frozen.head.tree_size == SIZES[1]


def test_the_keeper_knows_no_other_tree(sharded: Sharded) -> None:
    with pytest.raises(NotFound):
        sharded.log.wait(sharded.log.keeper.call(FetchHead(6)))


def test_no_keeper_is_asked_about_an_index_that_no_shard_can_have() -> None:
    with RunningLog(first_index=1000) as log:
        shards = Shards((), log.shard)
        browser = Browser(routes(log.keeper, shards, {TREE_ID: MemoryObjectStore()}))
        assert browser.get(ENTRIES, query={"logIndex": "999"}).status == 404
