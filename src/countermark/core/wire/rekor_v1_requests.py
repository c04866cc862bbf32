# SPDX-License-Identifier: Apache-2.0
"""What Rekor v1's server makes of requests before it looks at any entry: the API's schema.

As lenient as upstream: unknown fields are ignored, null is absence. Failures carry upstream's
sub-codes and words (go-openapi), of which clients show the message.
"""

import re
from typing import Final, NamedTuple

import msgspec

from countermark.core.encoding import MAX_INT64
from countermark.core.errors import FormatError, RequestRejected
from countermark.core.rekor.kinds import KNOWN_KINDS
from countermark.core.rekor.shard import EntryID

MAX_QUERIES: Final = 10
INVALID_TYPE, REQUIRED, PATTERN, MINIMUM, TOO_MANY = 601, 602, 605, 609, 611

_ID_PATTERN: Final = "^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$"
_VERSION_PATTERN: Final = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$"
)
_MAX_VERSION_CHARS = 64
_LARGE_BYTES: Final = 64 * 1024
# What is read costs memory by its elements, of which "{}," is one: 16 MB of them would be 350.
_MAX_ELEMENTS: Final = 64 * 1024
_MAX_INDEXES_BYTES: Final = 4096  # reading numbers of thousands of digits is slow
_ID = re.compile(_ID_PATTERN[1:-1], re.ASCII)
_VERSION = re.compile(_VERSION_PATTERN[1:-1], re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_TREE_ID = re.compile(r"[0-9]+", re.ASCII)


class BadRequest(RequestRejected):
    """A request that the API refuses by its form alone.

    Attributes:
        status: the HTTP status.
        number: the code in the body: the status, or a sub-code of 422.
    """

    code = "rekor-v1-bad-request"

    def __init__(self, status: int, number: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.number = number


class Proposal(NamedTuple):
    """A proposed entry of a known kind; its `spec` is not read yet."""

    kind: str
    version: str
    spec: msgspec.Raw


class LogQuery(NamedTuple):
    """What a search asks for, at most ten things in all."""

    entry_ids: tuple[str, ...]
    log_indexes: tuple[int, ...]
    entries: tuple[Proposal, ...]


class _Proposed(msgspec.Struct):
    kind: str | None = None
    version: str | None = msgspec.field(default=None, name="apiVersion")
    spec: msgspec.Raw = msgspec.Raw()


class _Query(msgspec.Struct):
    entry_ids: list[str | None] | None = msgspec.field(default=None, name="entryUUIDs")
    log_indexes: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"null"), name="logIndexes")
    entries: list[_Proposed | None] | None = None


_decode_proposal = msgspec.json.Decoder(_Proposed).decode
_decode_query = msgspec.json.Decoder(_Query).decode
_decode_indexes = msgspec.json.Decoder(list[int | None] | None).decode


def read_proposal(body: bytes) -> Proposal:
    """Read the body of a POST of an entry. Raises BadRequest."""
    if not body:
        raise _required("proposedEntry", "body")
    _check_elements(body, "proposedEntry")
    try:
        return _proposal(_decode_proposal(body))
    except (ValueError, RecursionError) as error:  # upstream: 500, and its clients retry
        raise _unreadable("proposedEntry", error) from error


def read_query(body: bytes) -> LogQuery:
    """Read the body of a search. Raises BadRequest."""
    if not body:
        raise _required("entry", "body")
    _check_elements(body, "entry")
    try:
        query = _decode_query(body)
        indexes = _read_indexes(bytes(query.log_indexes))
    except (ValueError, RecursionError) as error:
        raise _unreadable("entry", error) from error
    proposed, ids = query.entries or [], query.entry_ids or []
    if any(index is not None and abs(index) > MAX_INT64 for index in indexes):
        raise _unreadable("entry", ValueError("a log index is beyond int64"))
    for name, items in (("entries", proposed), ("entryUUIDs", ids), ("logIndexes", indexes)):
        if len(items) > MAX_QUERIES:
            raise _too_many(name)
    entries = []
    for item in proposed:
        try:
            entries.append(_proposal(item or _Proposed()))
        except BadRequest as error:  # upstream meets these while it reads, not while it judges
            raise _unreadable("entry", error) from error
    if len(ids) + len(indexes) + len(entries) > MAX_QUERIES:
        raise BadRequest(422, 422, f"more than max allowed {MAX_QUERIES} entries in request")
    return LogQuery(
        tuple(_checked_id(item, f"entryUUIDs.{n}", "body") for n, item in enumerate(ids)),
        tuple(_at_least(item, 0, f"logIndexes.{n}", "body") for n, item in enumerate(indexes)),
        tuple(entries),
    )


