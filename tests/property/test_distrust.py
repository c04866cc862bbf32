# SPDX-License-Identifier: Apache-2.0
"""Distrust lists and ceremonies from strangers: read exactly, or refused with a typed error."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.distrust.document import DistrustList
from countermark.core.distrust.packages import names_package
from countermark.core.distrust.subject import KeyHash, Package, SignerName, normal_purl
from countermark.core.errors import FormatError, RequestRejected
from countermark.trust.ceremony import Ceremony

NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda item: (
        st.lists(item, max_size=4) | st.dictionaries(st.text(max_size=8), item, max_size=4)
    ),
    max_leaves=10,
)
LINE = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=40)


def a_list() -> dict[str, Any]:
    found = DistrustList.empty("https://s.example", NOW)
    found = found.with_entry(KeyHash(b"k" * 32), "why", "ada", NOW, start=NOW)
    found = found.with_entry(Package("pkg:npm/name@1"), "why", "ada", NOW)
    tree: dict[str, Any] = json.loads(found.with_lifted(2, "why", "ada", NOW).serialize())
    return tree


def replaced(tree: Any, path: list[int], value: Any) -> Any:
    """`tree` with what is at `path` (taken round and round) replaced."""
    if not path or not isinstance(tree, dict | list) or not tree:
        return value
    keys = sorted(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = keys[path[0] % len(keys)]
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[key] = replaced(tree[key], path[1:], value)
    return copy


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_refused(data: bytes) -> None:
    for parse in (DistrustList.parse, Ceremony.parse):
        try:
            parse(data)
        except FormatError:
            continue
        raise AssertionError("garbage was read")


@given(st.lists(st.integers(0, 20), min_size=1, max_size=4), JSON)
def test_a_changed_list_is_refused_or_comes_back(path: list[int], value: Any) -> None:
    data = json.dumps(replaced(a_list(), path, value)).encode()
    try:
        found = DistrustList.parse(data)
    except FormatError:
        return
    assert DistrustList.parse(found.serialize()) == found


@given(LINE, LINE, LINE)
def test_every_line_of_text_comes_back(identity: str, reason: str, by: str) -> None:
    try:
        found = DistrustList.empty("https://s.example", NOW).with_entry(
            SignerName(identity, ""), reason, by, NOW
        )
    except FormatError:
        return
    (entry,) = DistrustList.parse(found.serialize()).entries
    assert (entry.subject, entry.reason, entry.by) == (SignerName(identity, ""), reason, by)


@given(
    st.text(max_size=60) | st.text("pkg:npm/%4025az@.-_+?#", max_size=30).map("pkg:npm/{}".format)
)
def test_package_urls_are_normal_after_one_pass(text: str) -> None:
    try:
        normal = normal_purl(text)
    except RequestRejected:
        assert not names_package(text, "pkg:npm/name@1")
        return
    assert normal_purl(normal) == normal
    assert names_package(text.strip(), normal)
