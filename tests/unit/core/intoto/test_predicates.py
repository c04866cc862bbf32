# SPDX-License-Identifier: Apache-2.0
"""Statements made of predicates, and the short names of types."""

import json

import pytest

from countermark.core.errors import FormatError, RequestRejected
from countermark.core.intoto.predicates import (
    PREDICATE_TYPES,
    NamedDigests,
    custom_predicate,
    is_of_type,
    make_statement,
    predicate_type,
    read_subject,
)
from countermark.core.intoto.statement import parse_statement

SUBJECT = NamedDigests("app", {"sha256": "ab" * 32})
URI = "https://example.org/p/v1"


def test_a_predicates_bytes_stay_as_they_are() -> None:
    predicate = '{"b" : 1.0,\n"a":"é\\u00e9", "big": 123456789012345678901234567890}'.encode()
    statement = make_statement([SUBJECT], URI, b" \n" + predicate + b"\n")
    assert statement.endswith(b',"predicate":' + predicate + b"}")
    read = parse_statement(statement)
    assert read.predicate_type == URI
    assert read.subjects[0] == ("app", {"sha256": b"\xab" * 32})


@pytest.mark.parametrize(
    "predicate",
    [
        *(b"", b"{", b"[]", b'"text"', b"1", b"null", b"{}{}", b"{} x"),
        *(b"\xff{}", b"\xef\xbb\xbf{}"),
        *(b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', b'{"a":NaN}', b'{"a":Infinity}'),
        b'{"a":' * 100_000,
        b'},"subject":[],"x":{',
    ],
)  # fmt: skip
def test_what_is_no_predicate_is_refused(predicate: bytes) -> None:
    with pytest.raises(FormatError):
        make_statement([SUBJECT], URI, predicate)


@pytest.mark.parametrize("subjects", [[], [NamedDigests("a", {})], [SUBJECT] * 1025])
def test_subjects_are_bounded(subjects: list[NamedDigests]) -> None:
    with pytest.raises(RequestRejected):
        make_statement(subjects, URI, b"{}")


def test_a_custom_predicate_is_cosigns_wrapper() -> None:
    wrapped = json.loads(custom_predicate("any é text".encode(), "2026-01-01T00:00:00Z"))
    assert wrapped == {"Data": "any é text", "Timestamp": "2026-01-01T00:00:00Z"}
    with pytest.raises(FormatError):
        custom_predicate(b"\xff", "")


@pytest.mark.parametrize("name", ["", "slsa", "no scheme", "http", "1:x", "a:", "a:b c", "x:\n"])
def test_names_that_are_no_type(name: str) -> None:
    with pytest.raises(RequestRejected, match="no type of predicate"):
        predicate_type(name)


def test_a_short_name_stands_for_its_versions_a_uri_for_itself() -> None:
    spdx = PREDICATE_TYPES["spdxjson"]
    assert is_of_type(spdx, "spdxjson")
    assert is_of_type(f"{spdx}/v2.3", "spdxjson")
    assert not is_of_type(f"{spdx}/v2.3", spdx)
    assert not is_of_type(f"{spdx}X", "spdxjson")
    assert not is_of_type("https://slsa.dev/provenance/v0.2", "slsaprovenance1")


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", f"a@{'ab' * 32}", f"a@sha256:{'AB' * 32}", f"a@sha256:{'ab' * 31}"),
        *(f"a@sha512:{'ab' * 32}", f"a@sha224:{'ab' * 28}", f"a@md5:{'ab' * 16}"),
        f"sha256:{'ab' * 32}",
    ],
)
def test_what_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(RequestRejected, match="no subject"):
        read_subject(text)


def test_a_name_may_hold_anything_before_the_digest() -> None:
    digits = "cd" * 64
    assert read_subject(f"pkg:npm/%40a/b@1.0@sha512:{digits}") == NamedDigests(
        "pkg:npm/%40a/b@1.0", {"sha512": digits}
    )
