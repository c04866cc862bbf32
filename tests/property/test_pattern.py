# SPDX-License-Identifier: Apache-2.0
"""Patterns for names: where they answer, they answer as `re` does, and always soon."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core.errors import RequestRejected
from countermark.core.verify.pattern import MAX_NAME_CHARS, Pattern

ATOMS = st.sampled_from(
    ["a", "b", "B", ".", r"\.", r"\w", r"\d", r"\S", "[ab]", "[^a]", "[a-c.]", "[]a]", r"[\]b]",
     r"\x61", "@", " ", "^", "$", "é", "[^]]", r"[\[a]"]
)  # fmt: skip
COUNTS = st.sampled_from(["", "", "", "*", "+", "?", "*?", "{2}", "{0}", "{1,2}", "{,2}", "{1,}"])
patterns = st.recursive(
    st.builds(lambda atom, count: atom + ("" if atom in "^$" else count), ATOMS, COUNTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.lists(inner, min_size=1, max_size=3).map("|".join),
        st.builds(lambda body, count: f"({body}){count}", inner, COUNTS),
        st.builds(lambda body, count: f"(?:{body}){count}", inner, COUNTS),
    ),
    max_leaves=8,
)
names = st.text(alphabet="abBc.@1é] \t", max_size=7)  # `re` has a `$` of its own before "\n"


def expected(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name) is not None


@settings(max_examples=400)
@given(patterns, st.lists(names, min_size=3, max_size=6), st.booleans())
def test_agrees_with_re(pattern: str, tried: list[str], ignore_case: bool) -> None:
    if ignore_case:
        pattern = f"(?i){pattern}"
    try:
        compiled = Pattern(pattern)
    except RequestRejected:
        return
    for name in tried:
        assert compiled.matches(name) == expected(pattern, name), name


@given(st.text(alphabet="ab(|)*+?{}[]^$\\.:,1i-<=!PQdE", max_size=14), names)
def test_any_text_is_refused_or_agrees(pattern: str, name: str) -> None:
    try:
        compiled = Pattern(pattern)
    except RequestRejected:
        return
    assert compiled.matches(name) == expected(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        (r".+@example\.org", "me@example.org", True),
        (r".+@example\.org", "me@example.orgx", False),
        (r".+@example\.org", "me@example.org.evil", False),
        ("^https://github\\.com/octo/.*$", "https://github.com/octo/x", True),
        ("^https://github\\.com/octo/.*$", "https://github.com/octopus", False),
        ("^a$|b", "b", True),
        ("^a$|b", "bb", False),
        ("a{2,3}", "aaaa", False),
        ("(?i)ME@example", "me@EXAMPLE", True),
        (".*", "a\nb", False),
        ("", "", True),
        ("a$b", "ab", False),
        ("a$\\n", "a\n", False),
    ],
)
def test_examples(pattern: str, name: str, matches: bool) -> None:
    assert Pattern(pattern).matches(name) == matches


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "a)",
        "(a",
        "[",
        "[a",
        "[b-a]",
        "a**",
        "a{2}{2}",
        "*",
        "a|*",
        "{",
        "a{",
        "a{2,1}",
        "(?=a)",
        "(?!a)",
        "(?P<x>a)",
        "(?P=x)",
        r"(a)\1",
        r"\b",
        r"\A",
        "(?s).",
        "a(?i)",
        "\\",
        "^*",
        "$?",
        "[[:alpha:]]",
        "[[a]",
        "[a--b]",
        "[a&&b]",
        "a++",
        "a*+",
        "(?>a)",
        "(" * 100 + ")" * 100,
        "a" * 1025,
        "(((a{99}){99}){99}){99}",
        r"\N{DIGIT ONE}",
        r"\p{L}",
    ],
)
def test_refuses_what_it_does_not_understand(pattern: str) -> None:
    started = time.process_time()
    with pytest.raises(RequestRejected, match="pattern"):
        Pattern(pattern)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "pattern", [r"(\w+)*@example\.org", "(a|a)*b", "(a*)*b", "(.*)*(.*)*x", "a?" * 60 + "a" * 60]
)
def test_no_name_takes_for_ever(pattern: str) -> None:
    started = time.process_time()
    assert not Pattern(pattern).matches("a" * 1000 + "!")
    assert time.process_time() - started < 5
    assert not Pattern(".*").matches("a" * (MAX_NAME_CHARS + 1))
