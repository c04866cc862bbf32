# SPDX-License-Identifier: Apache-2.0
"""Looks at the logs of an instance: where they stand, and whether they hold.

`Inspection` reads the database, which belongs to one process: its caller holds the data
directory's lock, and the instance does not run. `check_published` reads published files alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig, LogConfig, LogKind
from countermark.app.logs import auditor_of, check_frozen
from countermark.app.messages import LogStatus
from countermark.app.opening import open_instance
from countermark.core.bundle.trusted_root import TransparencyLog, TrustedRoot
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import InvariantBroken, NotFound, SettingsError
from countermark.core.tlog.tiles import TILE_WIDTH, BundleName
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.ports.log_store import EntryRow, Head
from countermark.ports.objects import ObjectStore
from countermark.tilelog.fsck import FsckReport, fsck
from countermark.tilelog.personality import Auditor
from countermark.tilelog.problems import Problem
from countermark.tilelog.published_audit import audit_published
from countermark.tilelog.recover import recover

Progress = Callable[[str, int, int], None]
"""Told a log's name, the entries that are checked, and all there are."""


class Inspection:
    """The logs of one stopped instance."""

    def __init__(self, data_dir: DataDir, config: InstanceConfig, store: RocksLogStore) -> None:
        self._data_dir = data_dir
        self._config = config
        self._store = store

    @classmethod
    @contextmanager
    def open(cls, data_dir: DataDir) -> Iterator["Inspection"]:
        """Open the database. Raises SettingsError, InvariantBroken."""
        config = open_instance(data_dir)
        store = RocksLogStore(data_dir.db)
        try:
            yield cls(data_dir, config, store)
        finally:
            store.close()

    @property
    def url(self) -> str:
        """The instance's base URL."""
        return self._config.base_url

    def status(self) -> tuple[LogStatus, ...]:
        """Where each log stands."""
        return tuple(self._status(log) for log in self._config.logs)

    def check(self, names: Sequence[str], progress: Progress, *, rows: bool) -> list[FsckReport]:
        """Re-derive some logs, all if `names` is empty, from their entries up.

        Keys are those of the published trusted root: what the world holds the logs to.
        Raises NotFound for a log that is not there.
        """
        reports: list[FsckReport] = []
        for log, auditor, objects in _chosen(self._data_dir, self._config, names):
            told = partial(progress, log.name)
            report = fsck(log.name, auditor, self._store, objects, rows=rows, progress=told)
            reports.append(_with_end(log, report, self._store.head(log.name)))
        return reports

    def find(self, name: str, identity: bytes) -> EntryRow | None:
        """The row of one entry, None if the log does not hold it."""
        return self._store.find(name, [identity])[0]

    def records(self, name: str) -> Iterator[bytes]:
        """Every record of a log, in order."""
        config = next(log for log in self._config.logs if log.name == name)
        objects = FileObjectStore(self._data_dir.log_folder(name), read_only=True)
        auditor = auditor_of(
            self._config, config, _public_keys(self._data_dir, self._config)[name], objects
        )
        recovered = recover(name, auditor.codec, self._store, objects)
        for index in range(recovered.published_size // TILE_WIDTH):
            bundle = BundleName(auditor.codec.directory, index)
            yield from auditor.codec.split(objects.fetch(bundle.path))
        yield from recovered.records

    def _status(self, log: LogConfig) -> LogStatus:
        head = self._store.head(log.name)
        published = self._store.published_size(log.name)
        return LogStatus(
            log.name,
            log.origin,
            head.tree_size,
            head.root_hash,
            head.time_ms,
            published,
            log.frozen is not None,
        )


def check_published(
    data_dir: DataDir, names: Sequence[str], progress: Progress
) -> list[FsckReport]:
    """Audit what some logs show the world, all if `names` is empty; the instance may run.

    Raises NotFound for a log that is not there, SettingsError, InvariantBroken.
    """
    reports: list[FsckReport] = []
    for log, auditor, objects in _chosen(data_dir, open_instance(data_dir), names):
        told = partial(progress, log.name)
        report = audit_published(log.name, auditor, objects, progress=told)
        shown = Head(report.tree_size, report.root_hash or b"", 0, b"")
        reports.append(_with_end(log, report, shown))
    return reports


def _chosen(
    data_dir: DataDir, config: InstanceConfig, names: Sequence[str]
) -> Iterator[tuple[LogConfig, Auditor, ObjectStore]]:
    """Some logs, all if `names` is empty, with what checks them, and their objects."""
    known = {log.name: log for log in config.logs}
    for name in names:
        if name not in known:
            raise NotFound(f"there is no log {name}; there are {', '.join(known)}")
    keys = _public_keys(data_dir, config)
    for name in names or known:
        objects = FileObjectStore(data_dir.log_folder(name), read_only=True)
        yield known[name], auditor_of(config, known[name], keys[name], objects), objects


def _with_end(log: LogConfig, report: FsckReport, head: Head) -> FsckReport:
    """The report, with one problem more for a frozen log that has another end."""
    if log.frozen is None:
        return report
    try:
        check_frozen(log.name, log.frozen, head)
    except InvariantBroken as error:
        return replace(report, problems=(*report.problems, Problem("head", str(error))))
    return report


def _public_keys(data_dir: DataDir, config: InstanceConfig) -> dict[str, PublicKey]:
    path = data_dir.trust / "trusted_root.json"
    try:
        root = TrustedRoot.parse(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    kinds: tuple[tuple[LogKind, tuple[TransparencyLog, ...]], ...] = (
        ("rekor-v1", root.tlogs),
        ("ct", root.ctlogs),
    )
    keys: dict[str, PublicKey] = {}
    for kind, listed in kinds:
        logs = config.logs_of(kind)
        if len(listed) != len(logs):
            raise InvariantBroken(f"{path} does not list the logs of instance.json")
        # In the same order. Shards have one URL, so that would not tell them apart.
        keys |= {log.name: each.public_key for log, each in zip(logs, listed, strict=True)}
    return keys
