# SPDX-License-Identifier: Apache-2.0
"""One entry in many spellings is one entry; another signature over the same is another."""

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from tests.support.asgi import Reply
from tests.support.rekor import SigningKey, b64, dsse, encode, envelope, hashedrekord, intoto
from tests.support.v1_log import ENTRIES, RunningLog

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
Tree = dict[str, Any]


@pytest.fixture(scope="module")
def log() -> Iterator[RunningLog]:
    with RunningLog() as running:
        yield running


def duplicate(log: RunningLog, body: bytes, first: Reply) -> None:
    """It is told where the first one is, and nothing was added."""
    before = log.log.head.tree_size
    reply = log.post(body)
    entry_id = next(iter(json.loads(first.body)))
    assert reply.status == 409, reply.text
    assert json.loads(reply.body) == {
        "code": 409,
        "message": "an equivalent entry already exists in the transparency log with UUID "
        + entry_id,
    }
    assert reply.headers["location"] == first.headers["location"] == f"{ENTRIES}/{entry_id}"
    assert "etag" not in reply.headers
    assert log.log.head.tree_size == before
    log.check(log.browser.get(reply.headers["location"]).body)


def changed(tree: Tree, path: str, change: Callable[[str], str]) -> bytes:
    copy: Tree = json.loads(json.dumps(tree))
    *parents, last = path.split(".")
    target = copy
    for name in parents:
        target = target[name]
    target[last] = change(target[last])
    return encode(copy)


def reversed_members(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: reversed_members(item) for name, item in reversed(value.items())}


def recoded(change: Callable[[str], str]) -> Callable[[str], str]:
    """A change to the PEM inside base64."""
    return lambda text: b64(change(base64.b64decode(text).decode()))


def narrow(pem: str) -> str:
    header, *lines, footer = pem.strip().split("\n")
    text = "".join(lines)
    return "\n".join([header, *(text[at : at + 20] for at in range(0, len(text), 20)), footer])


KEY_PATH, SIGNATURE_PATH = "spec.signature.publicKey.content", "spec.signature.content"
PEM_SPELLINGS: dict[str, Callable[[str], str]] = {
    "no final newline": str.strip,
    "two final newlines": lambda pem: pem + "\n",
    "leading newline": lambda pem: "\n" + pem,
    "CRLF": lambda pem: pem.replace("\n", "\r\n"),
    "narrow lines": narrow,
    "spaces at the ends of lines": lambda pem: pem.replace("\n", " \n"),
    "text before": lambda pem: "somebody's key\n" + pem,
    "header lines": lambda pem: pem.replace("KEY-----\n", "KEY-----\nA: b\n\n", 1),
}


def test_spellings_of_a_hashedrekord(log: RunningLog) -> None:
    key = SigningKey.new()
    tree = hashedrekord(key, b"many spellings")
    first = log.post(tree)
    assert first.status == 201
    text = json.dumps(tree)
    signature = tree["spec"]["signature"]["content"]
    escaped = "".join(f"\\u{ord(character):04x}" for character in signature)
    for body in (
        encode(tree),
        json.dumps(tree, indent=4).encode(),
        b" \r\n\t" + text.encode() + b"\n\n",
        json.dumps(reversed_members(tree)).encode(),
        json.dumps({**tree, "unknown": [1, {"x": None}]}).encode(),
        text.replace(json.dumps(signature), f'"{escaped}"').encode(),
        text.replace('"kind"', '"kind": "rpm", "kind"').encode(),  # the last one counts
        changed(tree, SIGNATURE_PATH, lambda text: text[:20] + "\n" + text[20:] + "\r\n"),
        changed(tree, KEY_PATH, lambda text: text[:40] + "\n" + text[40:]),
        changed(tree, "spec.data.hash.value", str.upper),
    ):
        duplicate(log, body, first)


@pytest.mark.parametrize("spelling", PEM_SPELLINGS)
def test_spellings_of_pem(log: RunningLog, spelling: str) -> None:
    key = SigningKey.new()
    tree = hashedrekord(key, spelling.encode())
    first = log.post(changed(tree, KEY_PATH, recoded(PEM_SPELLINGS[spelling])))
    assert first.status == 201
    duplicate(log, encode(tree), first)


