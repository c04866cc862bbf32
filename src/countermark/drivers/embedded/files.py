# SPDX-License-Identifier: Apache-2.0
"""The embedded `ObjectStore`: plain files that any web server can serve.

A file is written beside the tree, synced, renamed to its place, and its folder synced: it is
there whole or not at all, and durable on return. Many files share their folders' syncs.
"""

import errno
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from countermark.core.errors import (
    CountermarkError,
    FormatError,
    InvariantBroken,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)
_INCOMING = ".incoming"  # not a possible path of an object
_FOLDER, _FILE = 0o755, 0o644  # at most, whatever the umask lets through
# The process or the machine has too much in hand; it says nothing of the file.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class FileObjectStore:
    """A folder of objects. One process writes; any may read. See `ObjectStore`."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        """Use a folder.

        To write, it is made if it is not there, and what a crash left half written is removed.
        To read, nothing is touched: another process is the one that writes.

        Raises Unavailable if it cannot be written.
        """
        self._root = root
        self._read_only = read_only
        self._incoming = root / _INCOMING
        self._failed: str | None = None
        # A log publishes from a thread of its own while a CT log stores issuers from another.
        self._writing = threading.Lock()
        if read_only:
            return
        try:
            root.mkdir(_FOLDER, parents=True, exist_ok=True)
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._incoming.mkdir(_FOLDER)
        except OSError as error:
            raise Unavailable(f"objects cannot be written: {error}") from error

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """See `ObjectStore`.

        An object that exists is written again, with the same bytes: it may stem from a process
        that ended before it was durable, and reading it back would not tell.
        """
        for path, data in objects:
            existing = self._read(self._locate(path))
            if existing is not None and existing != data:
                raise InvariantBroken(f"object {path} exists with other content")
        self._store(objects)

    def replace(self, path: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self._store([(path, data)])

    def fetch(self, path: str) -> bytes:
        """See `ObjectStore`."""
        data = self._read(self._locate(path))
        if data is None:
            raise NotFound(f"there is no object {path}")
        return data

    def delete_all(self, paths: Iterable[str]) -> None:
        """See `ObjectStore`. Folders of partials that become empty go too."""
        self._check_writable()
        folders = set()
        for path in paths:
            target = self._locate(path)
            try:
                target.unlink(missing_ok=True)
            except OSError as error:
                raise Unavailable(f"objects cannot be deleted: {error}") from error
            if target.parent.name.endswith(".p"):
                folders.add(target.parent)
        for folder in folders:
            try:
                folder.rmdir()
            except OSError:  # not empty, or not there
                continue

    def paths(self, prefix: str) -> Iterator[str]:
        """See `ObjectStore`."""
        folder, _, start = prefix.rpartition("/")
        base = self._locate(folder) if folder else self._root
        yield from self._walk(base, f"{folder}/" if folder else "", start)

    def _walk(self, folder: Path, before: str, start: str) -> Iterator[str]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _unreadable(folder, error) from error
        for entry in entries:
            if not entry.name.startswith(start) or not _PART.fullmatch(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(folder / entry.name, f"{before}{entry.name}/", "")
            else:
                yield before + entry.name

    def _locate(self, path: str) -> Path:
        parts = path.split("/")
        if not all(map(_PART.fullmatch, parts)):
            raise FormatError("object path", f"{path[:80]!r} is not one")
        return self._root.joinpath(*parts)

    def _read(self, target: Path) -> bytes | None:
        try:
            return target.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(target, error) from error

    def _store(self, objects: Sequence[tuple[str, bytes]]) -> None:
        self._check_writable()
        with self._writing:
            self._store_alone(objects)

    def _check_writable(self) -> None:
        if self._read_only:
            raise InvariantBroken(f"{self._root} was opened for reading, but something writes")

    def _store_alone(self, objects: Sequence[tuple[str, bytes]]) -> None:
        if self._failed is not None:
            raise OutcomeUnknown(f"the objects in {self._root} need a new process: {self._failed}")
        incoming = [self._incoming / str(number) for number in range(len(objects))]
        try:
            for file, (_, data) in zip(incoming, objects, strict=True):
                with open(file, "wb", opener=_open_file) as opened:
                    opened.write(data)
        except OSError as error:  # a full disk: nothing was changed yet
            raise Unavailable(f"objects cannot be written: {error}") from error
        try:
            for file in incoming:
                _sync(file, os.O_RDONLY)
            folders: set[Path] = set()
            for file, (path, _) in zip(incoming, objects, strict=True):
                target = self._locate(path)
                self._make_folder(target.parent, folders)
                file.replace(target)
                folders.add(target.parent)
            # A folder is durable only once its name in the one above is.
            for folder in sorted(folders, key=lambda path: len(path.parts)):
                _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            # After a failed sync the kernel may claim that the data is there. It may not be.
            self._failed = str(error)
            raise OutcomeUnknown(f"writing objects failed: {error}") from error

    def _make_folder(self, folder: Path, changed: set[Path]) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent, changed)
            folder.mkdir(_FOLDER)
            changed.add(folder.parent)


def _open_file(path: str, flags: int) -> int:
    return os.open(path, flags, _FILE)


def _unreadable(path: Path, error: OSError) -> CountermarkError:
    kind = Unavailable if error.errno in _PASSING else InvariantBroken
    return kind(f"{path} cannot be read: {error.strerror}")


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
