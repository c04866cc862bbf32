# SPDX-License-Identifier: Apache-2.0
"""Rekor's API v1 over HTTP: reading entries, searching, heads and proofs."""

import json
import time
from collections.abc import Iterator

import pytest

from countermark.core.tlog.merkle import verify_consistency
from countermark.tlog.messages import FetchEntries
from tests.support.asgi import Reply
from tests.support.crowd import most_at_once
from tests.support.rekor import (
    SigningKey,
    encode,
    hashedrekord,
)
from tests.support.v1_log import ENTRIES, TREE_ID, RunningLog, error_of

KEY = SigningKey.new()
NO_CACHE = {
    "cache-control": "no-cache, no-store, no-transform, must-revalidate, private, max-age=0",
    "pragma": "no-cache",
    "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "x-accel-expires": "0",
}


@pytest.fixture(scope="module")
def log() -> Iterator[RunningLog]:
    with RunningLog() as running:
        yield running


def proposal(text: str) -> dict[str, object]:
    return hashedrekord(KEY, text.encode())


def headers_of(reply: Reply) -> dict[str, str]:
    """Those that say something of their own; `Vary: Origin` comes with every reply."""
    headers = dict(reply.headers)
    assert headers.pop("content-length") == str(len(reply.body))
    assert headers.pop("vary") == "Origin"
    return headers


def test_get_by_index_and_id(log: RunningLog) -> None:
    posted = log.check(log.post(proposal("read")).body)
    index = posted.entry.log_index
    uuid = posted.entry_id[16:]
    for reply in (
        log.browser.get(ENTRIES, query={"logIndex": str(index)}),
        log.browser.get(f"{ENTRIES}/{posted.entry_id}"),
        log.browser.get(f"{ENTRIES}/{uuid}"),
        log.browser.get(f"{ENTRIES}/{posted.entry_id.upper()}"),
        log.browser.get(f"//api/v1/log//entries/{uuid}/"),
    ):
        assert reply.status == 200
        assert headers_of(reply) == {"content-type": "application/json", **NO_CACHE}
        found = log.check(reply.body)
        assert found.entry_id == posted.entry_id
        assert found.entry.canonicalized_body == posted.entry.canonicalized_body
        assert found.entry.integrated_time == posted.entry.integrated_time
        assert found.entry.inclusion_promise == posted.entry.inclusion_promise


def test_genesis_entries(log: RunningLog) -> None:
    for index in range(2):
        found = log.check(log.browser.get(ENTRIES, query={"logIndex": str(index)}).body)
        assert found.entry.log_index == index


def test_published_entries_are_read_from_objects(log: RunningLog) -> None:
    posted = log.check(log.post(proposal("published")).body)
    for _ in range(1000):
        if log.log.published_size > posted.entry.log_index:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the entry was not published")
    found = log.check(log.browser.get(f"{ENTRIES}/{posted.entry_id}").body)
    assert found.entry.canonicalized_body == posted.entry.canonicalized_body


@pytest.mark.parametrize(
    "path",
    [
        f"{ENTRIES}/{'00' * 32}",
        f"{ENTRIES}/{TREE_ID:016x}{'00' * 32}",
        f"{ENTRIES}/{TREE_ID + 1:016x}{'00' * 32}",
        f"{ENTRIES}?logIndex=1000000",
    ],
)
def test_nothing_there(log: RunningLog, path: str) -> None:
    path, _, query = path.partition("?")
    reply = log.browser.send("GET", path, query=query)
    assert (reply.status, reply.body) == (404, b"")
    assert headers_of(reply) == NO_CACHE


@pytest.mark.parametrize(
    ("query", "number", "message"),
    [
        ("", 602, "logIndex in query is required"),
        ("logIndex=x", 601, 'logIndex in query must be of type int64: "x"'),
        ("logIndex=-1", 609, "logIndex in query should be greater than or equal to 0"),
    ],
)
def test_bad_index(log: RunningLog, query: str, number: int, message: str) -> None:
    reply = log.browser.send("GET", ENTRIES, query=query)
    assert (reply.status, error_of(reply)) == (422, (number, message))


