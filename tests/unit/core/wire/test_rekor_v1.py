# SPDX-License-Identifier: Apache-2.0
"""Rekor v1's JSON, byte for byte."""

import json

import pytest

from countermark.core.bundle.bundle import InclusionProof, TransparencyLogEntry
from countermark.core.errors import FormatError
from countermark.core.rekor.kinds import admit
from countermark.core.wire import rekor_v1 as wire
from countermark.core.wire import rekor_v1_requests as requests
from tests.support.rekor import SigningKey, b64, envelope, hashedrekord

BODY = b'{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{}}'
NOTE = "log.example - 7\n2\nAAAA\n\n\N{EM DASH} log.example AAAAAA==\n"
PROOF = InclusionProof(1, b"\x01" * 32, 2, (b"\x02" * 32, b"\x03" * 32), NOTE)
ENTRY_ID = "0000000000000007" + "04" * 32
OBJECT = wire.entry_object(ENTRY_ID, BODY, 1_700_000_000, "05" * 32, 11, PROOF, b"promise")


def test_entry_bytes() -> None:
    hashes = f'"{"02" * 32}","{"03" * 32}"'
    assert wire.entry_reply(OBJECT).decode() == (
        f'{{"{ENTRY_ID}":{{"body":"{b64(BODY)}","integratedTime":1700000000,'
        f'"logID":"{"05" * 32}","logIndex":11,"verification":{{"inclusionProof":{{'
        '"checkpoint":"log.example - 7\\n2\\nAAAA\\n\\n\N{EM DASH} log.example AAAAAA==\\n",'
        f'"hashes":[{hashes}],"logIndex":1,"rootHash":"{"01" * 32}","treeSize":2}},'
        f'"signedEntryTimestamp":"{b64(b"promise")}"}}}}}}\n'
    )


def test_entry_of_a_tree_of_one() -> None:
    proof = PROOF._replace(hashes=())
    assert b'"hashes":[],' in wire.entry_object(ENTRY_ID, BODY, 1, "05" * 32, 0, proof, b"p")


def test_entry_is_read_back() -> None:
    expected = TransparencyLogEntry(
        log_index=11,
        log_id=b"\x05" * 32,
        kind="hashedrekord",
        version="0.0.1",
        integrated_time=1_700_000_000,
        inclusion_promise=b"promise",
        inclusion_proof=PROOF,
        canonicalized_body=BODY,
    )
    assert wire.parse_log_entry(wire.entry_reply(OBJECT)) == (ENTRY_ID, expected)


def test_many_entries() -> None:
    assert wire.entries_reply([]) == b"[]\n"
    assert wire.entries_reply([OBJECT, OBJECT]) == b"[%b,%b]\n" % (OBJECT, OBJECT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ENTRY_ID, ENTRY_ID[1:]),
        (ENTRY_ID, ENTRY_ID[:-1] + "F"),
        ('"logIndex":11', '"logIndex":-1'),
        ('"logIndex":11', '"logIndex":9223372036854775808'),
        ('"logIndex":11', '"logIndex":"11"'),
        ("05" * 32, "05" * 31),
        ("02" * 32, "0A" * 32),
        (b64(BODY), b64(b"{}")),
        (b64(BODY), "%"),
        ('"signedEntryTimestamp"', '"set"'),
        ('"checkpoint"', '"note"'),
        ('"treeSize":2', '"treeSize":2.5'),
        ('"hashes":[', '"hashes":[' + f'"{"02" * 32}",' * 63),
        ("}}}", "}}"),
    ],
)
def test_entry_that_is_none(old: str, new: str) -> None:
    entry = OBJECT.decode()
    assert old in entry
    with pytest.raises(FormatError):
        wire.parse_log_entry(entry.replace(old, new).encode())


def test_replies_that_are_not_one_entry() -> None:
    other = OBJECT.replace(ENTRY_ID.encode(), ENTRY_ID.replace("7", "8").encode())
    for data in (b"{}", b"[]", OBJECT[:-1] + b"," + other[1:], b"x" * (wire.MAX_REPLY_BYTES + 1)):
        with pytest.raises(FormatError):
            wire.parse_log_entry(data)


