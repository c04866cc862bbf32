# SPDX-License-Identifier: Apache-2.0
"""A TUF repository of the trust root's files, made with python-tuf.

Consistent snapshots. At first two Ed25519 keys: one signs root and is needed again only to change
keys, the other, online, signs targets, snapshot and timestamp. A ceremony (`trust.ceremony`) can
change who signs root, and give targets to keys that are kept offline, too. Objects:
``N.root.json`` (all of them, for ever), ``N.targets.json``, ``N.snapshot.json``,
``targets/<sha256>.<name>``, all immutable, and ``timestamp.json``, which is replaced last: a crash
before leaves the old state standing.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import countermark.core.light_tuf  # noqa: F401 - before tuf itself

# isort: split
# The package documents these names here, and marks none of them as exported for type checkers.
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from countermark.core.errors import InvariantBroken, NotFound, RequestRejected, SettingsError
from countermark.ports.objects import ObjectStore
from countermark.ports.signer import Signer
from countermark.trust.root_keys import PortSigner
from countermark.trust.roots import check_next_root, parse_targets

ROOT_LIFETIME = timedelta(days=3652)  # as long as the CA's own root
SIGNED_LIFETIME = timedelta(days=365)  # targets and snapshot
TIMESTAMP_LIFETIME = timedelta(days=7)
# Renewed when less than this is left: a stopped instance has the rest to come back in.
_RENEW_SIGNED = timedelta(days=180)
_RENEW_TIMESTAMP = timedelta(days=6)

_TIMESTAMP = "timestamp.json"
_TARGETS = "targets.json"
_VERSIONED = re.compile(r"([1-9][0-9]{0,8})\.(root|targets|snapshot)\.json", re.ASCII)

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)


class TufRepository:
    """The newest state of a repository and the means to move it on.

    Not for two writers: the keeper alone holds one.
    """

    def __init__(self, objects: ObjectStore, online: Signer, root: Root) -> None:
        self._objects = objects
        self._signer = PortSigner(online)
        self._root = root
        self._targets = Targets()
        self._snapshot = Snapshot()
        self._timestamp = Timestamp()
        self._timestamp_version = 0
        self._interrupted = False

    @classmethod
    def create(
        cls,
        objects: ObjectStore,
        root_key: Signer,
        online: Signer,
        targets: Mapping[str, bytes],
        now: datetime,
    ) -> "TufRepository":
        """Make a repository in an empty store.

        Args:
            objects: where its files go.
            root_key: signs root, here and nowhere else.
            online: signs everything else.
            targets: content by target name.
            now: aware; lifetimes begin.
        """
        signer = PortSigner(root_key)
        root = Root(version=1, expires=_at(now) + ROOT_LIFETIME)
        root.add_key(signer.public_key, Root.type)
        repository = cls(objects, online, root)
        for role in (Targets.type, Snapshot.type, Timestamp.type):
            root.add_key(repository._signer.public_key, role)
        objects.put_all([("1.root.json", _signed(root, signer))])
        repository.publish(targets, now)
        return repository

    @classmethod
    def open(cls, objects: ObjectStore, online: Signer) -> "TufRepository":
        """Read the newest state. Raises InvariantBroken if it is damaged or of another key.

        Expiry is not looked at: a repository that slept too long is renewed by `refresh`.
        """
        root = _load(objects, f"{_newest(objects, Root.type)}.root.json", Root, None)
        repository = cls(objects, online, root)
        timestamp = _load(objects, _TIMESTAMP, Timestamp, root)
        version = timestamp.snapshot_meta.version
        repository._timestamp = timestamp
        repository._timestamp_version = timestamp.version
        repository._snapshot = _load(objects, f"{version}.snapshot.json", Snapshot, root)
        version = repository._snapshot.meta[_TARGETS].version
        newest = _newest(objects, Targets.type)
        try:
            repository._targets = _load(objects, f"{version}.targets.json", Targets, root)
        except InvariantBroken:
            if newest == version:
                raise
            # A crash came between a root that gives targets to other keys and its timestamp.
            repository._targets = _load(objects, f"{newest}.targets.json", Targets, root)
            repository._interrupted = True
        if not repository._signs(root, Timestamp.type, Snapshot.type):
            raise InvariantBroken("the TUF repository was made with another online key")
        return repository

    @property
    def root(self) -> Root:
        """The newest root."""
        return self._root

    @property
    def root_data(self) -> bytes:
        """The newest root's file."""
        return self._objects.fetch(f"{self._root.version}.root.json")

    @property
    def targets(self) -> Targets:
        """What the targets role states."""
        return self._targets

    @property
    def signs_targets(self) -> bool:
        """Whether the online key may; else only a ceremony can publish anything."""
        return self._signs(self._root, Targets.type)

    @property
    def timestamp_version(self) -> int:
        """Version of the timestamp that clients see."""
        return self._timestamp_version

    @property
    def expiries(self) -> dict[str, datetime]:
        """When each role's metadata expires."""
        parts = (self._root, self._targets, self._snapshot, self._timestamp)
        return {part.type: part.expires for part in parts}

    @property
    def expires(self) -> datetime:
        """When clients will begin to refuse the repository if nothing is signed anew."""
        return min(self.expiries.values())

    def due(self, now: datetime) -> bool:
        """Whether it is time for `refresh`."""
        return self._interrupted or self._timestamp.expires - _at(now) < _RENEW_TIMESTAMP

    def refresh(self, now: datetime) -> None:
        """Sign a new timestamp; targets and snapshot too where half their time is over."""
        if self.signs_targets and self._targets.expires - _at(now) < _RENEW_SIGNED:
            self._advance(now, self._new_targets(self._targets.targets, now))
        elif self._interrupted or self._snapshot.expires - _at(now) < _RENEW_SIGNED:
            self._advance(now, self._targets)
        else:
            self._advance(now)

    def publish(self, targets: Mapping[str, bytes], now: datetime, *, skip: int = 0) -> None:
        """Make `targets` the whole set of files.

        Args:
            targets: content by target name.
            now: aware; lifetimes begin.
            skip: how many versions of each role are passed over. An older copy of a repository
                must get beyond what clients have seen of it: they go back to no lower version.

        Raises SettingsError if targets are signed offline.
        """
        if not self.signs_targets:
            raise offline_targets()
        files: dict[str, TargetFile] = {}
        objects: list[tuple[str, bytes]] = []
        for name, data in targets.items():
            files[name] = TargetFile.from_data(name, data, ["sha256"])
            objects += [(f"targets/{path}", data) for path in files[name].get_prefixed_paths()]
        self._objects.put_all(objects)
        self._advance(now, self._new_targets(files, now, skip), skip)

    def holds(self, targets: Mapping[str, bytes]) -> bool:
        """Whether these are the files that clients get."""
        known = {name: file.hashes.get("sha256") for name, file in self._targets.targets.items()}
        return known == {name: hashlib.sha256(data).hexdigest() for name, data in targets.items()}

    def publish_signed(
        self, root_data: bytes, targets_data: bytes, files: Mapping[str, bytes], now: datetime
    ) -> None:
        """Publish what holders of offline keys signed. Harmless if it was done already.

        What older keys signed and the new root would not believe is signed anew. Clients see the
        root that a new timestamp needs before that timestamp, unless the old root believes it, too.

        Args:
            root_data: the next root, as a file; empty if it stays.
            targets_data: the next targets, as a file; empty if they stay.
            files: the content of these targets, by name.
            now: aware.

        Raises RequestRejected if something is not signed as it must be, or would not let this
        repository go on; FormatError for something else than roots and targets.
        """
        if root_data in (b"", self.root_data):
            root_data, root = b"", self._root
        else:
            root = check_next_root(self.root_data, root_data)
        if not self._signs(root, Timestamp.type, Snapshot.type):
            raise RequestRejected("the new root does not name the online key that is in use")
        if root_data and root.expires <= _at(now):  # no client would take anything after it
            raise RequestRejected(f"the new root was good until {root.expires:%Y-%m-%d} only")
        targets = self._targets_under(root, targets_data, files, now)
        stay = targets is self._targets and all(
            self._believed(path, role, root)
            for path, role in (
                (f"{self._snapshot.version}.snapshot.json", Snapshot.type),
                (_TIMESTAMP, Timestamp.type),
            )
        )
        path = f"{targets.version}.targets.json"
        early = not stay and self._believed(path, Targets.type, self._root)
        if early:
            self._advance(now, targets)
        if root_data:
            self._objects.put_all([(f"{root.version}.root.json", root_data)])
            self._root = root
        if not (stay or early):
            self._advance(now, targets)

    def _targets_under(
        self, root: Root, data: bytes, files: Mapping[str, bytes], now: datetime
    ) -> Targets:
        """The targets that are to be seen under `root`, with their files, stored but not shown."""
        if data:
            metadata = parse_targets(data)
            targets = metadata.signed
            if targets.version == self._targets.version and self.holds(files):
                return self._targets
            if targets.version <= self._targets.version:
                raise RequestRejected(f"targets {targets.version} are older than what there is")
            if targets.expires <= _at(now):
                raise RequestRejected(f"the targets were good until {targets.expires:%Y-%m-%d}")
            try:
                root.verify_delegate(Targets.type, metadata.signed_bytes, metadata.signatures)
                for name, file in targets.targets.items():
                    file.verify_length_and_hashes(files[name])
            except (RepositoryError, KeyError) as error:
                raise RequestRejected(f"the targets do not hold: {error}") from error
            self._objects.put_all(
                [
                    *(
                        (f"targets/{path}", files[name])
                        for name, file in targets.targets.items()
                        for path in file.get_prefixed_paths()
                    ),
                    (f"{targets.version}.targets.json", data),
                ]
            )
            return targets
        if self._believed(f"{self._targets.version}.targets.json", Targets.type, root):
            return self._targets
        if not self._signs(root, Targets.type):
            raise RequestRejected("under the new root, nobody would believe the targets there are")
        return self._new_targets(self._targets.targets, now)

    def _signs(self, root: Root, *roles: str) -> bool:
        """Whether the online key alone can sign for these roles."""
        keyid = self._signer.public_key.keyid
        return all(
            keyid in root.roles[role].keyids and root.roles[role].threshold == 1 for role in roles
        )

    def _believed(self, path: str, role: str, root: Root) -> bool:
        metadata = Metadata[Targets].from_bytes(self._objects.fetch(path))
        try:
            root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except RepositoryError:
            return False
        return True

    def _new_targets(self, files: dict[str, TargetFile], now: datetime, skip: int = 0) -> Targets:
        # A version that a crash left unreferenced is passed over: its bytes are immutable.
        version = _newest(self._objects, Targets.type) + 1 + skip
        targets = Targets(version=version, expires=_at(now) + SIGNED_LIFETIME, targets=files)
        self._objects.put_all([(f"{version}.targets.json", _signed(targets, self._signer))])
        return targets

    def _new_snapshot(self, targets: Targets, now: datetime, skip: int) -> Snapshot:
        version = _newest(self._objects, Snapshot.type) + 1 + skip
        meta = {_TARGETS: MetaFile(targets.version)}
        snapshot = Snapshot(version=version, expires=_at(now) + SIGNED_LIFETIME, meta=meta)
        self._objects.put_all([(f"{version}.snapshot.json", _signed(snapshot, self._signer))])
        return snapshot

    def _advance(self, now: datetime, targets: Targets | None = None, skip: int = 0) -> None:
        """Publish a new timestamp, over a new snapshot of `targets` if they are given."""
        snapshot = self._snapshot if targets is None else self._new_snapshot(targets, now, skip)
        timestamp = Timestamp(
            version=self._timestamp_version + 1 + skip,
            expires=_at(now) + TIMESTAMP_LIFETIME,
            snapshot_meta=MetaFile(snapshot.version),
        )
        self._objects.replace(_TIMESTAMP, _signed(timestamp, self._signer))
        # Only now: a write that failed above leaves the state as clients see it.
        self._interrupted = False
        self._targets = targets or self._targets
        self._snapshot = snapshot
        self._timestamp = timestamp
        self._timestamp_version = timestamp.version


