# SPDX-License-Identifier: Apache-2.0
"""The distrust list: strict to read, append-only, exact in its windows."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from countermark.core.distrust.document import (
    MAX_ENTRIES,
    MAX_LIST_BYTES,
    MAX_TEXT,
    DistrustList,
    Entry,
)
from countermark.core.distrust.subject import (
    CertificateHash,
    KeyHash,
    LoggedEntry,
    Package,
    SignerName,
    Subject,
    normal_purl,
)
from countermark.core.errors import FormatError, RequestRejected

NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
DAY = timedelta(days=1)
URL = "https://sigstore.example.org"
SUBJECTS: tuple[Subject, ...] = (
    KeyHash(b"k" * 32),
    CertificateHash(b"c" * 32),
    SignerName("eve@example.org", ""),
    SignerName("https://github.com/o/r/.github/workflows/w.yml@refs/heads/main", "https://i"),
    LoggedEntry(b"", None, b"l" * 32),
    LoggedEntry(b"i" * 32, 0, b""),
    Package("pkg:npm/%40scope/name@1.2.3"),
)


def filled() -> DistrustList:
    found = DistrustList.empty(URL, NOW)
    for subject in SUBJECTS:
        found = found.with_entry(subject, "why", "ada", NOW, start=NOW - DAY, end=NOW + DAY)
    return found.with_lifted(2, "found again", "bob", NOW + DAY)


def changed(**fields: Any) -> bytes:
    tree = json.loads(filled().serialize())
    return json.dumps({**tree, **fields}).encode()


def with_entry(**fields: Any) -> bytes:
    tree = json.loads(filled().serialize())
    tree["entries"][0].update(fields)
    tree["entries"][0] = {k: v for k, v in tree["entries"][0].items() if v is not ...}
    return json.dumps(tree).encode()


def test_it_comes_back_as_it_was_written() -> None:
    found = filled()
    assert DistrustList.parse(found.serialize()) == found
    assert found.version == 1 + len(SUBJECTS) + 1
    assert [entry.subject for entry in found.entries] == list(SUBJECTS)
    assert [entry.lifted is None for entry in found.entries].count(False) == 1
    empty = DistrustList.empty(URL, NOW)
    assert DistrustList.parse(empty.serialize()) == empty
    # What `client.verify` looks for, so as not to read a list that says nothing.
    assert b'\n  "entries": []\n' in empty.serialize()
    assert b'\n  "entries": []\n' not in found.serialize()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"mediaType": "application/vnd.countermark.distrust.v1+json"}',
        changed(mediaType="application/vnd.countermark.distrust.v2+json"),
        changed(version=0),
        changed(version="1e3"),
        changed(version=len(SUBJECTS)),  # fewer than the changes that it shows
        changed(surprise=1),
        changed(source=""),
        changed(source="two\nlines"),
        changed(updated="yesterday"),
        changed(entries=[{}]),
        changed(entries="none"),
        with_entry(kind="country"),
        with_entry(kind=...),
        with_entry(number=2),
        with_entry(sha256="00"),
        with_entry(sha256="K" * 64),
        with_entry(sha256=...),
        with_entry(issuer="https://i"),  # not a key's field
        with_entry(severity="high"),
        with_entry(reason=...),
        with_entry(reason=" padded"),
        with_entry(reason="bell\x07"),
        with_entry(reason="x" * (MAX_TEXT + 1)),
        with_entry(by="\u202emirrored"),
        with_entry(until="2026-11-20T06:59:59Z"),  # before `from`
        with_entry(lifted={}),
        with_entry(lifted={"at": "2026-11-22T07:00:00Z", "reason": "r", "by": "b", "x": 1}),
        changed(entries=[]).replace(b'"entries": []', b'"entries": [], "entries": []'),
        b" " * (MAX_LIST_BYTES + 1),
        changed(entries=[{}] * (MAX_ENTRIES + 1)),
    ],
)
def test_what_is_not_exactly_a_list_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        DistrustList.parse(data)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("identity", {"identity": ""}),
        ("identity", {"identity": "a@b.c\n"}),
        ("identity", {"identity": "a" * 3000}),
        ("entry", {}),
        ("entry", {"logId": "00" * 32}),
        ("entry", {"logId": "00" * 32, "logIndex": -1}),
        ("entry", {"logId": "00" * 32, "logIndex": 1, "leafHash": "00" * 32}),
        ("entry", {"leafHash": "00"}),
        ("package", {"purl": "pkg:npm/name"}),
        ("package", {"purl": "pkg:npm/@scope/name@1"}),  # not in normal form
        ("package", {"purl": "pkg:pypi/Some_Name@1"}),
    ],
)
def test_ambiguous_subjects_are_refused(kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        DistrustList.parse(with_entry(sha256=..., kind=kind, **fields))


@pytest.mark.parametrize(
    ("start", "end", "covered"),
    [
        (None, None, [-2, -1, 0, 1, 2]),
        (0, None, [0, 1, 2]),
        (None, 0, [-2, -1, 0]),
        (-1, 1, [-1, 0, 1]),
        (0, 0, [0]),
    ],
)
def test_windows_hold_both_their_ends(
    start: int | None, end: int | None, covered: list[int]
) -> None:
    def at(seconds: int | None) -> datetime | None:
        return None if seconds is None else NOW + timedelta(seconds=seconds)

    entry = Entry(1, SUBJECTS[0], at(start), at(end), "why", NOW, "ada")
    within = [n for n in range(-2, 3) if entry.covers([NOW + timedelta(seconds=n)])]
    assert within == covered
    edge = timedelta(microseconds=1)
    if end is not None:
        assert not entry.covers([NOW + timedelta(seconds=end) + edge])
    if start is not None:
        assert not entry.covers([NOW + timedelta(seconds=start) - edge])
    # One of several proven times is enough, and none proves nothing.
    assert entry.covers([NOW + DAY, NOW, NOW - DAY])
    assert entry.covers([])


def test_only_what_is_new_is_added_and_only_what_holds_is_lifted() -> None:
    found = filled()
    with pytest.raises(RequestRejected, match="entry 1 of the list says that"):
        found.with_entry(SUBJECTS[0], "other", "ada", NOW, start=NOW - DAY, end=NOW + DAY)
    assert found.with_entry(SUBJECTS[0], "why", "ada", NOW).version == found.version + 1
    assert (
        found.with_entry(SUBJECTS[1], "again", "ada", NOW, start=NOW - DAY, end=NOW + DAY)
        .entries[-1]
        .number
        == len(SUBJECTS) + 1
    )
    for number in (0, 2, len(SUBJECTS) + 1):
        with pytest.raises(RequestRejected):
            found.with_lifted(number, "why", "ada", NOW)
    with pytest.raises(RequestRejected, match="ends before it starts"):
        found.with_entry(SUBJECTS[0], "why", "ada", NOW, start=NOW, end=NOW - DAY)
    for reason in ("", "two\nlines", "x" * (MAX_TEXT + 1)):
        with pytest.raises(FormatError):
            found.with_entry(KeyHash(b"n" * 32), reason, "ada", NOW)


def test_a_list_only_grows() -> None:
    old = filled()
    new = old.with_entry(KeyHash(b"n" * 32), "why", "ada", NOW).with_lifted(1, "r", "b", NOW)
    new.check_follows(old)
    old.check_follows(old)
    rewritten = new._replace(
        entries=(new.entries[0]._replace(reason="nothing happened"), *new.entries[1:])
    )
    unlifted = new._replace(
        entries=(new.entries[0], new.entries[1]._replace(lifted=None), *new.entries[2:])
    )
    for bad in (
        old,  # goes back
        new._replace(version=old.version),
        new._replace(source="https://other.example.org"),
        new._replace(entries=new.entries[:3]),
        rewritten,
        unlifted,
    ):
        with pytest.raises(FormatError):
            bad.check_follows(new if bad is old else old)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("pkg:npm/name@1.2.3", "pkg:npm/name@1.2.3"),
        ("pkg:npm/%40scope/name@1.2.3", "pkg:npm/%40scope/name@1.2.3"),
        ("pkg:pypi/Some_Name.x@1.0+local", "pkg:pypi/some-name-x@1.0+local"),
        ("pkg:golang/github.com/o/r@v1.0.0", "pkg:golang/github.com/o/r@v1.0.0"),
        ("pkg:npm/n%61me@1", "pkg:npm/name@1"),
    ],
)
def test_package_urls_have_one_normal_form(text: str, normal: str) -> None:
    assert normal_purl(text) == normal_purl(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "npm/name@1",
            "pkg:npm/name",
            "pkg:npm/name@",
            "pkg:npm//name@1",
            "pkg:npm/name@1?a=b",
        ),
        *("pkg:npm/name@1#path", "pkg:npm/na%2Fme@1", "pkg:npm/na%zzme@1", "pkg:npm/na%ffme@1"),
        *("pkg:npm/na%0ame@1", "pkg:NPM/name@1", "pkg:npm/a@1@2@3", "pkg:npm/" + "a" * 5000 + "@1"),
    ],
)
def test_what_is_no_package_url_is_refused(text: str) -> None:
    with pytest.raises(RequestRejected):
        normal_purl(text)