def test_other_signatures_are_other_entries(log: RunningLog) -> None:
    """As upstream: (r, n - s) is a signature that the log has not seen. Both name the same key."""
    key = SigningKey.new()
    tree = hashedrekord(key, b"two signatures")
    replies = [log.post(tree)]

    def other_half(text: str) -> str:
        r, s = decode_dss_signature(base64.b64decode(text))
        return b64(encode_dss_signature(r, P256_ORDER - s))

    def bare(text: str) -> str:
        r, s = decode_dss_signature(base64.b64decode(text))
        return b64(r.to_bytes(32) + s.to_bytes(32))

    replies += [log.post(changed(tree, SIGNATURE_PATH, change)) for change in (other_half, bare)]
    assert [reply.status for reply in replies] == [201, 201, 201]
    assert len({reply.headers["location"] for reply in replies}) == 3
    for reply in replies:
        log.check(reply.body)
        stored = json.loads(base64.b64decode(next(iter(json.loads(reply.body).values()))["body"]))
        assert (
            base64.b64decode(stored["spec"]["signature"]["publicKey"]["content"]).decode()
            == key.pem
        )
    for change in (other_half, bare):
        assert log.post(changed(tree, SIGNATURE_PATH, change)).status == 409


@pytest.mark.parametrize(
    "bend",
    [
        lambda data: data + b"\x00",
        lambda data: b"\x30\x80" + data[2:] + b"\x00\x00",
        lambda data: b"\x30\x81" + data[1:],
        lambda data: b"\x00" + data,
    ],
)
def test_bent_spellings_of_a_signature_are_none(
    log: RunningLog, bend: Callable[[bytes], bytes]
) -> None:
    """Else anybody could log somebody's signature again and again."""
    tree = hashedrekord(SigningKey.new(), b"bent")
    reply = log.post(changed(tree, SIGNATURE_PATH, lambda text: b64(bend(base64.b64decode(text)))))
    assert reply.status == 400, reply.text


@pytest.mark.parametrize("kind", ["dsse", "intoto"])
def test_spellings_of_envelopes(log: RunningLog, kind: str) -> None:
    key = SigningKey.new()
    text = envelope(b'{"subject":[{"digest":{"sha256":"aa"}}]}', key)
    tree = (dsse if kind == "dsse" else intoto)(text, key.pem)
    first = log.post(tree)
    assert first.status == 201, first.text
    for body in (
        encode(tree),
        json.dumps(tree, indent=1).encode(),
        json.dumps(reversed_members(tree)).encode(),
        json.dumps({**tree, "x": 1}).encode(),
    ):
        duplicate(log, body, first)


def test_locations_keep_the_query_but_no_key(log: RunningLog) -> None:
    tree = hashedrekord(SigningKey.new(), b"query")
    first = log.post(tree)
    body = encode(tree)
    headers = {"content-type": "application/json"}
    query = "x=%0d%0aSet-Cookie:%20a=b&apiKey=secret&y=%F0%9F%92%A9"
    reply = log.browser.send("POST", ENTRIES, query=query, headers=headers, body=body)
    assert reply.status == 409
    location = reply.headers["location"]
    assert location.startswith(first.headers["location"] + "?")
    assert "\r" not in location
    assert "\n" not in location
    assert "secret" not in location
    assert "set-cookie" not in reply.headers


def test_a_storm_of_spellings_leaves_one_entry(log: RunningLog) -> None:
    tree = hashedrekord(SigningKey.new(), b"a storm")
    bodies = [
        encode(tree),
        json.dumps(tree, indent=2).encode(),
        json.dumps(reversed_members(tree)).encode(),
        changed(tree, "spec.data.hash.value", str.upper),
    ]
    before = log.log.head.tree_size
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(log.post, bodies * 40))
    assert sorted({reply.status for reply in replies}) == [201, 409]
    assert sum(reply.status == 201 for reply in replies) == 1
    assert len({reply.headers["location"] for reply in replies}) == 1
    assert log.log.head.tree_size == before + 1
