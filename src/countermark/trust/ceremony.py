# SPDX-License-Identifier: Apache-2.0
"""A root ceremony: one file that goes from holder to holder until enough of them have signed.

It holds the root that clients know, the root that is to follow it and, where targets are signed
offline, the next targets with their files. Nothing in it is secret and nothing is believed: what
it says is shown to every holder, every signature is checked whenever it is read, and whoever
finishes checks it all against the repository's own root.

    {"format": 1, "url": …, "previous": <metadata>, "next": <metadata> or null,
     "targets": <metadata> or null, "files": {<name>: <base64>}}
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import countermark.core.light_tuf  # noqa: F401 - before tuf itself

# isort: split
from securesystemslib.signer import Key  # type: ignore[attr-defined]
from securesystemslib.signer import Signer as ForeignSigner  # type: ignore[attr-defined]
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    Root,
    Targets,
)

from countermark.core.bundle import protojson
from countermark.core.encoding import from_base64, to_base64
from countermark.core.errors import FormatError, RequestRejected
from countermark.trust.root_keys import holder_of
from countermark.trust.roots import (
    RoleKeys,
    check_next_root,
    parse_root,
    parse_targets,
    role_keys,
)

MAX_CEREMONY_BYTES: Final = 16 * 1024 * 1024
_WHAT = "ceremony"
_FIELDS = {"format", "url", "previous", "next", "targets", "files"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one role's keys still have to do.

    Attributes:
        what: ``root`` or ``targets``.
        whose: in words, for people.
        signed: keys that have signed.
        missing: keys that have not.
        needed: how many more must; 0 if there are enough.
    """

    what: str
    whose: str
    signed: tuple[Key, ...]
    missing: tuple[Key, ...]
    needed: int