def test_log_info() -> None:
    info = wire.LogInfo("01" * 32, NOTE, "2605736670972794746", 2)
    data = wire.log_info_reply(info)
    assert data.decode() == (
        f'{{"inactiveShards":null,"rootHash":"{"01" * 32}","signedTreeHead":"log.example - 7\\n2'
        '\\nAAAA\\n\\n\N{EM DASH} log.example AAAAAA==\\n","treeID":"2605736670972794746",'
        '"treeSize":2}\n'
    )
    assert wire.parse_log_info(data) == info
    older = [wire.LogInfo("02" * 32, "a", "1", 3), wire.LogInfo("03" * 32, "b", "2", 4)]
    sharded = wire.log_info_reply(info, older)
    listed = ",".join(
        f'{{"rootHash":"{root * 32}","signedTreeHead":"{note}",'
        f'"treeID":"{tree}","treeSize":{size}}}'
        for root, note, tree, size in (("02", "a", "1", 3), ("03", "b", "2", 4))
    )
    assert sharded == data.replace(b":null", f":[{listed}]".encode(), 1)
    assert wire.parse_log_info(sharded) == info
    with pytest.raises(FormatError):
        wire.parse_log_info(b"{}")


def test_consistency() -> None:
    assert wire.consistency_reply([], b"\x01" * 32).decode() == (
        f'{{"hashes":[],"rootHash":"{"01" * 32}"}}\n'
    )
    assert b'["' + b"02" * 32 + b'"]' in wire.consistency_reply([b"\x02" * 32], b"\x01" * 32)


def test_errors() -> None:
    data = wire.error_reply(409, 'an "equivalent" entry')
    assert data == b'{"code":409,"message":"an \\"equivalent\\" entry"}\n'
    assert wire.parse_error(data) == 'an "equivalent" entry'
    assert wire.parse_error(b"") == ""
    assert wire.parse_error(b"<html>") == ""


def test_proposals_are_ones_that_the_server_takes() -> None:
    key = SigningKey.new()
    signature = key.sign(b"x")
    digest = hashedrekord(key, b"x")["spec"]["data"]["hash"]["value"]
    hashed = wire.proposed_hashedrekord("sha256", digest, signature, key.pem)
    enveloped = wire.proposed_dsse(envelope(b"{}", key), [key.pem])
    for data, kind in ((hashed, "hashedrekord"), (enveloped, "dsse")):
        proposal = requests.read_proposal(data)
        assert admit(proposal.kind, proposal.version, proposal.spec).kind == kind
        assert json.loads(data)["apiVersion"] == "0.0.1"


