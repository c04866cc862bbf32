# SPDX-License-Identifier: Apache-2.0
"""Rekor's API v1 over HTTP: adding entries, and what holds for every request."""

import json
from collections.abc import Iterator

import pytest

from tests.support.asgi import Reply
from tests.support.rekor import (
    SigningKey,
    certificate,
    dsse,
    encode,
    envelope,
    hashedrekord,
    pem_of,
)
from tests.support.v1_log import ENTRIES, RunningLog, body_of, error_of

KEY = SigningKey.new()


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


def test_post_hashedrekord(log: RunningLog) -> None:
    reply = log.post(proposal("post"))
    entry_id, entry = log.check(reply.body)
    assert reply.status == 201
    assert headers_of(reply) == {
        "content-type": "application/json",
        "location": f"/api/v1/log/entries/{entry_id}",
        "etag": entry_id,
    }
    assert entry.integrated_time == log.clock.time_ms // 1000
    assert (entry.kind, entry.version) == ("hashedrekord", "0.0.1")
    assert reply.body.startswith(f'{{"{entry_id}":{{"body":"'.encode())
    assert reply.body.endswith(b'"}}}\n')
    tree = json.loads(reply.body)
    assert (
        reply.body == json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    )
    inner = tree[entry_id]
    assert list(inner) == ["body", "integratedTime", "logID", "logIndex", "verification"]
    assert list(inner["verification"]) == ["inclusionProof", "signedEntryTimestamp"]
    assert list(inner["verification"]["inclusionProof"]) == [
        "checkpoint",
        "hashes",
        "logIndex",
        "rootHash",
        "treeSize",
    ]


def test_post_dsse(log: RunningLog) -> None:
    text = envelope(b'{"_type":"https://in-toto.io/Statement/v1"}', KEY)
    leaf = pem_of(certificate(KEY))
    reply = log.post(dsse(text, leaf))
    assert reply.status == 201
    assert log.check(reply.body).entry.kind == "dsse"


def test_large_envelope(log: RunningLog) -> None:
    text = envelope(b'{"padding":"' + b"x" * 2_000_000 + b'"}', KEY)
    reply = log.post(dsse(text, KEY.pem))
    assert reply.status == 201
    log.check(reply.body)
    query = {"entries": [dsse(text, KEY.pem)]}
    (found,) = json.loads(log.post(query, f"{ENTRIES}/retrieve").body)
    assert set(found) == set(json.loads(reply.body))


def test_duplicate(log: RunningLog) -> None:
    first = log.post(proposal("twice"))
    entry_id = log.check(first.body).entry_id
    body = encode(json.loads(body_of(first.body)))  # a canonical body is a proposal, too
    for again in (body, encode(json.loads(body) | {"unknown": 1})):
        reply = log.post(again)
        assert reply.status == 409
        assert error_of(reply) == (
            409,
            f"an equivalent entry already exists in the transparency log with UUID {entry_id}",
        )
        assert headers_of(reply) == {
            "content-type": "application/json",
            "location": f"{ENTRIES}/{entry_id}",
        }
        found = log.check(log.browser.get(reply.headers["location"]).body)
        assert found.entry_id == entry_id


def test_location_keeps_the_query_but_no_key(log: RunningLog) -> None:
    reply = log.browser.send(
        "POST",
        ENTRIES,
        query="b=2&apiKey=secret&a=1%202",
        headers={"content_type": "application/json"},
        body=encode(proposal("query")),
    )
    assert reply.headers["location"].partition("?")[2] == "a=1+2&b=2"


def test_refused_entries(log: RunningLog) -> None:
    bad = hashedrekord(KEY, b"bad")
    bad["spec"]["data"]["hash"]["value"] = "00" * 32
    reply = log.post(bad)
    assert reply.status == 400
    code, message = error_of(reply)
    assert code == 400
    assert message.startswith("error processing entry: verifying signature: ")
    assert log.post({**bad, "kind": "intoto"}).status == 400
    reply = log.post({**bad, "kind": "rekord"})
    assert error_of(reply) == (
        400,
        "error processing entry: entry kind 'rekord' is not enabled for submission on this server",
    )
    assert log.post({**bad, "apiVersion": "0.0.2"}).status == 400


