# SPDX-License-Identifier: Apache-2.0
"""Backs an instance up, running or not: a database checkpoint and the tiles its heads cover.

The checkpoint says what the backup is of. Everything else is copied after it and is either
immutable (tiles, bundles, issuers, signed metadata) or replaced as a whole (key files). Entries
that were not published then are in the checkpoint, and are published after a restore; what was
published later is left out. Only a folder that was finished and checked gets its name.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from countermark.app import bring_up
from countermark.app.asking import ask_for_checkpoint
from countermark.app.backup_files import (
    FILES,
    FOLDERS,
    BackedUpFile,
    BackedUpLog,
    Manifest,
    Watch,
    check_hashes,
    check_space,
    copy_file,
    failure,
    files_below,
    hash_file,
    in_threads,
    make_parents,
    sync_folders,
    write_file,
)
from countermark.app.checkpoints import checkpoint_folder
from countermark.app.data_dir import BACKUP_MANIFEST, VERSION, DataDir
from countermark.app.inspection import Inspection
from countermark.app.instance import InstanceConfig, LogConfig
from countermark.app.opening import open_instance
from countermark.core.ct.static_ct import DATA_TILES
from countermark.core.errors import FormatError, InvariantBroken, NotFound, SettingsError
from countermark.core.tlog.bundles import BundleCodec
from countermark.core.tlog.tiles import (
    CHECKPOINT_PATH,
    BundleName,
    TileName,
    changed_bundles,
    changed_tiles,
)
from countermark.drivers.durable import SECRET, create_file, sync_folder
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.ports.clock import Clock
from countermark.tilelog.recover import fetch_wide
from countermark.tlog.personality import CODEC

_UNFINISHED: Final = ".unfinished"
_TIMESTAMP: Final = "timestamp.json"
_TRIES: Final = 20  # of finding a partial that is being replaced by a wider one
# What a database folder holds for its owner alone.
_NOT_COPIED: Final = ("LOCK", "LOG")


@dataclass(frozen=True, slots=True)
class Piece:
    """One file to be made.

    Attributes:
        path: below the backup.
        source: what is copied; None for `make`.
        size: in bytes, as far as known now.
        make: gives the bytes instead.
    """

    path: str
    source: Path | None
    size: int
    make: Callable[[], bytes] | None = None


def make_backup(
    data_dir: DataDir, target: Path, clock: Clock, watch: Watch, *, offline: bool, verify: bool
) -> Manifest:
    """Back up an instance into a new or empty folder. Blocks for as long as that takes.

    Args:
        data_dir: of the instance; an older layout is copied as it is.
        target: absolute; appears under this name when all is there, durable and checked.
        clock: for the manifest.
        watch: shown how far it is.
        offline: whether root keys go with it.
        verify: whether to read all of it again, and to re-derive the logs from their entries.

    Raises SettingsError (for a full disk too), Unavailable, Conflict if another backup is being
    made, InvariantBroken if the logs are not sound.
    """
    open_instance(data_dir)
    layout = data_dir.version() or VERSION
    created = datetime.fromtimestamp(clock.now_ms() // 1000, UTC)
    try:
        # Read before the checkpoint is made: the database then has every log that is listed.
        instance = data_dir.instance_file.read_bytes()
        config = InstanceConfig.parse(instance)
        with checkpoint_folder(data_dir) as checkpoint, _unfinished(target, data_dir) as folder:
            copier = _Copier(data_dir, folder, watch)
            store = copier.copy_database(checkpoint)
            try:
                logs = tuple(_log(log, store) for log in config.logs)
                copier.copy_rest(instance, config.logs, logs, offline=offline)
                sync_folders(folder)
                if verify:
                    watch.begin("reading the copy", copier.copied_bytes)
                    check_hashes(folder, copier.files, watch)
                    check_logs(DataDir(folder), config, store, copier.copied_bytes, watch)
            finally:
                store.close()
            manifest = Manifest(
                layout=layout,
                url=config.base_url,
                created=created,
                offline=any(file.path.startswith("offline/") for file in copier.files),
                verified=verify,
                logs=logs,
                files=tuple(sorted(copier.files, key=lambda file: file.path)),
            )
            create_file(folder / BACKUP_MANIFEST, manifest.serialize(), SECRET)
    except OSError as error:
        raise failure("the backup could not be made", error) from error
    return manifest


def check_logs(
    data_dir: DataDir, config: InstanceConfig, store: RocksLogStore, size: int, watch: Watch
) -> None:
    """Re-derive every log of a copy of `size` bytes. Raises InvariantBroken if one is unsound."""
    watch.begin("checking the logs", size)
    entries = sum(store.head(log.name).tree_size for log in config.logs)
    before = {log.name: 0 for log in config.logs}

    def told(name: str, done: int, _: int) -> None:
        watch.advance((done - before[name]) * size // entries)
        before[name] = done

    for report in Inspection(data_dir, config, store).check((), told, rows=True):
        if not report.ok:
            raise InvariantBroken(f"log {report.name} is not sound: {report.problems[0]}")


class _Copier:
    """Copies the parts of one data directory into one folder.

    Attributes:
        files: what was copied so far.
    """

    def __init__(self, data_dir: DataDir, folder: Path, watch: Watch) -> None:
        self._data_dir = data_dir
        self._folder = folder
        self._watch = watch
        self.files: list[BackedUpFile] = []

    @property
    def copied_bytes(self) -> int:
        """Of all files so far."""
        return sum(file.size for file in self.files)

    def copy_database(self, checkpoint: Path) -> RocksLogStore:
        """Copy the database as it is at one moment; the copy, opened for reading.

        A running instance is asked for a checkpoint, which is taken away again.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(bring_up.locked(self._data_dir))
                source = self._data_dir.db
            except bring_up.InUse:
                ask_for_checkpoint(self._data_dir)
                stack.callback(shutil.rmtree, checkpoint)
                source = checkpoint
            pieces = [
                _copied(source / name, f"db/{name}")
                for name in files_below(source)
                if not name.startswith(_NOT_COPIED)
            ]
            self._copy("copying the database", pieces)
        try:
            return RocksLogStore(self._folder / "db", read_only=True)
        except InvariantBroken:
            self._mend_database()
        return RocksLogStore(self._folder / "db", read_only=True)

    def _mend_database(self) -> None:
        """Cut off a last write that a power cut left in pieces, as the next start would.

        Raises InvariantBroken if that is not what is wrong.
        """
        database = self._folder / "db"
        RocksLogStore(database).close()
        self.files.clear()
        for name in list(files_below(database)):
            if name.startswith(_NOT_COPIED):
                (database / name).unlink()
                continue
            (database / name).chmod(SECRET)
            size, digest = hash_file(database / name, lambda _: None)
            self.files.append(BackedUpFile(f"db/{name}", size, digest))

    def copy_rest(
        self,
        instance: bytes,
        logs: Sequence[LogConfig],
        stood: Sequence[BackedUpLog],
        *,
        offline: bool,
    ) -> None:
        """Copy keys, trust root and what the logs' heads cover; `instance` is instance.json."""
        data_dir = self._data_dir
        # The timestamp is replaced, and leads to immutable files that were there before it.
        timestamp = (data_dir.tuf / _TIMESTAMP).read_bytes()
        pieces = [
            _given("instance.json", instance),
            _copied(data_dir.local_secret_file, "local-secret"),
            _given(f"tuf/{_TIMESTAMP}", timestamp),
        ]
        for folder in FOLDERS:
            if folder in ("db", "logs") or (folder == "offline" and not offline):
                continue
            pieces += [
                _copied(data_dir.path / folder / name, f"{folder}/{name}")
                for name in _plain_files(data_dir.path / folder)
                if (folder, name) != ("tuf", _TIMESTAMP)
            ]
        for log, log_stood in zip(logs, stood, strict=True):
            pieces += _log_pieces(data_dir.log_folder(log.name), log, log_stood)
        self._copy("copying tiles and keys", pieces)

    def _copy(self, what: str, pieces: Sequence[Piece]) -> None:
        total = sum(piece.size for piece in pieces)
        check_space(self._folder, total)
        make_parents(self._folder, (piece.path for piece in pieces), public=False)
        self._watch.begin(what, total)

        def copy(piece: Piece) -> None:
            target = self._folder / piece.path
            if piece.source is not None:
                size, digest = copy_file(piece.source, target, SECRET, self._watch.advance)
            else:
                assert piece.make is not None
                size, digest = write_file(piece.make(), target, SECRET)
                self._watch.advance(size)
            self.files.append(BackedUpFile(piece.path, size, digest))

        for _ in in_threads(copy, pieces):
            pass