def test_bad_id(log: RunningLog) -> None:
    reply = log.browser.get(f"{ENTRIES}/zz")
    message = "entryUUID in path should match '^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$'"
    assert (reply.status, error_of(reply)) == (422, (605, message))
    for tree in ("0" * 16, "f" * 16):
        reply = log.browser.get(f"{ENTRIES}/{tree}{'00' * 32}")
        assert (reply.status, error_of(reply)[0]) == (400, 400)


def test_search(log: RunningLog) -> None:
    proposals = [proposal(f"search {number}") for number in range(3)]
    posted = [log.check(log.post(item).body) for item in proposals]
    canonical = json.loads(posted[2].entry.canonicalized_body)
    query = {
        "logIndexes": [posted[0].entry.log_index, 10**6],
        "entryUUIDs": [posted[1].entry_id[16:], posted[2].entry_id, "00" * 32],
        "entries": [proposals[0], canonical, {**proposals[0], "kind": "intoto"}],
    }
    reply = log.post(query, f"{ENTRIES}/retrieve/")
    assert reply.status == 200
    assert "cache-control" not in reply.headers
    assert reply.body.endswith(b"}}}]\n")
    found = json.loads(reply.body)
    # Full ids first, then bare ones and entries, then indexes.
    order = [posted[2], posted[1], posted[0], posted[2], posted[0]]
    assert [next(iter(item)) for item in found] == [item.entry_id for item in order]
    for item in found:
        log.check(encode(item))


def test_search_that_finds_nothing() -> None:
    with RunningLog(genesis=False) as log:
        queries: tuple[object, ...] = ({}, {"entryUUIDs": None}, {"logIndexes": [0]})
        for query in queries:
            reply = log.post(query, f"{ENTRIES}/retrieve")
            assert (reply.status, reply.body) == (200, b"[]\n")
        foreign = {"entryUUIDs": [f"{TREE_ID + 1:016x}{'00' * 32}"]}
        assert log.post(foreign, f"{ENTRIES}/retrieve").body == b"[]\n"


def test_search_limits(log: RunningLog) -> None:
    reply = log.post({"logIndexes": list(range(11))}, f"{ENTRIES}/retrieve")
    message = "logIndexes in body should have at most 10 items"
    assert (reply.status, error_of(reply)) == (422, (611, message))
    mixed = {"logIndexes": list(range(6)), "entryUUIDs": ["00" * 32] * 6}
    reply = log.post(mixed, f"{ENTRIES}/retrieve")
    message = "more than max allowed 10 entries in request"
    assert (reply.status, error_of(reply)) == (422, (422, message))
    reply = log.post(b"{", f"{ENTRIES}/retrieve")
    assert reply.status == 400
    assert error_of(reply)[1].startswith('parsing entry body from "" failed, because ')
    bad = {"entries": [{**proposal("x"), "spec": {}}]}
    assert log.post(bad, f"{ENTRIES}/retrieve").status == 400
    zero = {"entryUUIDs": ["0" * 80]}
    reply = log.post(zero, f"{ENTRIES}/retrieve")
    assert reply.status == 400
    assert error_of(reply)[1].startswith("invalid entryID ")


# --- the log -------------------------------------------------------------------------------------


def test_info(log: RunningLog) -> None:
    for path in ("/api/v1/log", "/api/v1/log/"):
        reply = log.browser.get(path)
        assert reply.status == 200
        assert headers_of(reply) == {"content-type": "application/json", **NO_CACHE}
        info = json.loads(reply.body)
        assert list(info) == [
            "inactiveShards",
            "rootHash",
            "signedTreeHead",
            "treeID",
            "treeSize",
        ]
        head = log.check_note(info["signedTreeHead"])
        assert info["inactiveShards"] is None
        assert info["treeID"] == str(TREE_ID)
        assert (info["treeSize"], info["rootHash"]) == (head.tree_size, head.root_hash.hex())
        assert reply.body.startswith(b'{"inactiveShards":null,"rootHash":"')
        assert reply.body.endswith(b"}\n")


def test_empty_log() -> None:
    with RunningLog(genesis=False) as log:
        info = json.loads(log.browser.get("/api/v1/log").body)
        assert log.check_note(info["signedTreeHead"]).tree_size == info["treeSize"] == 0
        reply = log.post(proposal("first"))
        first = json.loads(reply.body)
        log.check(reply.body)
        (entry,) = first.values()
        assert entry["logIndex"] == 0
        assert b'"hashes":[],"logIndex":0' in reply.body