@dataclass(frozen=True, slots=True)
class Ceremony:
    """A ceremony under way. Making one checks what can be checked without the repository.

    Attributes:
        url: the instance's base URL, for people.
        previous: the root that clients know, as a file.
        root: the next root with the signatures so far, as a file; None if it stays.
        targets: the next targets with the signatures so far, as a file; None if they stay.
        files: the targets' content by name.
    """

    url: str
    previous: bytes
    root: bytes | None
    targets: bytes | None
    files: Mapping[str, bytes]

    @classmethod
    def parse(cls, data: bytes) -> "Ceremony":
        """Read a ceremony file and check it.

        Raises FormatError, also for signatures that do not hold: then the file was changed after
        somebody signed it.
        """
        tree = protojson.parse_object(data, _WHAT, limit=MAX_CEREMONY_BYTES)
        if set(tree) != _FIELDS or tree["format"] != 1:
            raise FormatError(_WHAT, "is of another format than this program's")
        files = protojson.as_object(tree["files"], "files")
        ceremony = cls(
            protojson.text(tree, "url"),
            _metadata(tree, "previous") or b"",
            _metadata(tree, "next"),
            _metadata(tree, "targets"),
            {name: from_base64(protojson.text(files, name), "files") for name in files},
        )
        ceremony.check()
        return ceremony

    def serialize(self) -> bytes:
        """Write; inverse of `parse`."""

        def metadata(data: bytes | None) -> Any:  # noqa: ANN401 - JSON
            return None if data is None else json.loads(data)

        tree = {
            "format": 1,
            "url": self.url,
            "previous": metadata(self.previous),
            "next": metadata(self.root),
            "targets": metadata(self.targets),
            "files": {name: to_base64(data) for name, data in self.files.items()},
        }
        return json.dumps(tree, indent=1, ensure_ascii=True).encode("ascii") + b"\n"

    def check(self) -> None:
        """That it hangs together and that every signature in it holds. Raises FormatError."""
        old, new, targets = self.old_root, self.new_root, self.next_targets
        if new is None and targets is None:
            raise FormatError(_WHAT, "has nothing to sign")
        if new is not None and new.signed.version != old.version + 1:
            raise FormatError(_WHAT, f"leads from root {old.version} to {new.signed.version}")
        for metadata, keys in self._signable():
            for keyid in metadata.signatures:
                if keyid not in keys:
                    raise FormatError(_WHAT, f"holds a signature of a stranger, {keyid[:16]}")
                _check_signature(metadata, keys[keyid])
        listed = set(targets.signed.targets) if targets is not None else set()
        if listed != set(self.files):
            raise FormatError(_WHAT, "does not bring the files that its targets list")
        if targets is not None:
            for name, data in self.files.items():
                try:
                    targets.signed.targets[name].verify_length_and_hashes(data)
                except RepositoryError as error:
                    raise FormatError(_WHAT, f"brings another {name} than is listed") from error

    @property
    def old_root(self) -> Root:
        """The root that clients know."""
        return parse_root(self.previous).signed

    @property
    def new_root(self) -> Metadata[Root] | None:
        """The root that is to follow."""
        return None if self.root is None else parse_root(self.root)

    @property
    def next_targets(self) -> Metadata[Targets] | None:
        """The targets that are to follow."""
        return None if self.targets is None else parse_targets(self.targets)

    def wanted(self) -> tuple[Wanted, ...]:
        """What is signed and what is missing, for each party that must agree."""
        found: list[Wanted] = []
        root, old = self.new_root, self.old_root
        if root is not None:
            version = root.signed.version
            keys = role_keys(old, Root.type)
            found.append(_wanted("root", f"root {old.version}'s keys", root, keys))
            keys = role_keys(root.signed, Root.type)
            found.append(_wanted("root", f"root {version}'s keys", root, keys))
        if (targets := self.next_targets) is not None:
            judge = old if root is None else root.signed
            keys = role_keys(judge, Targets.type)
            found.append(_wanted("targets", "the targets' keys", targets, keys))
        return tuple(found)

    @property
    def complete(self) -> bool:
        """Whether enough holders have signed."""
        return all(not party.needed for party in self.wanted())

    def keys(self) -> dict[str, Key]:
        """Everybody who may sign anything of it, by key id."""
        return {keyid: key for _, keys in self._signable() for keyid, key in keys.items()}

    def signed_by(self, signer: ForeignSigner) -> "Ceremony":
        """The ceremony with a holder's signature over all that this holder may sign.

        Raises RequestRejected if that is nothing, or was done; FormatError for a bad signature.
        """
        keyid = signer.public_key.keyid
        parts: dict[str, bytes] = {}
        asked = False
        for metadata, keys in self._signable():
            if keyid not in keys:
                continue
            asked = True
            if keyid not in metadata.signatures:
                metadata.sign(signer, append=True)
                _check_signature(metadata, keys[keyid])
                name = "root" if isinstance(metadata.signed, Root) else "targets"
                parts[name] = metadata.to_bytes()
        if not asked:
            raise RequestRejected(f"key {keyid[:16]} has no say in this ceremony")
        if not parts:
            raise RequestRejected(f"key {keyid[:16]} has signed already, and counts once")
        return replace(
            self, root=parts.get("root", self.root), targets=parts.get("targets", self.targets)
        )

    def merged(self, other: "Ceremony") -> "Ceremony":
        """Both copies' signatures together. Raises RequestRejected if they do not fit."""
        if (self.previous, self.files) != (other.previous, other.files):
            raise RequestRejected("the files are of two different ceremonies")
        root = _merged(self.new_root, other.new_root)
        targets = _merged(self.next_targets, other.next_targets)
        return replace(self, root=root, targets=targets)

    def check_complete(self, newest_root: bytes) -> None:
        """That it is signed as it must be, and follows the repository's own root.

        Raises RequestRejected, FormatError.
        """
        if newest_root != self.previous:
            ours, theirs = parse_root(newest_root), parse_root(self.previous)
            if (ours.signed.version, ours.signed_bytes) != (
                theirs.signed.version,
                theirs.signed_bytes,
            ):
                raise RequestRejected(
                    f"the ceremony follows root {theirs.signed.version}, but the repository has "
                    f"root {ours.signed.version}, or another one of that number"
                )
        for party in self.wanted():
            if party.needed:
                raise RequestRejected(f"{party.needed} more of {party.whose} must sign")
        judge = parse_root(newest_root).signed
        if self.root is not None:
            judge = check_next_root(newest_root, self.root)
        if (targets := self.next_targets) is not None:
            try:
                judge.verify_delegate(Targets.type, targets.signed_bytes, targets.signatures)
            except RepositoryError as error:
                raise RequestRejected(f"the targets lack signatures: {error}") from error

    def _signable(self) -> Iterator[tuple[Metadata[Any], dict[str, Key]]]:
        """What there is to sign, with the keys that may."""
        old, root, targets = self.old_root, self.new_root, self.next_targets
        if root is not None:
            both = (*role_keys(old, Root.type).keys, *role_keys(root.signed, Root.type).keys)
            yield root, {key.keyid: key for key in both}
        if targets is not None:
            judge = old if root is None else root.signed
            yield targets, {key.keyid: key for key in role_keys(judge, Targets.type).keys}


