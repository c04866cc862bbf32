# SPDX-License-Identifier: Apache-2.0
"""What a backup looks like on disk, and how its files are copied and checked.

A backup is a folder: ``backup.json`` (the manifest, written last) beside the parts of a data
directory under the names they have there, but without ``version``, so that nothing can be brought
up in it. Folders have mode 0700, files 0600. The manifest names every file with its size and
SHA-256; it is against damage, not against somebody who can write to the backup.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from countermark.app.data_dir import BACKUP_MANIFEST
from countermark.core.errors import FormatError, SettingsError
from countermark.drivers.durable import sync_folder

FILES: Final = ("instance.json", "local-secret")
FOLDERS: Final = ("keys", "offline", "tuf", "trust", "db", "logs")
_PUBLIC_FOLDERS: Final = ("tuf", "trust", "logs")
_PUBLIC_FILES: Final = ("instance.json", "keys/ca-chain.pem", "keys/tsa-chain.pem")

_MAX_DEPTH: Final = 64
_CHUNK: Final = 1 << 20
_THREADS: Final = 4  # each waits for the disk most of the time
_MAX_MANIFEST_BYTES: Final = 1 << 30
_HEX_SHA256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_SIZE = Annotated[int, msgspec.Meta(ge=0)]

T = TypeVar("T")
Advance: TypeAlias = Callable[[int], None]
"""Told that so many more bytes are done, from any thread."""


class Watch(Protocol):
    """Whoever shows how far things are."""

    def begin(self, what: str, total_bytes: int) -> None:
        """The next stage begins."""
        ...

    def advance(self, count: int) -> None:
        """So many more bytes of it are done. From any thread."""
        ...


class BackedUpFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: its path relative to the backup, its size in bytes, its hash."""

    path: str
    size: _SIZE
    sha256: _HEX_SHA256


class BackedUpLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one log stood.

    Attributes:
        name: its name in the store.
        origin: first line of its checkpoints.
        tree_size: of its head.
        root_hash: of that head, hexadecimal.
        published_size: below it, entries are in bundles; the others are in the database.
        checkpoint: the signed head.
    """

    name: str
    origin: str
    tree_size: _SIZE
    root_hash: _HEX_SHA256
    published_size: _SIZE
    checkpoint: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``backup.json``.

    Attributes:
        format: of the backup.
        layout: of the data directory, as in its version file.
        url: the instance's base URL.
        created: when the backup began.
        offline: whether the root keys are in it.
        verified: whether its logs were re-derived from their entries.
        logs: all of them.
        files: all but the manifest itself.
    """

    format: Literal[1] = 1
    layout: Annotated[int, msgspec.Meta(ge=1)]
    url: str
    created: datetime
    offline: bool
    verified: bool
    logs: tuple[BackedUpLog, ...]
    files: tuple[BackedUpFile, ...]

    @property
    def total_bytes(self) -> int:
        """Of all files together."""
        return sum(file.size for file in self.files)

    def serialize(self) -> bytes:
        """As indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read what `serialize` wrote. Raises FormatError, also for paths that lead elsewhere."""
        try:
            manifest = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise FormatError(BACKUP_MANIFEST, f"is damaged: {error}") from error
        if manifest.created.tzinfo is None:
            raise FormatError(BACKUP_MANIFEST, "is damaged: `created` has no time zone")
        for file in manifest.files:
            parts = file.path.split("/")
            known = file.path in FILES or (len(parts) > 1 and parts[0] in FOLDERS)
            if not known or "\0" in file.path or not {"", ".", ".."}.isdisjoint(parts):
                raise FormatError(BACKUP_MANIFEST, f"lists {file.path!r}, no file of a backup")
        if len({file.path for file in manifest.files}) != len(manifest.files):
            raise FormatError(BACKUP_MANIFEST, "lists a file twice")
        return manifest


