# SPDX-License-Identifier: Apache-2.0
"""Makes an instance out of a backup: its old logs frozen as they were, new ones opened.

The world may have seen more of the old logs than the backup holds. Going on with them would give
an index a second time to another entry, and nothing in the embedded store can prove that there was
nothing more: answers go out before objects are written. So they take no entry any more (ADR 16).

Everything is made in place behind a marker, and the version file is written last. Killed at any
point, a run leaves a directory that nothing but the next `restore` touches, or a complete instance.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from countermark.app import bring_up
from countermark.app.backup import check_logs
from countermark.app.backup_files import (
    FILES,
    BackedUpFile,
    Manifest,
    Watch,
    check_kind,
    check_names,
    check_space,
    compare,
    copy_file,
    failure,
    in_threads,
    make_parents,
    mode_in_data_dir,
    read_manifest,
    sync_folders,
)
from countermark.app.data_dir import VERSION, DataDir, State
from countermark.app.instance import InstanceConfig, load_instance
from countermark.app.keyring import KeyRing
from countermark.app.shards import open_next_shards
from countermark.app.upgrade import Say, take_step
from countermark.core.errors import SettingsError
from countermark.drivers.durable import SECRET, create_file, sync_folder
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.ports.clock import Clock, Entropy


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored instance.

    Attributes:
        config: its instance.json, with frozen and new logs.
        manifest: of the backup.
    """

    config: InstanceConfig
    manifest: Manifest


def restore(
    backup: Path,
    data_dir: DataDir,
    clock: Clock,
    entropy: Entropy,
    watch: Watch,
    say: Say,
    *,
    passphrase: bytes | None = None,
) -> Restored:
    """Make an instance in an empty directory, or in one of an unfinished restore. Blocks.

    Args:
        backup: what `make_backup` made; only read.
        data_dir: where; it need not exist.
        clock: gives the end of the old logs and the start of the new ones.
        entropy: for the new logs.
        watch: shown how far it is.
        say: told what else happens, a sentence each.
        passphrase: of the online keys; by default that of the file beside them.

    Raises FormatError for a backup that is damaged, SettingsError (for a full disk too),
    InvariantBroken, Unavailable. The directory is then as empty as it was.
    """
    manifest = read_manifest(backup)
    if backup.resolve() in (data_dir.path.resolve(), *data_dir.path.resolve().parents):
        raise SettingsError(f"{data_dir.path} is inside the backup: name another directory")
    if manifest.layout > VERSION:
        raise SettingsError(
            f"{backup} was made by a newer Countermark (layout {manifest.layout}, this one "
            f"knows {VERSION}): install that version"
        )
    try:
        check_names(backup, manifest)
        with bring_up.locked(data_dir, restoring=True):
            _begin(data_dir)
            try:
                _fill(backup, manifest, data_dir, watch, passphrase)
                for number in range(manifest.layout, VERSION):
                    take_step(data_dir, number, say)
                say("freezing the restored logs and opening new ones")
                config = open_next_shards(
                    data_dir, clock, entropy, passphrase=passphrase, restored=True
                )
                _finish(data_dir)
            except BaseException:
                if not data_dir.version_file.exists():  # else it is complete, whatever went wrong
                    _clear(data_dir)
                raise
    except OSError as error:
        raise failure("the backup could not be restored", error) from error
    return Restored(config, manifest)


def _begin(data_dir: DataDir) -> None:
    if data_dir.version() is None and data_dir.restoring_file.exists():
        _clear(data_dir)
    if data_dir.state() is not State.EMPTY:
        raise SettingsError(f"{data_dir.path} is not empty: name another directory")
    sync_folder(data_dir.path.parent)
    # Durable before anything else: only a directory with the marker may ever be cleared.
    create_file(data_dir.restoring_file, b"", SECRET)
    data_dir.make_folders()


def _fill(
    backup: Path, manifest: Manifest, data_dir: DataDir, watch: Watch, passphrase: bytes | None
) -> None:
    """Copy everything and check it on the way."""
    data_dir.check_secrecy()
    check_space(data_dir.path, manifest.total_bytes)
    make_parents(data_dir.path, (file.path for file in manifest.files), public=True)
    watch.begin("copying the backup", manifest.total_bytes)

    def copy(file: BackedUpFile) -> None:
        target = data_dir.path / file.path
        mode = mode_in_data_dir(file.path)
        check_kind(backup, file)
        size, digest = copy_file(backup / file.path, target, mode, watch.advance)
        compare(backup, file, size, digest)

    large = [file for file in manifest.files if _is_large(file)]
    for _ in in_threads(copy, [file for file in manifest.files if not _is_large(file)]):
        pass
    # A missing passphrase should be known before gigabytes are copied.
    config = load_instance(data_dir.instance_file)
    KeyRing.load(data_dir, config, passphrase)
    for _ in in_threads(copy, large):
        pass
    sync_folders(data_dir.path)
    if not manifest.verified:
        store = RocksLogStore(data_dir.db, read_only=True)
        try:
            check_logs(data_dir, config, store, manifest.total_bytes, watch)
        finally:
            store.close()


def _is_large(file: BackedUpFile) -> bool:
    return file.path.startswith(("db/", "logs/"))


def _finish(data_dir: DataDir) -> None:
    sync_folders(data_dir.path)
    data_dir.write_version()
    data_dir.restoring_file.unlink()
    sync_folder(data_dir.path)


def _clear(data_dir: DataDir) -> None:
    for folder in data_dir.cleared_folders:
        if folder.exists():
            shutil.rmtree(folder)
    for name in (*FILES, data_dir.next_shards_file.name, data_dir.version_file.name):
        for left in (name, f".{name}.new"):
            (data_dir.path / left).unlink(missing_ok=True)
    sync_folder(data_dir.path)
    data_dir.restoring_file.unlink()
    sync_folder(data_dir.path)
