# SPDX-License-Identifier: Apache-2.0
"""Types of predicates by the short names that people use, and statements made of predicates.

Names are cosign's. A predicate's bytes go into the statement as they are, so that what its
maker wrote (order, spelling, numbers) is what is signed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from countermark.core.encoding import from_utf8
from countermark.core.errors import FormatError, RequestRejected
from countermark.core.intoto.statement import (
    DIGEST_BYTES,
    MAX_DIGESTS,
    MAX_STATEMENT_BYTES,
    MAX_SUBJECTS,
    STATEMENT_TYPES,
)

CUSTOM = "custom"
PREDICATE_TYPES: Mapping[str, str] = {
    "slsaprovenance": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "openvex": "https://openvex.dev/ns",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "link": "https://in-toto.io/Link/v1",
    CUSTOM: "https://cosign.sigstore.dev/attestation/v1",
}
_WHAT = "predicate"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:[!-~]{1,2000}", re.ASCII)
_SUBJECT = re.compile(r"(?P<name>.{0,1000})@(?P<algorithm>sha[0-9]{3}):(?P<digits>[0-9a-f]+)", re.S)


class NamedDigests(NamedTuple):
    """A subject to be: its name, and its digests in lower-case hexadecimal."""

    name: str
    digests: Mapping[str, str]


def predicate_type(name: str) -> str:
    """The URI that a short name stands for; a URI stands for itself. Raises RequestRejected."""
    if name in PREDICATE_TYPES:
        return PREDICATE_TYPES[name]
    if not _URI.fullmatch(name):
        error = RequestRejected(f"{name[:80]!r} is no type of predicate")
        error.add_note(f"use a URI, or one of {', '.join(PREDICATE_TYPES)}")
        raise error
    return name


def is_of_type(found: str, wanted: str) -> bool:
    """Whether a statement's type is the one that a short name or URI asks for.

    A short name stands for every version that its makers tell apart by a further path, such as
    ``https://spdx.dev/Document/v2.3``; a URI for itself alone.
    """
    uri = predicate_type(wanted)
    return found == uri or (wanted in PREDICATE_TYPES and found.startswith(f"{uri}/"))


def read_subject(text: str) -> NamedDigests:
    """Read ``name@sha256:<hex>``. Raises RequestRejected."""
    match = _SUBJECT.fullmatch(text)
    if match is None or len(match["digits"]) != 2 * DIGEST_BYTES.get(match["algorithm"], 0):
        raise RequestRejected(f"{text[:160]!r} is no subject like app@sha256:<64 hex digits>")
    return NamedDigests(match["name"], {match["algorithm"]: match["digits"]})


def make_statement(
    subjects: Sequence[NamedDigests], predicate_type: str, predicate: bytes
) -> bytes:
    """An in-toto v1 statement with `predicate`, a JSON object, byte for byte in it.

    Raises FormatError for a predicate that is not one, RequestRejected for what does not fit.
    """
    if not 1 <= len(subjects) <= MAX_SUBJECTS:
        raise RequestRejected(f"a statement has 1 to {MAX_SUBJECTS} subjects")
    if any(not 1 <= len(subject.digests) <= MAX_DIGESTS for subject in subjects):
        raise RequestRejected(f"a subject has 1 to {MAX_DIGESTS} digests")
    _read_object(predicate)
    listed = [{"name": item.name, "digest": dict(item.digests)} for item in subjects]
    head = {"_type": STATEMENT_TYPES[0], "subject": listed, "predicateType": predicate_type}
    text = json.dumps(head, separators=(",", ":"))
    statement = b'%b,"predicate":%b}' % (text[:-1].encode("ascii"), predicate.strip(b" \t\r\n"))
    if len(statement) > MAX_STATEMENT_BYTES:
        raise RequestRejected(f"the statement would be larger than {MAX_STATEMENT_BYTES} bytes")
    return statement


def custom_predicate(data: bytes, timestamp: str) -> bytes:
    """What cosign makes of a text for which there is no type: a wrapper with the time."""
    text = from_utf8(data, _WHAT)
    return json.dumps({"Data": text, "Timestamp": timestamp}, ensure_ascii=True).encode("ascii")


def _read_object(data: bytes) -> None:
    if len(data) > MAX_STATEMENT_BYTES:
        raise FormatError(_WHAT, f"is larger than {MAX_STATEMENT_BYTES} bytes")
    try:
        tree = json.loads(from_utf8(data, _WHAT), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            _WHAT, f"is not JSON, or not JSON that can be trusted: {error}"
        ) from error
    if not isinstance(tree, dict):
        raise FormatError(_WHAT, "is not a JSON object")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _refuse(literal: str) -> None:
    raise ValueError(f"{literal} is no JSON")
