# SPDX-License-Identifier: Apache-2.0
"""Begins and ends root ceremonies of an instance; what lies between needs no instance."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from securesystemslib.signer import Key  # type: ignore[attr-defined]
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    Root,
    TargetFile,
    Targets,
)

from countermark.app.data_dir import DataDir
from countermark.app.hands import Running, Stopped
from countermark.app.instance import load_instance
from countermark.app.offline_root import newest_root_data, online_spkis
from countermark.core.errors import RequestRejected
from countermark.drivers.embedded.files import FileObjectStore
from countermark.trust.ceremony import Ceremony
from countermark.trust.repository import next_targets_version
from countermark.trust.root_keys import spki_of, tuf_key
from countermark.trust.roots import (
    RoleKeys,
    next_root,
    offline_targets,
    parse_root,
    role_keys,
    same_roles,
)
from countermark.trust.targets import DISTRUST_BUNDLE, NAMES

TARGETS_LIFETIME: Final = timedelta(days=3652)
"""Of targets signed offline: nobody wants a ceremony a year for files that did not change."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a ceremony is to change.

    Attributes:
        add: keys that sign roots, too, from now on.
        remove: starts of ids of keys that do so no more.
        threshold: how many of them must; None: as many as now.
        targets: keys that sign targets, offline; empty: as it is.
        targets_threshold: how many of those must.
        targets_online: give targets back to the online key.
        only_targets: leave the root as it is.
        lifetime: of the root.
    """

    add: tuple[Key, ...] = ()
    remove: tuple[str, ...] = ()
    threshold: int | None = None
    targets: tuple[Key, ...] = ()
    targets_threshold: int = 1
    targets_online: bool = False
    only_targets: bool = False
    lifetime: timedelta = TARGETS_LIFETIME


def start(data_dir: DataDir, change: Change, now: datetime) -> Ceremony:
    """The ceremony that makes `change`, nobody's signature on it.

    Raises RequestRejected for roles that nobody could sign for, SettingsError, FormatError.
    """
    config = load_instance(data_dir.instance_file)
    previous_data = newest_root_data(data_dir)
    previous = parse_root(previous_data).signed
    online = [tuf_key(spki) for spki in online_spkis(data_dir, config)]
    root = None if change.only_targets else _next(previous, change, online, now)
    judge = previous if root is None else root
    targets, files = None, {}
    if offline_targets(judge):
        objects = FileObjectStore(data_dir.tuf, read_only=True)
        names = (*NAMES, DISTRUST_BUNDLE)
        files = {
            name: (data_dir.trust / name).read_bytes()
            for name in names
            if (data_dir.trust / name).exists()
        }
        targets = Targets(
            version=next_targets_version(objects),
            expires=now.astimezone(UTC).replace(microsecond=0) + TARGETS_LIFETIME,
            targets={
                name: TargetFile.from_data(name, data, ["sha256"]) for name, data in files.items()
            },
        )
    elif change.only_targets:
        raise RequestRejected("the targets are signed online, by the instance itself")
    ceremony = Ceremony(
        url=config.base_url,
        previous=previous_data,
        root=None if root is None else Metadata(root).to_bytes(),
        targets=None if targets is None else Metadata(targets).to_bytes(),
        files=files,
    )
    return Ceremony.parse(ceremony.serialize())


def finish(data_dir: DataDir, ceremonies: Sequence[Ceremony], hands: Running | Stopped) -> Ceremony:
    """Publish a ceremony, whose copies' signatures count together. Returns what was published.

    Raises RequestRejected if it lacks signatures, does not follow the newest root, or would stop
    the instance; FormatError.
    """
    merged = ceremonies[0]
    for other in ceremonies[1:]:
        merged = merged.merged(other)
    merged = Ceremony.parse(merged.serialize())
    merged.check_complete(newest_root_data(data_dir))
    hands.publish_signed(merged.root or b"", merged.targets or b"", dict(merged.files))
    return merged


def _next(previous: Root, change: Change, online: Sequence[Key], now: datetime) -> Root:
    old = role_keys(previous, Root.type)
    added = {spki_of(key) for key in change.add}
    kept = [key for key in old.keys if spki_of(key) not in added]
    for start_of_id in change.remove:
        found = [key for key in kept if key.keyid.startswith(start_of_id)]
        if len(found) != 1 or len(start_of_id) < 8:
            raise RequestRejected(f"{start_of_id!r} is not the start of one root key's id")
        kept.remove(found[0])
    keys = (*kept, *change.add)
    root = RoleKeys(keys, old.threshold if change.threshold is None else change.threshold)
    if change.targets:
        targets = RoleKeys(change.targets, change.targets_threshold)
    elif change.targets_online or not offline_targets(previous):
        targets = RoleKeys(tuple(online), 1)
    else:
        targets = role_keys(previous, Targets.type)
    made = next_root(
        previous, root=root, targets=targets, online=online, now=now, lifetime=change.lifetime
    )
    asked = change.add or change.remove or change.threshold or change.targets
    if asked and same_roles(previous, made):
        raise RequestRejected("the root says all of that already")
    return made
