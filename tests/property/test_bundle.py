# SPDX-License-Identifier: Apache-2.0
"""Bundles, trusted roots, statements and log bodies: round trips, and our errors for garbage."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core.bundle import protojson
from countermark.core.bundle.bundle import (
    Bundle,
    InclusionProof,
    MessageSignature,
    TransparencyLogEntry,
)
from countermark.core.bundle.trusted_root import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
    Validity,
)
from countermark.core.errors import (
    AlgorithmRefused,
    FormatError,
    InclusionInvalid,
    SignatureInvalid,
    VerificationError,
)
from countermark.core.intoto.envelope import Envelope, EnvelopeSignature
from countermark.core.intoto.statement import parse_statement
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.policy import Identity
from countermark.core.verify.verifier import verify
from tests.property.test_certificate import damaged
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge, Plan, statement

FORGE = Forge()
ROOT = FORGE.trusted_root()
ME = Identity(NAME, ISSUER)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
BYTES, ID = st.binary(min_size=1, max_size=40), st.binary(min_size=32, max_size=32)
INT64 = st.integers(0, 2**63 - 1)
PROOFS = st.builds(InclusionProof, INT64, ID, INT64, st.lists(ID, max_size=64).map(tuple), TEXT)
ENTRIES = st.builds(
    TransparencyLogEntry, INT64, ID, TEXT, TEXT, INT64, st.binary(max_size=80), PROOFS, BYTES
)
CONTENT = st.builds(MessageSignature, BYTES, st.just("SHA2_256"), BYTES) | st.builds(
    Envelope,
    st.binary(max_size=80),
    TEXT,
    st.builds(EnvelopeSignature, BYTES, st.text(max_size=8)).map(lambda item: (item,)),
)
SIGNERS = st.tuples(BYTES.map(lambda item: (item,)), st.none()) | st.tuples(
    st.just(()), st.text(max_size=9)
)


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    certificates, hint = draw(SIGNERS)
    entries = st.lists(ENTRIES, max_size=3, unique_by=lambda entry: entry.log_index)
    stamps = st.lists(BYTES, max_size=3, unique=True)
    return Bundle(
        "0.3", certificates, hint, tuple(draw(entries)), tuple(draw(stamps)), draw(CONTENT)
    )


TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2500, 1, 1)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC)
)
VALIDITIES = st.builds(Validity, TIMES, st.none() | TIMES)
LOGS = st.builds(TransparencyLog, TEXT, TEXT, BYTES, TEXT, VALIDITIES, ID, st.binary(), TEXT)
AUTHORITIES = st.builds(
    CertificateAuthority,
    TEXT,
    TEXT,
    TEXT,
    st.lists(BYTES, min_size=1, max_size=3).map(tuple),
    VALIDITIES,
    TEXT,
)
LOG_LISTS = st.lists(LOGS, max_size=3).map(tuple)
AUTHORITY_LISTS = st.lists(AUTHORITIES, max_size=3).map(tuple)
ROOTS = st.builds(TrustedRoot, LOG_LISTS, AUTHORITY_LISTS, LOG_LISTS, AUTHORITY_LISTS)
STRINGS = st.text(st.characters(), max_size=6)  # half characters too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner),
    max_leaves=6,
)


@given(bundles())
def test_bundles_round_trip(bundle: Bundle) -> None:
    assert Bundle.parse(bundle.serialize()) == bundle


@given(ROOTS)
def test_trusted_roots_round_trip(root: TrustedRoot) -> None:
    assert TrustedRoot.parse(root.serialize()) == root
    for log in (*root.tlogs, *root.ctlogs):
        with contextlib.suppress(FormatError, AlgorithmRefused):
            assert log.public_key
    for authority in (*root.certificate_authorities, *root.timestamp_authorities):
        with contextlib.suppress(FormatError):
            assert authority.certificates


@given(damaged(FORGE.bundle().serialize()) | st.binary(max_size=100))
def test_damaged_bundles(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        bundle = Bundle.parse(data)
        with contextlib.suppress(FormatError, VerificationError):
            evidence = verify(bundle, BytesArtifact(ARTIFACT), ROOT, ME)
            assert evidence.records[0].tree_size in (0, 7)


@given(damaged(ROOT.serialize()) | st.binary(max_size=100))
def test_damaged_trusted_roots(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        root = TrustedRoot.parse(data)
        assert TrustedRoot.parse(root.serialize()) is not None


@given(damaged(statement(ARTIFACT)) | JSON.map(lambda tree: json.dumps(tree).encode()))
def test_damaged_statements(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert parse_statement(data).subjects


def paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += paths(value, (*path, key))
    return found


TREES = [
    json.loads(FORGE.bundle(**plan).serialize())
    for plan in ({}, {"log": "v2"}, {"envelope": True}, {"envelope": True, "kind": "intoto"})
]


def put(tree: Any, path: tuple[Any, ...], value: object) -> None:
    for step in path[:-1]:
        tree = tree[step]
    tree[path[-1]] = value


@settings(max_examples=200)
@given(st.sampled_from(TREES), st.data())
def test_any_json_in_any_place(original: Any, data: st.DataObject) -> None:
    tree = json.loads(json.dumps(original))
    put(tree, data.draw(st.sampled_from(paths(tree))), data.draw(JSON))
    with contextlib.suppress(FormatError, VerificationError):
        verify(Bundle.parse(json.dumps(tree).encode()), BytesArtifact(ARTIFACT), ROOT, ME)


PLANS = (Plan(), Plan(envelope=True), Plan(envelope=True, kind="intoto"))
SIGNED = [FORGE.bundle(plan, promise=False) for plan in PLANS]


@settings(max_examples=200)
@given(st.integers(0, 2), st.data())
def test_any_json_in_a_log_body(number: int, data: st.DataObject) -> None:
    """The body is put under a good proof, so that reading it is what is tested."""
    bundle = SIGNED[number]
    tree = json.loads(bundle.tlog_entries[0].canonicalized_body)
    put(tree, data.draw(st.sampled_from(paths(tree))), data.draw(JSON))
    body = json.dumps(tree).encode()
    proof = FORGE.proof(body, PLANS[number], "v1")
    entry = bundle.tlog_entries[0]._replace(canonicalized_body=body, inclusion_proof=proof)
    with contextlib.suppress(FormatError, InclusionInvalid, SignatureInvalid):
        verify(bundle._replace(tlog_entries=(entry,)), BytesArtifact(ARTIFACT), ROOT, ME)


class _Pairs(tuple[tuple[str, object], ...]):
    """An object as it is written, keys perhaps twice."""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(':"\\_ab{}', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(st.text('ab_:"\\', max_size=2), inner), max_size=4).map(_Pairs)
    ),
    max_leaves=12,
)


def _written(value: object, space: str) -> str:
    if isinstance(value, _Pairs):
        pairs = [f"{json.dumps(key)}{space}:{space}{_written(item, space)}" for key, item in value]
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_written(item, space) for item in value) + "]"
    return json.dumps(value)


def _repeats(value: object) -> bool:
    if isinstance(value, _Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(_repeats(item) for _, item in value)
    return isinstance(value, list) and any(map(_repeats, value))


@given(
    st.lists(st.tuples(st.text("ab:", max_size=1), _JSON), max_size=3),
    st.sampled_from(("", " ", "\n")),
)
def test_no_key_may_come_twice_wherever_colons_are(
    pairs: list[tuple[str, object]], space: str
) -> None:
    """Readers of duplicate keys differ; the quick way to find none must overlook none."""
    tree = _Pairs(pairs)
    text = _written(tree, space).encode()
    if _repeats(tree):
        with pytest.raises(FormatError):
            protojson.parse_object(text, "x", limit=10_000)
    else:
        assert protojson.parse_object(text, "x", limit=10_000) == json.loads(text)
