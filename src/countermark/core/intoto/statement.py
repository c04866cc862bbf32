# SPDX-License-Identifier: Apache-2.0
"""in-toto statements (v0.1 and v1): which artifacts a signed claim is about.

Only the subjects and the predicate's type are read; the predicate itself is nobody's business
here. One artifact may be listed under several digest algorithms.
"""

import json
from typing import Any, NamedTuple

from countermark.core.encoding import from_hex, from_utf8
from countermark.core.errors import FormatError

STATEMENT_TYPES = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
VERIFICATION_SUMMARY = "https://slsa.dev/verification_summary/v1"
"""The predicate type of `verification_summary`, known here to those that seldom meet one."""
ANY_SUMMARY = "https://slsa.dev/verification_summary/"
"""What the types of summaries of every version begin with."""
DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}
MAX_SUBJECTS, MAX_DIGESTS = 1024, 32
MAX_STATEMENT_BYTES = 16 * 1024 * 1024
_WHAT = "in-toto statement"


class Subject(NamedTuple):
    """One artifact: its name (may be empty) and its digests by algorithm, as far as known here."""

    name: str
    digests: dict[str, bytes]


class Statement(NamedTuple):
    """What a statement is about.

    Attributes:
        predicate_type: URI of the predicate's type.
        subjects: at least one.
    """

    predicate_type: str
    subjects: tuple[Subject, ...]


def parse_statement(payload: bytes) -> Statement:
    """Read a statement. Raises FormatError."""
    if len(payload) > MAX_STATEMENT_BYTES:
        raise FormatError(_WHAT, f"is larger than {MAX_STATEMENT_BYTES} bytes")
    try:
        tree = json.loads(from_utf8(payload, _WHAT), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise FormatError(_WHAT, "is not JSON, or not JSON that can be trusted") from error
    if not isinstance(tree, dict) or tree.get("_type") not in STATEMENT_TYPES:
        raise FormatError(_WHAT, "is not of a known type")
    subjects = tree.get("subject")
    if not isinstance(subjects, list) or not 1 <= len(subjects) <= MAX_SUBJECTS:
        raise FormatError(_WHAT, f"needs 1 to {MAX_SUBJECTS} subjects")
    predicate_type = tree.get("predicateType")
    if not isinstance(predicate_type, str):
        raise FormatError(_WHAT, "has no predicate type")
    _check_text(predicate_type)
    return Statement(predicate_type, tuple(map(_parse_subject, subjects)))


def _parse_subject(tree: object) -> Subject:
    digests = tree.get("digest") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or not isinstance(digests, dict):
        raise FormatError(_WHAT, "has a subject without digests")
    if not 1 <= len(digests) <= MAX_DIGESTS:
        raise FormatError(_WHAT, f"has a subject without 1 to {MAX_DIGESTS} digests")
    name = "" if tree.get("name") is None else tree["name"]
    if not isinstance(name, str):
        raise FormatError(_WHAT, "has a subject whose name is not text")
    _check_text(name)
    found: dict[str, bytes] = {}
    for algorithm, value in digests.items():
        if not isinstance(value, str):
            raise FormatError(_WHAT, "has a digest that is not text")
        if (length := DIGEST_BYTES.get(algorithm)) is not None:
            found[algorithm] = from_hex(value, "subject digest", length=length)
    return Subject(name, found)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError(_WHAT, "holds a lone surrogate") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: an object, or ValueError if one of its keys occurs twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result