def read_manifest(backup: Path) -> Manifest:
    """The manifest of a backup. Raises FormatError if there is none, SettingsError."""
    path = backup / BACKUP_MANIFEST
    try:
        with open(_open_plain(path), "rb") as file:
            data = file.read(_MAX_MANIFEST_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = FormatError(str(backup), "is no backup, or one that was not finished")
        missing.add_note(f"a backup is a folder with {BACKUP_MANIFEST} in it")
        raise missing from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    return Manifest.parse(data)


def check_names(backup: Path, manifest: Manifest) -> None:
    """That the files of the backup are exactly those of its manifest. Raises FormatError.

    Sizes and hashes are not looked at. A symbolic link to a folder is no folder.
    """
    listed = {file.path for file in manifest.files}
    found = {path for path in files_below(backup) if path != BACKUP_MANIFEST}
    if missing := sorted(listed - found):
        raise FormatError(str(backup / missing[0]), _many("is missing", missing))
    if strange := sorted(found - listed):
        raise FormatError(str(backup / strange[0]), _many("is not in the manifest", strange))


def check_kind(backup: Path, file: BackedUpFile) -> None:
    """That a file is a plain one, no link, of its size in the manifest.

    A copy takes as much room as it does, however much the manifest made us look for.

    Raises FormatError, OSError.
    """
    status = os.lstat(backup / file.path)
    if not stat.S_ISREG(status.st_mode):
        raise FormatError(str(backup / file.path), "is not a plain file")
    _compare_size(backup, file, status.st_size)


def check_hashes(backup: Path, files: Sequence[BackedUpFile], watch: Watch) -> None:
    """Read all files and compare them with the manifest. Raises FormatError, OSError."""

    def check(file: BackedUpFile) -> None:
        compare(backup, file, *hash_file(backup / file.path, watch.advance))

    for _ in in_threads(check, files):
        pass


def compare(backup: Path, file: BackedUpFile, size: int, sha256: str) -> None:
    """Raises FormatError unless a file is what the manifest says."""
    _compare_size(backup, file, size)
    if sha256 != file.sha256:
        raise FormatError(str(backup / file.path), "is not what was backed up: its hash differs")


def _compare_size(backup: Path, file: BackedUpFile, size: int) -> None:
    if size != file.size:
        raise FormatError(
            str(backup / file.path), f"has {size} bytes, but {file.size} in the manifest"
        )


def hash_file(path: Path, advance: Advance) -> tuple[int, str]:
    """Size and SHA-256 of one file. Raises OSError."""
    with path.open("rb") as source:
        digest = hashlib.sha256()
        size = _pump(source.read, digest.update, advance)
    return size, digest.hexdigest()


def files_below(folder: Path, before: str = "") -> Iterator[str]:
    """Paths of everything in a folder that is not a folder itself, relative to it.

    Raises FormatError if folders are in each other as deep as in no instance.
    """
    if before.count("/") > _MAX_DEPTH:
        raise FormatError(str(folder), "is nested too deep")
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(folder / entry.name, f"{before}{entry.name}/")
        else:
            yield before + entry.name


def copy_file(source: Path, target: Path, mode: int, advance: Advance) -> tuple[int, str]:
    """Copy one file durably to where none is; its size and SHA-256. Raises OSError.

    The folder's own entry is not made durable; see `sync_folders`.
    """
    with open(_open_plain(source), "rb") as file:
        digest = hashlib.sha256()
        with open(_create(target, mode), "wb", buffering=0) as copy:

            def take(chunk: bytes) -> None:
                digest.update(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[copy.write(view) :]

            size = _pump(file.read, take, advance)
            os.fsync(copy.fileno())
    return size, digest.hexdigest()


def write_file(data: bytes, target: Path, mode: int) -> tuple[int, str]:
    """Write one file durably to where none is; its size and SHA-256. Raises OSError."""
    with open(_create(target, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return len(data), hashlib.sha256(data).hexdigest()


def in_threads(work: Callable[[T], object], items: Sequence[T]) -> Iterator[object]:
    """The results of `work` on each item, in order; the first failure ends all."""
    executor = ThreadPoolExecutor(_THREADS)
    try:
        yield from executor.map(work, items)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def make_parents(root: Path, paths: Iterable[str], *, public: bool) -> None:
    """Make every folder that files at `paths` below `root` need.

    Args:
        root: is there.
        paths: relative.
        public: whether folders that hold nothing secret are readable by others.
    """
    for folder in sorted({parent for path in paths for parent in PurePosixPath(path).parents}):
        open_to_all = public and folder.parts[:1] and folder.parts[0] in _PUBLIC_FOLDERS
        (root / folder).mkdir(mode=0o755 if open_to_all else 0o700, exist_ok=True)


def mode_in_data_dir(path: str) -> int:
    """Mode of a file in a data directory."""
    public = path in _PUBLIC_FILES or path.split("/", 1)[0] in _PUBLIC_FOLDERS
    return 0o644 if public else 0o600


def sync_folders(root: Path) -> None:
    """Make the names in a folder, and in all below it, durable. Raises OSError."""
    for folder, _, _ in os.walk(root):
        sync_folder(Path(folder))


def check_space(folder: Path, needed: int) -> None:
    """Raises SettingsError unless the file system of `folder` has so many bytes left."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if needed > free:
        raise SettingsError(
            f"{folder} has no space left for it: {_mb(needed)} are needed, {_mb(free)} are free"
        )


def failure(what: str, error: OSError) -> SettingsError:
    """What an operator is told of a disk's refusal."""
    where = f" ({error.filename})" if error.filename else ""
    return SettingsError(f"{what}: {error.strerror}{where}")


def _pump(read: Callable[[int], bytes], take: Callable[[bytes], object], advance: Advance) -> int:
    size = 0
    while chunk := read(_CHUNK):
        take(chunk)
        size += len(chunk)
        advance(len(chunk))
    return size


def _open_plain(path: Path) -> int:
    """Open for reading without waiting. Raises FormatError for pipes and devices, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FormatError(str(path), "is not a plain file")
    return descriptor


def _create(target: Path, mode: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(target, flags, mode)


def _many(what: str, paths: Sequence[str]) -> str:
    more = len(paths) - 1
    return f"{what} (and {more} more)" if more else what


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
