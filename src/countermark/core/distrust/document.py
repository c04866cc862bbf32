# SPDX-License-Identifier: Apache-2.0
"""``distrust.json``: who and what is not to be believed any more, since when, why, by whom.

    {"mediaType": "application/vnd.countermark.distrust.v1+json",
     "source": "https://sigstore.example.org", "version": 2, "updated": "2026-11-22T07:00:00Z",
     "entries": [{"number": 1, "kind": "identity", "identity": "eve@example.org",
                  "issuer": "https://…", "from": "2026-11-01T00:00:00Z", "reason": "stolen laptop",
                  "added": "2026-11-22T07:00:00Z", "by": "ada@example.org"}]}

Entries are numbered from 1, never change and never go: one that no longer holds is ``lifted``.
Read as strictly as it is written: a field or kind that this program does not know might be the
one that matters, so it refuses the whole list.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from countermark.core.bundle import protojson
from countermark.core.bundle.protojson import JSONObject
from countermark.core.distrust.subject import Subject, subject_from_json
from countermark.core.encoding import from_rfc3339, to_rfc3339
from countermark.core.errors import FormatError, RequestRejected

MEDIA_TYPE = "application/vnd.countermark.distrust.v1+json"
MAX_LIST_BYTES = 4 * 1024 * 1024
MAX_ENTRIES = 10_000
MAX_TEXT = 1024
_WHAT = "distrust list"
_LIST_FIELDS = frozenset(("mediaType", "source", "version", "updated", "entries"))
_ENTRY_FIELDS = ("number", "kind", "from", "until", "reason", "added", "by", "lifted")
_LIFTED_FIELDS = frozenset(("at", "reason", "by"))


class Lifted(NamedTuple):
    """The end of an entry: when, why and by whom it was taken back."""

    at: datetime
    reason: str
    by: str


class Entry(NamedTuple):
    """One thing that is distrusted.

    Attributes:
        number: its place in the list, from 1.
        subject: what is distrusted.
        start: signatures proven at that moment or later are meant; None: all before `end`.
        end: the last such moment, inclusive; None: all after `start`.
        reason: why, for people.
        added: when it was added.
        by: who added it, as they said.
        lifted: set once it no longer holds.
    """

    number: int
    subject: Subject
    start: datetime | None
    end: datetime | None
    reason: str
    added: datetime
    by: str
    lifted: Lifted | None = None

    def covers(self, times: Sequence[datetime]) -> bool:
        """Whether a signature proven at these times is meant: if any lies in the window.

        A signature without a proven time may be of any time, so it is.
        """
        if not times:
            return True
        return any(
            (self.start is None or self.start <= time) and (self.end is None or time <= self.end)
            for time in times
        )


class DistrustList(NamedTuple):
    """One instance's list, as it was at one time.

    Attributes:
        source: base URL of the instance.
        version: one more with every change.
        updated: when it was changed last.
        entries: all that ever were, by number.
    """

    source: str
    version: int
    updated: datetime
    entries: tuple[Entry, ...]

    @classmethod
    def empty(cls, source: str, now: datetime) -> "DistrustList":
        """The first version of a list."""
        return cls(source, 1, now, ())

    @classmethod
    def parse(cls, data: bytes) -> "DistrustList":
        """Read a list. Raises FormatError."""
        tree = protojson.parse_object(data, _WHAT, limit=MAX_LIST_BYTES)
        media_type = protojson.text(tree, "mediaType")
        if media_type != MEDIA_TYPE:
            raise FormatError(_WHAT, f"media type {media_type[:80]!r} is not supported")
        _check_fields(tree, _LIST_FIELDS, _WHAT)
        items = protojson.objects(tree, "entries", limit=MAX_ENTRIES)
        entries = tuple(_entry(item, number) for number, item in enumerate(items, 1))
        version = _positive(tree, "version")
        if version <= sum(1 + (entry.lifted is not None) for entry in entries):
            raise FormatError(_WHAT, f"version {version} is too low for what it holds")
        return cls(_plain(tree, "source"), version, _time(tree, "updated"), entries)

    def serialize(self) -> bytes:
        """Encode; inverse of `parse` for times of whole milliseconds."""
        tree = {
            "mediaType": MEDIA_TYPE,
            "source": self.source,
            "version": self.version,
            "updated": to_rfc3339(self.updated),
            "entries": [_entry_to_json(entry) for entry in self.entries],
        }
        return json.dumps(tree, indent=2).encode("ascii") + b"\n"

    def with_entry(
        self,
        subject: Subject,
        reason: str,
        by: str,
        now: datetime,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> "DistrustList":
        """The list with one more entry, as its next version.

        Raises RequestRejected if it says so already, FormatError for text that it cannot hold.
        """
        if start is not None and end is not None and end < start:
            raise RequestRejected("the window ends before it starts")
        for old in self.entries:
            if old.lifted is None and (old.subject, old.start, old.end) == (subject, start, end):
                raise RequestRejected(f"entry {old.number} of the list says that already")
        new = Entry(len(self.entries) + 1, subject, start, end, reason, now, by)
        return self._next(now, (*self.entries, new))

    def with_lifted(self, number: int, reason: str, by: str, now: datetime) -> "DistrustList":
        """The list with entry `number` lifted, as its next version. Raises RequestRejected."""
        if not 1 <= number <= len(self.entries):
            raise RequestRejected(f"the list has no entry {number}")
        old = self.entries[number - 1]
        if old.lifted is not None:
            raise RequestRejected(f"entry {number} was lifted already")
        lifted = old._replace(lifted=Lifted(now, reason, by))
        return self._next(now, (*self.entries[: number - 1], lifted, *self.entries[number:]))

    def check_follows(self, older: "DistrustList") -> None:
        """That this is `older` or a later version of it. Raises FormatError.

        Nothing may have gone or changed but for what was lifted.
        """
        if self.source != older.source:
            raise FormatError(_WHAT, f"is of {self.source}, not of {older.source}")
        if self.version < older.version or (self.version == older.version and self != older):
            raise FormatError(_WHAT, f"version {self.version} is no successor of {older.version}")
        kept = self.entries[: len(older.entries)]
        for new, old in zip(kept, older.entries, strict=False):
            if new != old and (old.lifted or new._replace(lifted=None) != old):
                raise FormatError(_WHAT, f"entry {old.number} is not what it was")
        if len(kept) != len(older.entries):
            raise FormatError(_WHAT, f"lacks entry {len(kept) + 1}, which it had")

    def _next(self, now: datetime, entries: tuple[Entry, ...]) -> "DistrustList":
        # What cannot be read back is never written.
        changed = DistrustList(self.source, self.version + 1, now, entries)
        return DistrustList.parse(changed.serialize())


def _entry(tree: JSONObject, number: int) -> Entry:
    if protojson.int64(tree, "number") != number:
        raise FormatError(_WHAT, f"its entry {number} has another number")
    own = {name: value for name, value in tree.items() if name not in _ENTRY_FIELDS}
    subject = subject_from_json(protojson.required_text(tree, "kind"), own)
    lifted = None
    if (item := protojson.optional_object(tree, "lifted")) is not None:
        _check_fields(item, _LIFTED_FIELDS, _WHAT)
        lifted = Lifted(_time(item, "at"), _plain(item, "reason"), _plain(item, "by"))
    start, end = _optional_time(tree, "from"), _optional_time(tree, "until")
    if start is not None and end is not None and end < start:
        raise FormatError(_WHAT, f"the window of entry {number} ends before it starts")
    reason, by = _plain(tree, "reason"), _plain(tree, "by")
    return Entry(number, subject, start, end, reason, _time(tree, "added"), by, lifted)


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    tree: dict[str, Any] = {"number": entry.number, **entry.subject.to_json()}
    if entry.start is not None:
        tree["from"] = to_rfc3339(entry.start)
    if entry.end is not None:
        tree["until"] = to_rfc3339(entry.end)
    tree |= {"reason": entry.reason, "added": to_rfc3339(entry.added), "by": entry.by}
    if entry.lifted is not None:
        at, reason, by = entry.lifted
        tree["lifted"] = {"at": to_rfc3339(at), "reason": reason, "by": by}
    return tree


def _check_fields(tree: JSONObject, known: frozenset[str], what: str) -> None:
    if strange := sorted(set(tree) - known):
        raise FormatError(what, f"has the unknown field {strange[0][:40]!r}")


def _positive(tree: JSONObject, name: str) -> int:
    value = protojson.int64(tree, name)
    if not value:
        raise FormatError(name, "is not a positive number")
    return value


def _time(tree: JSONObject, name: str) -> datetime:
    return from_rfc3339(protojson.required_text(tree, name), name)


def _optional_time(tree: Mapping[str, Any], name: str) -> datetime | None:
    text = protojson.text(tree, name)
    return from_rfc3339(text, name) if text else None


def _plain(tree: JSONObject, name: str) -> str:
    """One line of text that a terminal shows as it is."""
    value = protojson.required_text(tree, name)
    if len(value) > MAX_TEXT:
        raise FormatError(name, f"is longer than {MAX_TEXT} characters")
    if not value.isprintable() or value != value.strip():
        raise FormatError(name, "is not one plain line")
    return value