@contextmanager
def _unfinished(target: Path, data_dir: DataDir) -> Iterator[Path]:
    """A new folder beside `target`, which gets its name if all goes well, and goes if not."""
    if target == data_dir.path or data_dir.path.resolve() in target.resolve().parents:
        raise SettingsError(f"{target} is inside the data directory: keep the backup elsewhere")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SettingsError(f"{target} is there already: name a new or an empty folder")
    folder = target.with_name(f"{target.name}{_UNFINISHED}")
    if folder.exists():  # a backup was killed
        names = {entry.name for entry in folder.iterdir()}
        if strangers := sorted(names - {*FILES, *FOLDERS, BACKUP_MANIFEST}):
            raise SettingsError(
                f"{folder} is in the way, and not a backup's (it holds {strangers[0]})"
            )
        shutil.rmtree(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
        sync_folder(folder)
        folder.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _given(path: str, data: bytes) -> Piece:
    return Piece(path, None, len(data), lambda: data)


def _copied(source: Path, path: str) -> Piece:
    return Piece(path, source, source.stat().st_size)


def _plain_files(folder: Path) -> list[str]:
    """What is in a folder, without what a write that was cut short left there."""
    if not folder.exists():  # `offline` can be moved away
        return []
    paths = list(files_below(folder))
    for path in paths:
        try:
            path.encode("utf-8")
        except UnicodeEncodeError as error:
            raise SettingsError(f"{folder / path}: its name is no UTF-8, rename it") from error
    return [path for path in paths if not any(part[:1] == "." for part in path.split("/"))]


def _log(log: LogConfig, store: RocksLogStore) -> BackedUpLog:
    try:
        head, published = store.head(log.name), store.published_size(log.name)
    except NotFound as error:
        raise InvariantBroken(f"instance.json lists log {log.name}, the database not") from error
    return BackedUpLog(
        log.name,
        log.origin,
        head.tree_size,
        head.root_hash.hex(),
        published,
        head.signed.decode("utf-8"),
    )


def _log_pieces(source: Path, log: LogConfig, stood: BackedUpLog) -> Iterator[Piece]:
    """The objects of one log, exactly as far as its database says that they are published."""
    objects = FileObjectStore(source, read_only=True)
    codec = DATA_TILES if log.kind == "ct" else CODEC
    before = f"logs/{log.name}/"
    # It may be ahead of what is published: what lies between is in the database.
    yield _given(before + CHECKPOINT_PATH, stood.checkpoint.encode("utf-8"))
    names: list[TileName | BundleName] = [
        *changed_bundles(codec.directory, 0, stood.published_size),
        *changed_tiles(0, stood.published_size),
    ]
    for name in names:
        file = source / name.path
        if name.path == name.full_path:  # full ones stay
            yield _copied(file, before + name.path)
        else:
            yield Piece(before + name.path, None, 0, partial(_partial, objects, name, codec))
    for entry in sorted(source.iterdir()):
        if entry.is_dir() and entry.name[0] != "." and entry.name != "tile":  # a CT log's issuers
            for path in _plain_files(entry):
                yield _copied(entry / path, f"{before}{entry.name}/{path}")


def _partial(objects: FileObjectStore, name: TileName | BundleName, codec: BundleCodec) -> bytes:
    """A partial, or the start of a wider one that took its place."""
    with suppress(NotFound):
        return objects.fetch(name.path)
    for _ in range(_TRIES):
        try:
            data = fetch_wide(objects, name)
        except NotFound:  # deleted since its folder was read: a wider one is there now
            continue
        if isinstance(name, TileName):
            return data[: name.byte_length]
        try:
            return b"".join(map(codec.frame, codec.split(data)[: name.width]))
        except FormatError as error:
            raise InvariantBroken(f"what replaced {name.path} is damaged: {error}") from error
    raise InvariantBroken(f"{name.path} is missing, and so is everything wider")
