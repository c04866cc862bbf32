# SPDX-License-Identifier: Apache-2.0
"""Whatever is submitted to a v1 log, or answered by one: a value, or our error."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.bundle.bundle import InclusionProof
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError
from countermark.core.rekor.entry import EntryRejected
from countermark.core.rekor.kinds import KNOWN_KINDS, admit, canonicalize_query
from countermark.core.rekor.shard import EntryID, Shard
from countermark.core.rekor.stored import stored_search_keys
from countermark.core.rekor.verifiers import read_verifier
from countermark.core.wire import rekor_v1 as wire
from countermark.core.wire import rekor_v1_requests as requests
from tests.support.rekor import (
    SigningKey,
    b64,
    certificate,
    dsse,
    encode,
    envelope,
    hashedrekord,
    intoto,
    pem_of,
)

KEY = SigningKey.new()
HASHED = hashedrekord(KEY, b"artifact")
TEXT = envelope(b'{"subject":[{"digest":{"sha256":"aa"}}]}', KEY)
DSSE = dsse(TEXT, KEY.pem)
IN_TOTO = intoto(TEXT, KEY.pem)
CERTIFICATE = pem_of(certificate(KEY))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def paths(tree: object, prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [prefix] if prefix else []
    items: Any = ()
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    for name, value in items:
        found += paths(value, (*prefix, name))
    return found


@st.composite
def damaged_trees(draw: st.DrawFn, tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with one value somewhere replaced by another."""
    copy: Any = json.loads(json.dumps(tree))
    *parents, last = draw(st.sampled_from(paths(copy)))
    target = copy
    for name in parents:
        target = target[name]
    old = target[last]
    if isinstance(old, str) and draw(st.booleans()):
        position = draw(st.integers(0, len(old)))
        target[last] = old[:position] + draw(st.text(max_size=3)) + old[position + 1 :]
    else:
        target[last] = draw(json_values)
    return dict(copy)


def submit(body: bytes) -> None:
    try:
        proposal = requests.read_proposal(body)
        entry = admit(proposal.kind, proposal.version, proposal.spec)
    except (requests.BadRequest, EntryRejected):
        return
    assert json.loads(entry.body)["kind"] == entry.kind
    assert set(stored_search_keys(entry.body)) <= set(entry.search_keys)
    again = json.loads(entry.body)
    found = canonicalize_query(entry.kind, entry.version, encode(again["spec"]))
    assert found is not None
    assert found.body == entry.body


@given(st.binary(max_size=64) | json_values.map(encode))
def test_any_body_of_a_post(body: bytes) -> None:
    submit(body)


@given(damaged_trees(HASHED) | damaged_trees(DSSE) | damaged_trees(IN_TOTO))
def test_damaged_proposals(tree: dict[str, Any]) -> None:
    submit(encode(tree))


@given(damaged_trees(json.loads(TEXT)))
def test_damaged_envelopes(tree: dict[str, Any]) -> None:
    submit(encode(dsse(json.dumps(tree), KEY.pem)))


@given(st.text(max_size=8), st.text(max_size=8))
def test_any_payload_type_and_key_id_of_intoto(payload_type: str, keyid: str) -> None:
    proposal = intoto(envelope(b"{}", KEY, payload_type=payload_type), KEY.pem)
    proposal["spec"]["content"]["envelope"]["signatures"][0]["keyid"] = keyid
    submit(encode(proposal))


@given(st.sampled_from(sorted(KNOWN_KINDS)), st.text(max_size=8), json_values)
def test_any_kind_version_and_spec(kind: str, version: str, spec: object) -> None:
    for read in (admit, canonicalize_query):
        with contextlib.suppress(EntryRejected):
            read(kind, version, encode(spec))


@given(
    st.binary(max_size=64)
    | json_values.map(encode)
    | damaged_trees(
        {"entries": [HASHED], "entryUUIDs": ["aa" * 32, "01" * 40], "logIndexes": [0, 7]}
    ).map(encode)
)
def test_any_query(body: bytes) -> None:
    try:
        query = requests.read_query(body)
        for text in query.entry_ids:
            requests.parse_entry_id(text)
    except requests.BadRequest:
        return
    assert len(query.entry_ids) + len(query.log_indexes) + len(query.entries) <= 10