def next_targets_version(objects: ObjectStore) -> int:
    """A version that no targets had yet."""
    return _newest(objects, Targets.type) + 1


def newest_root(objects: ObjectStore) -> bytes:
    """The newest root's file. Raises InvariantBroken if there is none or it is damaged."""
    path = f"{_newest(objects, Root.type)}.root.json"
    _load(objects, path, Root, None)
    return objects.fetch(path)


def offline_targets() -> SettingsError:
    """What to do where the online key may not sign targets."""
    error = SettingsError("the TUF targets are signed offline, so nothing can be published alone")
    error.add_note("run countermark trust ceremony start --targets, and finish that ceremony")
    return error


def _at(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0)


def _signed(part: T, signer: PortSigner) -> bytes:
    metadata = Metadata(part)
    metadata.sign(signer)
    return metadata.to_bytes()


def _newest(objects: ObjectStore, role: str) -> int:
    """The highest stored version of a role, or 0."""
    names = (_VERSIONED.fullmatch(path) for path in objects.paths(""))
    return max((int(name[1]) for name in names if name and name[2] == role), default=0)


def _load(objects: ObjectStore, path: str, kind: type[T], root: Root | None) -> T:
    """Read a role's file, checked against `root` (for root: against itself)."""
    try:
        metadata = Metadata[T].from_bytes(objects.fetch(path))
        part = metadata.signed
        if not isinstance(part, kind):
            raise InvariantBroken(f"the TUF repository's {path} holds {part.type}")
        judge = root if root is not None else part
        assert isinstance(judge, Root)
        judge.verify_delegate(kind.type, metadata.signed_bytes, metadata.signatures)
    except NotFound as error:
        raise InvariantBroken(f"the TUF repository has no {path}") from error
    except (DeserializationError, RepositoryError) as error:
        raise InvariantBroken(f"the TUF repository's {path} is damaged: {error}") from error
    return part
