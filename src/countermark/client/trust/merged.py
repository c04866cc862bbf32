# SPDX-License-Identifier: Apache-2.0
"""Several trusted roots in one file that every client reads, and a note of whose each part is.

Clients refuse a TrustedRoot with fields they do not know, so the note lies beside it, as
``FILE.sources.json``, and names FILE by its digest: it speaks of no other. Other clients believe
all of a merged file alike, where one part's CA may certify for another's log. We, who know the
parts, verify under one part alone if that is possible, and say which; otherwise we say which
parts had to be taken together.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from countermark.client.trust.showing import Party, parties
from countermark.client.trust.sources import Source
from countermark.client.verify import Root, named_root
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import MAX_TRUSTED_ROOT_BYTES, TrustedRoot
from countermark.core.distrust.document import DistrustList
from countermark.core.errors import Distrusted, FormatError, RequestRejected, VerificationError
from countermark.core.verify.artifact import Artifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.verifier import ONE_OF_EACH, Expected, Thresholds

if TYPE_CHECKING:
    from countermark.core.verify.witness import WitnessPolicy

SUFFIX = ".sources.json"
MEDIA_TYPE = "application/vnd.countermark.trusted-root-sources+json;version=0.1"
MAX_NOTE_BYTES = 4 * MAX_TRUSTED_ROOT_BYTES
_MAX_PARTS = 32
_KINDS: Final = (
    ("certificate_authorities", "CA"),
    ("ctlogs", "CT log"),
    ("tlogs", "log"),
    ("timestamp_authorities", "timestamps"),
)
P = TypeVar("P")


class Part(NamedTuple):
    """One of the roots that were merged.

    Attributes:
        name: what it was called.
        origin: where it came from, in words.
        root: its parties.
        distrust: its distrust lists, as files; they speak against what only it would prove, and
            against what several parts prove together.
    """

    name: str
    origin: str
    root: TrustedRoot
    distrust: tuple[bytes, ...] = ()


def merge(sources: list[Source]) -> tuple[bytes, bytes]:
    """The merged TrustedRoot, and the note that goes beside it.

    A party that several parts have in common is written once, and noted for each of them. Raises
    RequestRejected for fewer than two sources or two of one name.
    """
    names = [source.name for source in sources]
    if not 2 <= len(names) <= _MAX_PARTS or len(set(names)) != len(names):
        raise RequestRejected("merging takes two or more roots of different names")
    roots = [source.trusted_root for source in sources]
    union = TrustedRoot(
        _union(root.tlogs for root in roots),
        _union(root.certificate_authorities for root in roots),
        _union(root.ctlogs for root in roots),
        _union(root.timestamp_authorities for root in roots),
    )
    data = union.serialize()
    if len(data) > MAX_TRUSTED_ROOT_BYTES:
        raise RequestRejected("merged, these roots are too large for any client")
    TrustedRoot.parse(data)
    note = {
        "mediaType": MEDIA_TYPE,
        "sha256": hashlib.sha256(data).hexdigest(),
        "parts": [
            {
                "name": source.name,
                "origin": source.origin,
                "tufVersions": source.versions._asdict() if source.versions else None,
                "parties": [_identity(party) for party in parties(root)],
                "trustedRoot": root.to_json(),
                "distrust": [data.decode("utf-8") for data in _distrust_of(source)],
            }
            for source, root in zip(sources, roots, strict=True)
        ],
    }
    text = json.dumps(note, indent=2).encode("ascii") + b"\n"
    if len(text) > MAX_NOTE_BYTES:
        raise RequestRejected("these roots have too much in common to be noted part by part")
    return data, text


def _union(parts: Iterable[tuple[P, ...]]) -> tuple[P, ...]:
    return tuple(dict.fromkeys(item for part in parts for item in part))


def _identity(party: Party) -> dict[str, str]:
    return {"kind": party.kind, "name": party.name, "keyId": party.key_id}


def parse_parts(data: bytes, note: bytes) -> tuple[Part, ...]:
    """Read the note of a merged root. Raises FormatError if it is damaged, speaks of another
    file, or names a party that the file does not have."""
    what = "note of a merged trusted root"
    try:
        tree: Any = json.loads(note)
        if tree["mediaType"] != MEDIA_TYPE:
            raise FormatError(what, "is of a kind that is not supported")
        if tree["sha256"] != hashlib.sha256(data).hexdigest():
            raise FormatError(what, "was written for another file than the one beside it")
        items = tree["parts"]
        if not isinstance(items, list) or not 2 <= len(items) <= _MAX_PARTS:
            raise FormatError(what, "has no parts")
        parts = tuple(
            Part(
                _text(item["name"]),
                _text(item["origin"]),
                _root(item["trustedRoot"]),
                _lists(item["distrust"]),
            )
            for item in items
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(what, "is damaged") from error
    whole = TrustedRoot.parse(data)
    for part in parts:
        for known, claimed in zip(whole, part.root, strict=True):
            if not set(claimed) <= set(known):
                raise FormatError(what, f"gives {part.name} a party that the file does not have")
    return parts


class MergedRoot(Root):
    """A merged root that tells from which part each key came."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, name: str, data: bytes, note: bytes) -> "MergedRoot":
        """Read both files. Raises FormatError."""
        parts = parse_parts(data, note)
        lists = dict.fromkeys(data for part in parts for data in part.distrust)
        root = cls(name, TrustedRoot.parse(data), distrust=tuple(lists))
        root.parts = parts
        return root

    def verify(
        self,
        bundle: Bundle,
        artifact: Artifact,
        policy: Expected,
        thresholds: Thresholds = ONE_OF_EACH,
        *,
        witnesses: "WitnessPolicy | None" = None,
    ) -> Evidence:
        """Verify under one part alone or, if none suffices, under all together."""
        logs = {entry.log_id for entry in bundle.tlog_entries}
        for part in self.parts:
            if logs and not logs <= {log.log_id for log in part.root.tlogs}:
                continue
            alone = Root(f"{self.name}: {part.name}", part.root, distrust=part.distrust)
            try:
                return alone.verify(bundle, artifact, policy, thresholds, witnesses=witnesses)
            except Distrusted:
                raise  # what its own instance speaks against, no other part may save
            except VerificationError:
                continue
        together = Root(self.name, self.trusted_root, distrust=self.distrust)
        evidence = together.verify(bundle, artifact, policy, thresholds, witnesses=witnesses)

        def holds(root: TrustedRoot) -> bool:
            try:
                together._replace(trusted_root=root).verify(
                    bundle, artifact, policy, thresholds, witnesses=witnesses
                )
            except VerificationError:
                return False
            return True

        return evidence._replace(root=f"{self.name}: {self._whose(holds)}")

    def _whose(self, holds: Callable[[TrustedRoot], bool]) -> str:
        """From which part the keys of each kind came, for what no part proves alone."""
        found = []
        for field, kind in _KINDS:
            if holds(self.trusted_root._replace(**{field: ()})):
                continue  # none is needed
            alone = (
                part.name
                for part in self.parts
                if holds(self.trusted_root._replace(**{field: getattr(part.root, field)}))
            )
            found.append(f"{kind} of {next(alone, 'several parts')}")
        return ", ".join(found)


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise TypeError("not text")
    return value


def _distrust_of(source: Source) -> tuple[bytes, ...]:
    return named_root(source.name).distrust if source.recorded else ()


def _lists(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError("not a list of texts")
    lists = tuple(text.encode("utf-8") for text in value)
    for data in lists:
        DistrustList.parse(data)
    return lists


def _root(tree: object) -> TrustedRoot:
    if not isinstance(tree, dict):
        raise TypeError("not an object")
    return TrustedRoot.from_json(tree)