@given(st.data())
def test_damaged_pem(data: st.DataObject) -> None:
    pem = bytearray(data.draw(st.sampled_from([KEY.pem, CERTIFICATE, CERTIFICATE * 2])).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(pem) - 1))
        pem[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        verifier = read_verifier(bytes(pem))
    except EntryRejected:
        return
    assert read_verifier(verifier.pem.encode()) == verifier


@given(st.data())
def test_damaged_certificates(data: st.DataObject) -> None:
    der = bytearray(read_verifier(CERTIFICATE.encode()).certificates[0])
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    pem = f"-----BEGIN CERTIFICATE-----\n{b64(bytes(der))}\n-----END CERTIFICATE-----\n"
    try:
        verifier = read_verifier(pem.encode())
    except EntryRejected:
        return
    assert verifier.certificates == (bytes(der),)


@given(st.binary(max_size=200))
def test_any_stored_body(body: bytes) -> None:
    with contextlib.suppress(FormatError):
        stored_search_keys(body)


hashes = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**63 - 1)


@given(
    tree_id=st.integers(1, 2**63 - 1),
    leaf=hashes,
    time=numbers,
    index=numbers,
    proof=st.builds(
        InclusionProof,
        log_index=numbers,
        root_hash=hashes,
        tree_size=numbers,
        hashes=st.lists(hashes, max_size=63).map(tuple),
        checkpoint=st.text(st.characters(codec="utf-8"), max_size=80),
    ),
    promise=st.binary(max_size=80),
)
def test_entries_round_trip(
    tree_id: int, leaf: bytes, time: int, index: int, proof: InclusionProof, promise: bytes
) -> None:
    shard = Shard(tree_id, "log.example", PublicKey.from_pem(KEY.pem), 0)
    proposal = requests.read_proposal(encode(HASHED))
    body = admit(proposal.kind, proposal.version, proposal.spec).body
    entry_id = shard.entry_id(leaf)
    log_id = shard.log_id
    data = wire.entry_reply(
        wire.entry_object(entry_id, body, time, log_id.hex(), index, proof, promise)
    )
    assert (
        data
        == json.dumps(json.loads(data), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    )
    read_id, entry = wire.parse_log_entry(data)
    assert EntryID.parse(read_id) == (tree_id, leaf)
    assert entry.inclusion_proof == proof
    assert (entry.canonicalized_body, entry.log_id) == (body, log_id)
    assert (entry.log_index, entry.integrated_time, entry.inclusion_promise) == (
        index,
        time,
        promise,
    )


@given(st.binary(max_size=64) | json_values.map(encode))
def test_any_reply(data: bytes) -> None:
    for parse in (wire.parse_log_entry, wire.parse_log_info):
        with contextlib.suppress(FormatError):
            parse(data)
    assert len(wire.parse_error(data)) <= len(data)


def outcome(content: bytes) -> object:
    try:
        return read_verifier(content)
    except EntryRejected as error:
        return str(error)


@st.composite
def respelled(draw: st.DrawFn, pem: bytes) -> bytes:
    """A PEM with something put in place of a few of its bytes."""
    start = draw(st.integers(0, len(pem)))
    end = min(len(pem), start + draw(st.integers(0, 66)))
    put = draw(st.sampled_from([b"", b"\n", b" ", b"=", b"A", b"-", b"\r\n", b"==", pem[end:]]))
    return pem[:start] + put + pem[end:]


@given(st.sampled_from([KEY.pem.encode(), CERTIFICATE.encode()]).flatmap(respelled))
def test_shortest_way_of_reading_a_pem_tells_the_same(content: bytes) -> None:
    """White space before it is dropped, but takes the longer way."""
    assert outcome(content) == outcome(b"\n" + content)