def name_of(key: Key) -> str:
    """A key for people: its holder's name, if it is said, and the start of its id."""
    holder = holder_of(key)
    return f"{holder} ({key.keyid[:16]})" if holder else str(key.keyid[:16])


def changes(ceremony: Ceremony) -> list[str]:
    """What the next root changes, in words; nothing for one that only lives longer."""
    old, metadata = ceremony.old_root, ceremony.new_root
    if metadata is None:
        return []
    new = metadata.signed
    found: list[str] = []
    for role in ("root", "targets", "snapshot", "timestamp"):
        before, after = role_keys(old, role), role_keys(new, role)
        ids = {key.keyid for key in before.keys}
        found += [
            f"{role}: {name_of(key)} signs, too" for key in after.keys if key.keyid not in ids
        ]
        ids = {key.keyid for key in after.keys}
        found += [
            f"{role}: {name_of(key)} signs no more" for key in before.keys if key.keyid not in ids
        ]
        if before.threshold != after.threshold:
            found.append(f"{role}: {after.threshold} must sign instead of {before.threshold}")
    return found


def _metadata(tree: Mapping[str, Any], name: str) -> bytes | None:
    value = protojson.optional_object(tree, name)
    if value is None:
        if name == "previous":
            raise FormatError(_WHAT, "lacks the root that clients know")
        return None
    # As python-tuf writes it: the same metadata always has the same bytes.
    try:
        return Metadata.from_dict(json.loads(json.dumps(value))).to_bytes()
    except Exception as error:
        raise FormatError(_WHAT, f"its {name} cannot be read") from error


def _check_signature(metadata: Metadata[Any], key: Key) -> None:
    try:
        key.verify_signature(metadata.signatures[key.keyid], metadata.signed_bytes)
    except Exception as error:
        raise FormatError(
            _WHAT, f"{name_of(key)} did not sign what it holds: it was changed afterwards"
        ) from error


def _wanted(what: str, whose: str, metadata: Metadata[Any], role: RoleKeys) -> Wanted:
    signed = tuple(key for key in role.keys if key.keyid in metadata.signatures)
    missing = tuple(key for key in role.keys if key.keyid not in metadata.signatures)
    return Wanted(what, whose, signed, missing, max(0, role.threshold - len(signed)))


def _merged(one: Metadata[Any] | None, other: Metadata[Any] | None) -> bytes | None:
    if one is None or other is None:
        if one is not other:
            raise RequestRejected("the files are of two different ceremonies")
        return None
    if one.signed_bytes != other.signed_bytes:
        raise RequestRejected("the files are of two different ceremonies")
    one.signatures = {**one.signatures, **other.signatures}
    return bytes(one.to_bytes())