def read_entry_id(text: str) -> EntryID:
    """Read the id in a path. Raises BadRequest."""
    return parse_entry_id(_checked_id(text, "entryUUID", "path"))


def parse_entry_id(text: str) -> EntryID:
    """Read an id that has the right shape. Raises BadRequest for a tree id that cannot be."""
    try:
        return EntryID.parse(text)
    except FormatError as error:
        raise BadRequest(400, 400, f"invalid entryID {error.why}") from error


def read_integer(values: list[str], name: str, *, minimum: int, default: int | None = None) -> int:
    """Read an int64 of the query string; the last value counts. Raises BadRequest."""
    if not values and default is not None:
        return default
    text = values[-1] if values else ""
    if not text:
        if default is not None:
            return default
        raise _required(name, "query")
    value = int(text) if _INTEGER.fullmatch(text) else MAX_INT64 + 1
    if not -MAX_INT64 - 1 <= value <= MAX_INT64:
        shown = msgspec.json.encode(text[:100]).decode("utf-8")
        raise BadRequest(422, INVALID_TYPE, f"{name} in query must be of type int64: {shown}")
    return _at_least(value, minimum, name, "query")


def read_tree_id(values: list[str]) -> str:
    """Read the decimal tree id of the query string; empty if none was given. Raises BadRequest."""
    text = values[-1] if values else ""
    if text and not _TREE_ID.fullmatch(text):
        raise BadRequest(422, PATTERN, "treeID in query should match '^[0-9]+$'")
    return text


def _read_indexes(array: bytes) -> list[int | None]:
    if len(array) > _MAX_INDEXES_BYTES:
        raise _too_many("logIndexes")
    return _decode_indexes(array) or []


def _too_many(name: str) -> BadRequest:
    message = f"{name} in body should have at most {MAX_QUERIES} items"
    return BadRequest(422, TOO_MANY, message)


def _check_elements(body: bytes, name: str) -> None:
    if len(body) > _LARGE_BYTES and body.count(b",") > _MAX_ELEMENTS:
        raise _unreadable(name, ValueError(f"it has more than {_MAX_ELEMENTS} elements"))


def _proposal(proposed: _Proposed) -> Proposal:
    kind, version, spec = proposed.kind, proposed.version, proposed.spec
    if not kind:
        raise _required("kind", "body")
    if kind not in KNOWN_KINDS:
        shown = msgspec.json.encode(kind[:100]).decode("utf-8")
        raise BadRequest(422, 422, f"invalid kind value: {shown}")
    if version is None:
        raise _required("apiVersion", "body")
    if len(version) > _MAX_VERSION_CHARS or not _VERSION.fullmatch(version):
        message = f"apiVersion in body should match '{_VERSION_PATTERN}'"
        raise BadRequest(422, PATTERN, message)
    if len(spec) <= len(b"null") and bytes(spec) in (b"", b"null"):
        raise _required("spec", "body")
    return Proposal(kind, version, spec)


def _checked_id(text: str | None, name: str, place: str) -> str:
    if text is None or not _ID.fullmatch(text):
        raise BadRequest(422, PATTERN, f"{name} in {place} should match '{_ID_PATTERN}'")
    return text


def _at_least(value: int | None, minimum: int, name: str, place: str) -> int:
    if value is None:
        raise _required(name, place)
    if value < minimum:
        message = f"{name} in {place} should be greater than or equal to {minimum}"
        raise BadRequest(422, MINIMUM, message)
    return value


def _required(name: str, place: str) -> BadRequest:
    return BadRequest(422, REQUIRED, f"{name} in {place} is required")


def _unreadable(name: str, error: Exception) -> BadRequest:
    return BadRequest(400, 400, f'parsing {name} body from "" failed, because {error}')
