# SPDX-License-Identifier: Apache-2.0
"""TUF roots: the next one, and whether it is one. Specification: TUF 1.0, sections 4.3 and 5.3."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import countermark.core.light_tuf  # noqa: F401 - before tuf itself

# isort: split
from securesystemslib.signer import Key  # type: ignore[attr-defined]
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    Role,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from countermark.core.errors import FormatError, RequestRejected
from countermark.trust.root_keys import check_distinct, spki_of

MAX_ROOT_BYTES = 500_000  # python-tuf's clients take no more than 512,000
_ROLES = frozenset((Root.type, Timestamp.type, Snapshot.type, Targets.type))
_MAX_KEYS = 64
_KEY_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """Who signs for a role, and how many of them must."""

    keys: tuple[Key, ...]
    threshold: int


def parse_root(data: bytes) -> Metadata[Root]:
    """Read a root. Nothing is verified but that its own statements make sense.

    Raises FormatError.
    """
    if len(data) > MAX_ROOT_BYTES:
        raise FormatError("TUF root", f"is larger than {MAX_ROOT_BYTES} bytes")
    try:
        metadata = Metadata[Root].from_bytes(data)
    except DeserializationError as error:
        raise FormatError("TUF root", "cannot be read") from error
    root = metadata.signed
    if not isinstance(root, Root):
        raise FormatError("TUF root", f"is metadata of another role, {root.type}")
    if set(root.roles) != _ROLES or len(root.keys) > _MAX_KEYS:
        raise FormatError("TUF root", "does not describe the four roles, with keys of theirs")
    if not root.consistent_snapshot:
        raise FormatError("TUF root", "is of a repository without consistent snapshots")
    if not all(map(_KEY_ID.fullmatch, root.keys)):
        raise FormatError("TUF root", "has a key id that is no SHA-256 in hexadecimal")
    check_distinct(root.keys.values())
    for name, role in root.roles.items():
        if set(role.keyids) - set(root.keys):
            raise FormatError("TUF root", f"lacks a key of its role {name}")
        if not 1 <= role.threshold <= len(role.keyids):
            raise FormatError("TUF root", f"asks for {role.threshold} of {name}'s keys")
    return metadata


def parse_targets(data: bytes) -> Metadata[Targets]:
    """Read targets metadata. Raises FormatError."""
    try:
        metadata = Metadata[Targets].from_bytes(data)
    except DeserializationError as error:
        raise FormatError("TUF targets", "cannot be read") from error
    if not isinstance(metadata.signed, Targets) or metadata.signed.delegations is not None:
        raise FormatError("TUF targets", "is metadata of another kind")
    return metadata


def next_root(
    previous: Root,
    *,
    root: RoleKeys,
    targets: RoleKeys,
    online: Sequence[Key],
    now: datetime,
    lifetime: timedelta,
) -> Root:
    """The unsigned root that follows `previous`, with the roles' keys as given.

    Raises FormatError, RequestRejected for roles that nobody could sign for.
    """
    made = Root(version=previous.version + 1, expires=_at(now) + lifetime)
    wanted = {
        Root.type: root,
        Targets.type: targets,
        Snapshot.type: RoleKeys(tuple(online), 1),
        Timestamp.type: RoleKeys(tuple(online), 1),
    }
    known = {spki_of(key): key for key in previous.keys.values()}
    for name, role in wanted.items():
        # A key that the old root has keeps the id it has there.
        keys = [known.setdefault(spki_of(key), key) for key in role.keys]
        ids = list(dict.fromkeys(key.keyid for key in keys))
        if not 1 <= role.threshold <= len(ids):
            raise RequestRejected(
                f"{role.threshold} of the {len(ids)} keys for {name} can never sign together"
            )
        made.roles[name] = Role(ids, role.threshold)
        made.keys |= {key.keyid: key for key in keys}
    return parse_root(Metadata(made).to_bytes()).signed


def with_online_keys(
    previous: Root, online: Sequence[Key], now: datetime, lifetime: timedelta
) -> Root | None:
    """The unsigned next root, with other online keys and all else as it is; None if none changes.

    Targets go along, unless they are signed by keys that are kept offline.
    """
    targets = role_keys(previous, Targets.type)
    if not offline_targets(previous):
        targets = RoleKeys(tuple(online), 1)
    root = role_keys(previous, Root.type)
    made = next_root(
        previous, root=root, targets=targets, online=online, now=now, lifetime=lifetime
    )
    return None if same_roles(previous, made) else made


def same_roles(one: Root, other: Root) -> bool:
    """Whether the same keys sign for the same roles in both."""
    return all(
        (set(role.keyids), role.threshold)
        == (set(other.roles[name].keyids), other.roles[name].threshold)
        for name, role in one.roles.items()
    )


def offline_targets(root: Root) -> bool:
    """Whether targets are signed by keys that are not the online ones."""
    return set(root.roles[Targets.type].keyids) != set(root.roles[Timestamp.type].keyids)


def check_next_root(previous_data: bytes, data: bytes) -> Root:
    """Read a root that follows another, signed by the thresholds of both.

    Raises FormatError, RequestRejected.
    """
    previous, metadata = parse_root(previous_data), parse_root(data)
    root = metadata.signed
    if root.version != previous.signed.version + 1:
        raise RequestRejected(
            f"the root's version is {root.version}, the next one is {previous.signed.version + 1}"
        )
    for judge, whose in ((previous.signed, "the old root's"), (root, "its own")):
        try:
            judge.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
        except RepositoryError as error:
            raise RequestRejected(f"the root lacks signatures of {whose} keys: {error}") from error
    return root


def role_keys(root: Root, role: str) -> RoleKeys:
    """Who signs for a role."""
    found = root.roles[role]
    return RoleKeys(tuple(root.keys[keyid] for keyid in found.keyids), found.threshold)


def _at(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0)
