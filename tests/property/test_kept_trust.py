# SPDX-License-Identifier: Apache-2.0
"""What lies in the folder of kept metadata, or beside a merged root: a value or a typed error."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from countermark.client.trust.chain import Checked, Kept, read_roots, verify_kept
from countermark.client.trust.kept import parse_kept, serialize_kept
from countermark.client.trust.merged import merge, parse_parts
from countermark.client.trust.peers import check_url, cosign_name
from countermark.client.trust.sources import Source
from countermark.core.errors import CountermarkError, FormatError, VerificationError
from tests.support.forge import Forge
from tests.support.tuf_mirror import Repository

ROLES = ("timestamp", "snapshot", "targets")


@cache
def repository() -> Repository:
    made = Repository()
    made.rotate_root("root")
    made.publish({"trusted_root.json": b'{"a": 1}', "signing_config.v0.2.json": b"{}"})
    return made


@cache
def kept() -> Kept:
    made = repository()
    return Kept(
        (made.files["2.root.json"],),
        made.files["timestamp.json"],
        made.files[f"{made.snapshot.version}.snapshot.json"],
        made.files[f"{made.targets.version}.targets.json"],
        made.contents,
    )


@cache
def true() -> Checked:
    return verify_kept(repository().first_root, kept())


def test_undamaged_it_holds_and_round_trips() -> None:
    assert true().files == repository().contents
    assert parse_kept(serialize_kept(kept())) == kept()


@given(st.binary(max_size=200))
def test_garbage_in_the_file(data: bytes) -> None:
    try:
        parse_kept(data)
    except FormatError:
        return
    raise AssertionError("garbage was read as kept metadata")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=10,
)


@given(st.sampled_from(["version", "roots", *ROLES, "files"]), json_values)
def test_another_value_in_the_file(name: str, value: Any) -> None:
    tree = json.loads(serialize_kept(kept()))
    tree[name] = value
    try:
        found = parse_kept(json.dumps(tree).encode())
        checked = verify_kept(repository().first_root, found, true().versions)
    except (FormatError, VerificationError):
        return
    assert checked.versions == true().versions
    assert checked.files.items() <= true().files.items()


@given(
    st.sampled_from(["root", *ROLES]),
    st.integers(0, 100_000),
    st.binary(max_size=4),
    st.integers(0, 4),
)
def test_damage_never_changes_what_is_believed(
    part: str, position: int, replacement: bytes, cut: int
) -> None:
    def damaged(data: bytes) -> bytes:
        at = position % len(data)
        return data[:at] + replacement + data[at + cut :]

    (root,), *others = kept()[:4]
    files = dict(zip(("root", *ROLES), (root, *others), strict=True))
    files[part] = damaged(files[part])
    root, timestamp, snapshot, targets = files.values()
    changed = Kept((root,), timestamp, snapshot, targets, kept().files)
    try:
        checked = verify_kept(repository().first_root, changed)
    except (FormatError, VerificationError):
        return
    assert checked == true()


def _set(path: list[str], value: Any) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for name in path[:-1]:
            tree = tree[name]
        tree[path[-1]] = value

    return change


@given(
    st.sampled_from(
        [
            ["signed", "_type"],
            ["signed", "version"],
            ["signed", "spec_version"],
            ["signed", "expires"],
            ["signed", "keys"],
            ["signed", "roles"],
            ["signed", "roles", "root"],
            ["signed", "roles", "root", "threshold"],
            ["signed", "roles", "root", "keyids"],
            ["signatures"],
        ]
    ),
    json_values,
)
def test_a_root_with_another_value(path: list[str], value: Any) -> None:
    """Roots are read before anybody's signature on them can be: nothing in one may crash us."""
    tree = json.loads(repository().first_root)
    _set(path, value)(tree)
    try:
        (root,) = read_roots(json.dumps(tree).encode(), ())
    except (FormatError, VerificationError):
        return
    assert root.version == 1


@cache
def merged() -> tuple[bytes, bytes]:
    roots = [Forge().trusted_root() for _ in range(2)]
    sources = [Source(name, name, root.serialize()) for name, root in zip("ab", roots, strict=True)]
    return merge(sources)


@given(st.integers(0, 100_000), st.binary(max_size=4), st.integers(0, 4))
def test_any_note_beside_a_merged_root(position: int, replacement: bytes, cut: int) -> None:
    data, note = merged()
    at = position % len(note)
    try:
        parts = parse_parts(data, note[:at] + replacement + note[at + cut :])
    except FormatError:
        return
    assert len(parts) == 2


@given(st.text(max_size=40) | st.text(max_size=20).map(lambda text: f"https://{text}"))
def test_any_address_of_a_repository(url: str) -> None:
    try:
        check_url(url)
    except CountermarkError:
        return
    assert "/" not in cosign_name(url)
    assert cosign_name(url).strip("./-")