@pytest.mark.parametrize(
    ("body", "status", "number", "message"),
    [
        (b"", 422, 602, "proposedEntry in body is required"),
        (b"{", 400, 400, 'parsing proposedEntry body from "" failed, because '),
        (b"[]", 400, 400, 'parsing proposedEntry body from "" failed, because '),
        (b'{"kind":"\xff"}', 400, 400, 'parsing proposedEntry body from "" failed, because '),
        (b"{}", 422, 602, "kind in body is required"),
        (b'{"kind":null}', 422, 602, "kind in body is required"),
        (b'{"kind":"foo"}', 422, 422, 'invalid kind value: "foo"'),
        (b'{"kind":"dsse"}', 422, 602, "apiVersion in body is required"),
        (b'{"kind":"dsse","apiVersion":"1"}', 422, 605, "apiVersion in body should match '^(0|"),
        (b'{"kind":"dsse","apiVersion":"0.0.1"}', 422, 602, "spec in body is required"),
        (
            b'{"kind":"dsse","apiVersion":"0.0.1","spec":null}',
            422,
            602,
            "spec in body is required",
        ),
    ],
)
def test_proposals_that_break_the_schema(
    body: bytes, status: int, number: int, message: str
) -> None:
    with pytest.raises(requests.BadRequest) as caught:
        requests.read_proposal(body)
    assert (caught.value.status, caught.value.number) == (status, number)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("query", "status", "number", "message"),
    [
        (None, 422, 602, "entry in body is required"),
        (
            {"entryUUIDs": ["aa"]},
            422,
            605,
            "entryUUIDs.0 in body should match '^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$'",
        ),
        ({"entryUUIDs": [None]}, 422, 605, "entryUUIDs.0 in body should match"),
        ({"logIndexes": [0] * 11}, 422, 611, "logIndexes in body should have at most 10 items"),
        (
            {"logIndexes": [3, -1]},
            422,
            609,
            "logIndexes.1 in body should be greater than or equal to 0",
        ),
        ({"logIndexes": [None]}, 422, 602, "logIndexes.0 in body is required"),
        ({"logIndexes": [2**63]}, 400, 400, 'parsing entry body from "" failed, because '),
        ({"logIndexes": ["1"]}, 400, 400, 'parsing entry body from "" failed, because '),
        (
            {"logIndexes": [0] * 6, "entryUUIDs": ["aa" * 32] * 5},
            422,
            422,
            "more than max allowed 10 entries in request",
        ),
        ({"entries": [{"kind": "foo"}]}, 400, 400, 'parsing entry body from "" failed, because '),
        ({"entries": [None]}, 400, 400, 'parsing entry body from "" failed, because '),
    ],
)
def test_queries_that_break_the_schema(
    query: object, status: int, number: int, message: str
) -> None:
    with pytest.raises(requests.BadRequest) as caught:
        requests.read_query(b"" if query is None else json.dumps(query).encode())
    assert (caught.value.status, caught.value.number) == (status, number)
    assert str(caught.value).startswith(message)


def test_null_is_absence_in_queries() -> None:
    query = requests.read_query(b'{"entryUUIDs":null,"logIndexes":null,"entries":[]}')
    assert query == ((), (), ())


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["5"], 5), (["+5"], 5), (["007"], 7), (["1", "2"], 2), ([], 9), ([""], 9)],
)
def test_integers_of_the_query_string(values: list[str], expected: int) -> None:
    assert requests.read_integer(values, "n", minimum=0, default=9) == expected


@pytest.mark.parametrize(
    ("values", "number", "message"),
    [
        ([], 602, "logIndex in query is required"),
        ([""], 602, "logIndex in query is required"),
        (["x"], 601, 'logIndex in query must be of type int64: "x"'),
        (["٣"], 601, "logIndex in query must be of type int64"),
        (["1_0"], 601, "logIndex in query must be of type int64"),
        (["9223372036854775808"], 601, "logIndex in query must be of type int64"),
        (["-1"], 609, "logIndex in query should be greater than or equal to 0"),
    ],
)
def test_bad_integers(values: list[str], number: int, message: str) -> None:
    with pytest.raises(requests.BadRequest) as caught:
        requests.read_integer(values, "logIndex", minimum=0)
    assert (caught.value.status, caught.value.number) == (422, number)
    assert str(caught.value).startswith(message)


def test_queries_are_small_before_they_are_read() -> None:
    """Millions of small elements would take a worker's memory, long numbers its time."""
    for body in (
        b'{"entries":[' + b"{}," * 70_000 + b"{}]}",
        b'{"entryUUIDs":[' + b'"",' * 70_000 + b'""]}',
    ):
        with pytest.raises(requests.BadRequest, match="more than 65536 elements"):
            requests.read_query(body)
    with pytest.raises(requests.BadRequest, match="more than 65536 elements"):
        requests.read_proposal(b'{"kind":[' + b"{}," * 70_000 + b"{}]}")
    long = b'{"logIndexes":[' + b",".join([b"1" * 4000] * 2) + b"]}"
    with pytest.raises(requests.BadRequest, match="logIndexes in body should have at most 10"):
        requests.read_query(long)
