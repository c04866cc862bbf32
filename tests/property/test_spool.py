# SPDX-License-Identifier: Apache-2.0
"""Files of the spool: whatever lies there is a signature that waits, or a typed error."""

import hashlib
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from countermark.client import spool
from countermark.core.errors import CountermarkError, FormatError
from countermark.core.intoto.predicates import NamedDigests, make_statement
from countermark.core.intoto.statement import parse_statement
from tests.support.forge import Forge

_BUNDLE = Forge().bundle()
_NUMBER = hashlib.sha256(_BUNDLE.signature).hexdigest()[:32]
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
waiting = st.builds(
    spool.Waiting,
    number=st.just(_NUMBER),
    file=texts,
    target=texts.map(lambda name: "/" + name.replace("\0", "")),
    overwrite=st.booleans(),
    since=st.just(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    instance_name=texts,
    trust_config=st.just({"mediaType": "x"}),
    bundle=st.just(_BUNDLE),
    public_key_pem=st.text(st.characters(max_codepoint=127), max_size=20),
)


@given(waiting)
def test_files_round_trip(item: spool.Waiting) -> None:
    assert spool.parse(spool.serialize(item)) == item


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    try:
        spool.parse(data)
    except FormatError:
        return
    raise AssertionError("garbage was accepted")


@given(waiting, st.data())
def test_a_changed_file_is_read_or_refused(item: spool.Waiting, data: st.DataObject) -> None:
    tree = json.loads(spool.serialize(item))
    tree[data.draw(st.sampled_from(sorted(tree)))] = data.draw(json_values)
    try:
        read = spool.parse(json.dumps(tree).encode())
        spool.prepared_of(read)
    except CountermarkError:
        return
    assert read.number == _NUMBER
    assert read.target.startswith("/")


@given(texts, json_values, st.text(max_size=30))
def test_statements_hold_exactly_the_predicate(uri: str, value: object, name: str) -> None:
    predicate = json.dumps({"value": value}, ensure_ascii=False)
    try:
        statement = make_statement(
            [NamedDigests(name, {"sha256": "00" * 32})], uri, predicate.encode("utf-8", "replace")
        )
    except CountermarkError:
        return
    assert parse_statement(statement).subjects[0].name == name
    assert json.loads(statement)["predicate"] == {"value": value}
