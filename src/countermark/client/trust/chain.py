# SPDX-License-Identifier: Apache-2.0
"""What is kept of a TUF repository, checked from its pinned root down, without any network.

Specification: The Update Framework, sections 5.3 to 5.7, except that expiry is told and not
judged: a machine without a network cannot have anything newer. `verify_kept` is run every time
kept files are used; that they were verified when they came does not say what lies there now.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, TypeVar

import countermark.core.light_tuf  # noqa: F401 - before tuf itself

# isort: split
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from countermark.client.transport import printable
from countermark.core.errors import FormatError, VerificationError

TRUSTED_ROOT = "trusted_root.json"
SIGNING_CONFIG = "signing_config.v0.2.json"
# What clients may want besides; kept if the repository has it.
DISTRUST = "distrust.json"
OTHER_TARGETS: tuple[str, ...] = ("signing_config_rekor_v2.v0.2.json", DISTRUST)

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


class Versions(NamedTuple):
    """Versions of the metadata, each of which never goes down."""

    root: int
    timestamp: int
    snapshot: int
    targets: int


class Kept(NamedTuple):
    """The files of a repository, as they came.

    Attributes:
        roots: every root after the pinned one, in order.
        timestamp: timestamp metadata.
        snapshot: snapshot metadata.
        targets: targets metadata.
        files: target files by name.
    """

    roots: tuple[bytes, ...]
    timestamp: bytes
    snapshot: bytes
    targets: bytes
    files: Mapping[str, bytes]


class Checked(NamedTuple):
    """Kept files that hold, from the pinned root down.

    Attributes:
        files: target files by name, each as the signed metadata wants it.
        versions: of the metadata.
        expiries: of each role's metadata.
        root_keys: key ids of the newest root role.
    """

    files: Mapping[str, bytes]
    versions: Versions
    expiries: Mapping[str, datetime]
    root_keys: tuple[str, ...]

    @property
    def expires(self) -> datetime:
        """When the first of the metadata expires."""
        return min(self.expiries.values())


def verify_kept(pinned: bytes, kept: Kept, seen: Versions | None = None) -> Checked:
    """Check the whole chain: roots, signatures, thresholds, versions, hashes.

    Args:
        pinned: root metadata that is trusted for reasons of its own.
        kept: what is to be checked.
        seen: versions that were verified before; lower ones are refused, except where a later
            root gave the role other keys, which is how a repository recovers.

    Raises FormatError for what is no metadata, VerificationError for what does not hold.
    """
    roots = read_roots(pinned, kept.roots)
    newest = roots[-1]
    timestamp = _read(kept.timestamp, Timestamp, newest)
    snapshot = _read(kept.snapshot, Snapshot, newest)
    targets = _read(kept.targets, Targets, newest)
    try:
        timestamp.snapshot_meta.verify_length_and_hashes(kept.snapshot)
        if snapshot.version != timestamp.snapshot_meta.version:
            raise VerificationError("the kept snapshot is not the one that the timestamp names")
        listed = snapshot.meta.get("targets.json")
        if listed is None or targets.version != listed.version:
            raise VerificationError("the kept targets are not those that the snapshot names")
        listed.verify_length_and_hashes(kept.targets)
        for name, data in kept.files.items():
            if name not in targets.targets:
                raise VerificationError(f"{name} is no target of the repository")
            targets.targets[name].verify_length_and_hashes(data)
    except RepositoryError as error:
        raise VerificationError(f"kept TUF metadata does not hold: {_brief(error)}") from error
    versions = Versions(newest.version, timestamp.version, snapshot.version, targets.version)
    if seen is not None:
        _check_not_older(versions, seen, roots)
    parts = (newest, timestamp, snapshot, targets)
    expiries = {part.type: part.expires for part in parts}
    return Checked(dict(kept.files), versions, expiries, tuple(newest.roles[Root.type].keyids))


def read_roots(pinned: bytes, later: tuple[bytes, ...]) -> list[Root]:
    """The pinned root and its successors, each signed as the one before and as itself demands.

    Raises FormatError, VerificationError.
    """
    roots = [_read(pinned, Root, None)]
    for data in later:
        root = _read(data, Root, roots[-1])
        if root.version != roots[-1].version + 1:
            raise VerificationError(
                f"root {root.version} cannot follow root {roots[-1].version} of the TUF repository"
            )
        roots.append(_read(data, Root, None))
    return roots


def _read(data: bytes, kind: type[T], root: Root | None) -> T:
    """Metadata of one role, signed as `root` demands; a root itself, as it demands itself."""
    what = f"TUF {kind.type}"
    try:
        metadata = Metadata[T].from_bytes(data)
        part = metadata.signed
        if not isinstance(part, kind):
            raise FormatError(what, f"holds {part.type} metadata")
        judge = part if root is None else root
        assert isinstance(judge, Root)
        judge.verify_delegate(kind.type, metadata.signed_bytes, metadata.signatures)
    except DeserializationError as error:
        raise FormatError(what, "is no metadata that can be read") from error
    except RepositoryError as error:
        raise VerificationError(f"{what} is not signed as it must be: {_brief(error)}") from error
    return part


def _brief(error: RepositoryError) -> str:
    """python-tuf's words, which repeat what was read, as one short line."""
    return printable(str(error))


def _check_not_older(versions: Versions, seen: Versions, roots: list[Root]) -> None:
    if versions.root < seen.root:
        raise VerificationError(
            f"root {seen.root} of the TUF repository was seen before, and now only"
            f" {versions.root} is there"
        )
    before = next((root for root in roots if root.version == seen.root), roots[0])
    for role in (Timestamp.type, Snapshot.type, Targets.type):
        if _keys(before, role) != _keys(roots[-1], role):
            continue
        old, new = getattr(seen, role), getattr(versions, role)
        if new < old:
            raise VerificationError(
                f"TUF {role} went back from version {old} to {new}: somebody shows an old state"
            )


def _keys(root: Root, role: str) -> tuple[int, frozenset[str]]:
    return root.roles[role].threshold, frozenset(root.roles[role].keyids)