def test_consistency(log: RunningLog) -> None:
    before = log.check_note(json.loads(log.browser.get("/api/v1/log").body)["signedTreeHead"])
    for number in range(5):
        log.post(proposal(f"grow {number}"))
    now = log.check_note(json.loads(log.browser.get("/api/v1/log").body)["signedTreeHead"])
    query = {"firstSize": str(before.tree_size), "lastSize": str(now.tree_size)}
    for tree in ({}, {"treeID": str(TREE_ID)}, {"treeID": ""}):
        reply = log.browser.get("/api/v1/log/proof", query={**query, **tree})
        assert reply.status == 200
        proof = json.loads(reply.body)
        assert list(proof) == ["hashes", "rootHash"]
        assert proof["rootHash"] == now.root_hash.hex()
        hashes = [bytes.fromhex(item) for item in proof["hashes"]]
        verify_consistency(before.tree_size, now.tree_size, before.root_hash, now.root_hash, hashes)
    same = log.browser.get("/api/v1/log/proof", query={"firstSize": "3", "lastSize": "3"})
    assert same.body == f'{{"hashes":[],"rootHash":"{now.root_hash.hex()}"}}\n'.encode()
    default = log.browser.get("/api/v1/log/proof", query={"lastSize": "2"})
    assert len(json.loads(default.body)["hashes"]) == 1


@pytest.mark.parametrize(
    ("query", "status", "number", "message"),
    [
        ("", 422, 602, "lastSize in query is required"),
        ("lastSize=0", 422, 609, "lastSize in query should be greater than or equal to 1"),
        ("firstSize=0&lastSize=1", 422, 609, "firstSize in query should be greater than or"),
        ("firstSize=x", 422, 601, 'firstSize in query must be of type int64: "x"'),
        ("firstSize=2&lastSize=1", 400, 400, "firstSize(2) must be less than lastSize(1)"),
        ("lastSize=1&treeID=x", 422, 605, "treeID in query should match '^[0-9]+$'"),
        ("lastSize=1&treeID=5", 400, 400, "no log range found for tree ID 5"),
        ("lastSize=999999", 400, 400, "the tree size requested(999999) was greater than what is"),
    ],
)
def test_bad_consistency(
    log: RunningLog, query: str, status: int, number: int, message: str
) -> None:
    reply = log.browser.send("GET", "/api/v1/log/proof", query=query)
    assert (reply.status, error_of(reply)[0]) == (status, number)
    assert error_of(reply)[1].startswith(message)


def test_public_key(log: RunningLog) -> None:
    for query in ({}, {"treeID": str(TREE_ID)}, {"treeID": ""}):
        reply = log.browser.get("/api/v1/log/publicKey", query=query)
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/x-pem-file"
        assert reply.text == log.signer.public_key.to_pem()
    unacceptable = log.browser.get("/api/v1/log/publicKey", accept="application/json")
    assert unacceptable.status == 406
    assert "only [application/x-pem-file] are available" in error_of(unacceptable)[1]
    assert log.browser.get("/api/v1/log/publicKey", query={"treeID": "5"}).status == 400


def test_search_index_is_not_there_yet(log: RunningLog) -> None:
    reply = log.post({"hash": "00" * 32}, "/api/v1/index/retrieve")
    message = "Search Index API not enabled in this Rekor instance"
    assert (reply.status, error_of(reply)) == (501, (501, message))


def test_ping(log: RunningLog) -> None:
    reply = log.browser.get("/ping")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b".", "text/plain")


def test_indexes_of_a_second_shard_are_global() -> None:
    with RunningLog(first_index=1000) as log:
        found = log.check(log.post(proposal("shard")).body)
        assert found.entry.log_index == 1002
        assert found.entry.inclusion_proof is not None
        assert found.entry.inclusion_proof.log_index == 2
        assert log.browser.get(ENTRIES, query={"logIndex": "1002"}).status == 200
        assert log.browser.get(ENTRIES, query={"logIndex": "2"}).status == 404


def test_searches_wait_for_each_other(log: RunningLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may hold megabytes, in the keeper's memory until the worker has taken it."""

    def search() -> Reply:
        return log.post({"logIndexes": [0] * 10}, path=f"{ENTRIES}/retrieve")

    assert 1 < most_at_once(log.keeper, FetchEntries, search, monkeypatch) <= 16