def test_schema(log: RunningLog) -> None:
    reply = log.post({"apiVersion": "0.0.1", "spec": {}})
    assert reply.status == 422
    assert error_of(reply) == (602, "kind in body is required")
    reply = log.post({"kind": "foo"})
    assert (reply.status, error_of(reply)) == (422, (422, 'invalid kind value: "foo"'))
    reply = log.post(b"")
    assert (reply.status, error_of(reply)) == (422, (602, "proposedEntry in body is required"))
    assert log.post(b"{").status == 400


@pytest.mark.parametrize(
    ("content_type", "shown"),
    [("text/plain", "text/plain"), ("application/x-yaml; a=b", "application/x-yaml")],
)
def test_content_types(log: RunningLog, content_type: str, shown: str) -> None:
    reply = log.post(proposal("x"), content_type=content_type)
    message = f'unsupported media type "{shown}", only [application/json] are allowed'
    assert (reply.status, error_of(reply)) == (415, (415, message))


def test_missing_content_type(log: RunningLog) -> None:
    reply = log.browser.post(ENTRIES, encode(proposal("x")))
    assert reply.status == 415
    assert '"application/octet-stream"' in error_of(reply)[1]
    parameters = log.post(proposal("charset"), content_type="Application/JSON; charset=utf-8")
    assert parameters.status == 201


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "application/pem, x/*", "*/*;a=b;q=x"]
)
def test_unacceptable(log: RunningLog, accept: str) -> None:
    reply = log.browser.get("/api/v1/log", accept=accept)
    message = "unsupported media type requested, only [application/json] are available"
    assert (reply.status, error_of(reply)) == (406, (406, message))


def test_accept_is_not_read_for_ever(log: RunningLog) -> None:
    accept = "a/b," * 100 + "application/json"
    assert log.browser.get("/api/v1/log", accept=accept).status == 406


@pytest.mark.parametrize("accept", ["*/*", "application/*", "text/html, application/json;q=0.1"])
def test_acceptable(log: RunningLog, accept: str) -> None:
    assert log.browser.get("/api/v1/log", accept=accept).status == 200


def test_chunked_bodies_have_a_type_too(log: RunningLog) -> None:
    headers = {"transfer_encoding": "chunked", "content_type": "text/plain"}
    assert log.browser.send("POST", ENTRIES, headers=headers).status == 415


def test_too_large() -> None:
    with RunningLog(max_request_bytes=1000) as log:
        reply = log.post(b" " * 1001)
        message = "Request Entity Too Large. Limit set to 1000"
        assert (reply.status, error_of(reply)) == (413, (413, message))
        assert log.post(b" " * 1001, f"{ENTRIES}/retrieve").status == 413


def test_verbs(log: RunningLog) -> None:
    reply = log.browser.send("PUT", ENTRIES)
    message = "method PUT is not allowed, but [GET,POST] are"
    assert (reply.status, error_of(reply)) == (405, (405, message))
    assert reply.headers["allow"] == "GET,POST"
    assert log.browser.send("HEAD", "/api/v1/log").status == 405
    assert log.browser.send("POST", "/api/v1/log").headers["allow"] == "GET"
    for verb in ("TRACE", "PROPFIND"):
        assert log.browser.send(verb, "/api/v1/log").headers["allow"] == "GET"


def test_unknown_path(log: RunningLog) -> None:
    reply = log.browser.get("/api/v1/version")
    assert reply.status == 404
    assert error_of(reply) == (404, "path /api/v1/version was not found")


def test_other_origins(log: RunningLog) -> None:
    reply = log.browser.get("/api/v1/log", origin="https://search.example")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["vary"] == "Origin"
    asked = {"access_control_request_method": "POST", "origin": "https://search.example"}
    for path in (ENTRIES, f"{ENTRIES}/{'00' * 32}"):
        preflight = log.browser.send("OPTIONS", path, headers=asked)
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-methods"] == "GET, POST, HEAD"
