# SPDX-License-Identifier: Apache-2.0
"""What a disk may hold after a power cut, worked out from a record of system calls.

The model is no kinder than POSIX: a file's bytes are safe once fsync or fdatasync returned, a
name once its folder's fsync did; whatever else was done may be there or not, in any order:

    lost        nothing that was not synced
    torn        of each file's unsynced bytes the first few, of each folder's changes the first few
    scattered   any 4 KiB pages of a file (zeros where one is missing), any changes of a folder
    kept        all of it, as after kill -9
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from tests.support.strace import Call

CALLS: Final = (
    "openat,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,rename,"
    "renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,mmap,"
    "fsync,fdatasync,sync,syncfs,sync_file_range,copy_file_range,sendfile,dup,dup2,dup3"
)
T = TypeVar("T")

WAYS: Final = ("lost", "torn", "scattered", "kept")
_PAGE = 4096
_READING = {"mmap", "sync_file_range", "dup", "dup2", "dup3"}


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes written at a place; None for a file cut or extended to end there."""

    place: int
    data: bytes | None
    when: float


@dataclass(slots=True)
class File:
    """A file: its bytes as far as they are safe, and the changes since."""

    safe: bytearray = field(default_factory=bytearray)
    changes: list[Change] = field(default_factory=list)
    size: int = 0

    def put(self, place: int, data: bytes, when: float) -> None:
        """Bytes were written."""
        self.changes.append(Change(place, data, when))
        self.size = max(self.size, place + len(data))

    def cut(self, size: int, when: float) -> None:
        """It has another size."""
        self.changes.append(Change(size, None, when))
        self.size = size

    def sync(self, began: float) -> None:
        """What was done before a sync began is safe."""
        for change in self.changes:
            if change.when <= began:
                _change(self.safe, change)
        self.changes = [change for change in self.changes if change.when > began]


@dataclass(slots=True)
class Folder:
    """A folder: its names as far as they are safe, and the changes since."""

    safe: dict[str, "Node"] = field(default_factory=dict)
    changes: list[tuple[str, "Node | None", float]] = field(default_factory=list)
    names: dict[str, "Node"] = field(default_factory=dict)

    def put(self, name: str, node: "Node | None", when: float) -> None:
        """A name is there now, or is not any more."""
        self.changes.append((name, node, when))
        _apply(self.names, name, node)

    def sync(self, began: float) -> None:
        """What was done before a sync began is safe."""
        for name, node, when in self.changes:
            if when <= began:
                _apply(self.safe, name, node)
        self.changes = [change for change in self.changes if change[2] > began]


Node: TypeAlias = File | Folder


class Disk:
    """A folder's disk, fed with calls."""

    def __init__(self, root: Path, content: Path) -> None:
        """The calls are about `root`; at first it holds what is in `content`, all of it safe."""
        self._root = root
        self._prefix = bytes(root)
        self._sockets = bytes(root / "run")
        self._top = _load(content)
        self._places: dict[int, int] = {}  # of descriptors: where plain writes go
        self._actions: dict[str, Callable[[Call], bool]] = {
            "openat": self._open,
            "write": self._write,
            "pwrite64": self._write_at,
            "lseek": self._seek,
            "ftruncate": self._cut,
            "fallocate": self._allocate,
            "rename": self._rename,
            "unlink": self._remove,
            "rmdir": self._remove,
            "mkdir": self._make_folder,
            "fsync": self._sync,
            "fdatasync": self._sync,
        }

    def feed(self, calls: Sequence[Call]) -> Iterator[Call]:
        """Carry calls out in the order in which they ended; gives each that changed something.

        What a sync makes safe is what was written before it began.
        """
        for call in calls:
            if call.result < 0 or call.name in _READING:
                continue
            action = self._actions.get(call.name)
            if action is not None:
                if action(call):
                    yield call
            elif self._prefix in call.arguments:
                assert self._sockets in call.arguments, f"the model does not know {call}"

    def write_out(self, target: Path, way: str, seed: int) -> None:
        """Make `target` what a disk holds if power is cut now."""
        _write_out(self._top, target, way, random.Random(seed))

    # --- calls ------------------------------------------------------------------------------

    def _open(self, call: Call) -> bool:
        self._places[call.result] = 0
        flags = call.arguments.partition(b'", ')[2]
        found = self._folder_of(call.texts[0])
        if found is None or (b"O_CREAT" not in flags and b"O_TRUNC" not in flags):
            return False
        folder, name = found
        node = folder.names.get(name)
        if node is None:
            folder.put(name, File(), call.ended)
        elif isinstance(node, File):
            if b"O_APPEND" in flags:
                self._places[call.result] = node.size
            if b"O_TRUNC" not in flags or not node.size:
                return False
            node.cut(0, call.ended)
        return True

    def _write(self, call: Call) -> bool:
        descriptor, file = self._described(call)
        if file is None:
            return False
        place = self._places.get(descriptor, 0)
        file.put(place, call.texts[0][: call.result], call.ended)
        self._places[descriptor] = place + call.result
        return True

    def _write_at(self, call: Call) -> bool:
        _, file = self._described(call)
        if file is not None:
            place = _last_number(call.arguments)
            file.put(place, call.texts[0][: call.result], call.ended)
        return file is not None

    def _seek(self, call: Call) -> bool:
        descriptor, _ = self._described(call)
        self._places[descriptor] = call.result
        return False

    def _cut(self, call: Call) -> bool:
        _, file = self._described(call)
        if file is not None:
            file.cut(_last_number(call.arguments), call.ended)
        return file is not None

    def _allocate(self, call: Call) -> bool:
        _, file = self._described(call)
        if file is None or b"KEEP_SIZE" in call.arguments:
            return False
        start, length = (int(word) for word in call.arguments.split(b", ")[-2:])
        if start + length > file.size:
            file.cut(start + length, call.ended)
        return True

    def _rename(self, call: Call) -> bool:
        source, target = (self._folder_of(text) for text in call.texts)
        if source is None or target is None:
            return False
        target[0].put(target[1], source[0].names[source[1]], call.ended)
        source[0].put(source[1], None, call.ended)
        return True

    def _remove(self, call: Call) -> bool:
        found = self._folder_of(call.texts[0])
        if found is not None:
            found[0].put(found[1], None, call.ended)
        return found is not None

    def _make_folder(self, call: Call) -> bool:
        found = self._folder_of(call.texts[0])
        if found is not None:
            found[0].put(found[1], Folder(), call.ended)
        return found is not None

    def _sync(self, call: Call) -> bool:
        node = self._node(_described_path(call.arguments))
        if node is not None:
            node.sync(call.began)
        return node is not None

    # --- paths ------------------------------------------------------------------------------

    def _described(self, call: Call) -> tuple[int, File | None]:
        node = self._node(_described_path(call.arguments))
        return int(call.arguments.partition(b"<")[0]), node if isinstance(node, File) else None

    def _folder_of(self, path: bytes) -> tuple[Folder, str] | None:
        parent, _, name = path.decode().rstrip("/").rpartition("/")
        folder = self._node(parent)
        return (folder, name) if isinstance(folder, Folder) else None

    def _node(self, path: str) -> Node | None:
        try:
            parts = Path(path).relative_to(self._root).parts
        except ValueError:
            return None
        node: Node | None = self._top
        for part in parts:
            node = node.names.get(part) if isinstance(node, Folder) else None
        return node


def _described_path(arguments: bytes) -> str:
    return arguments.partition(b"<")[2].partition(b">")[0].decode(errors="replace")


def _last_number(arguments: bytes) -> int:
    return int(arguments.rpartition(b", ")[2])


def _load(path: Path) -> Folder:
    folder = Folder()
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            folder.names[entry.name] = _load(Path(entry))
        elif entry.is_file(follow_symlinks=False):
            data = Path(entry).read_bytes()
            folder.names[entry.name] = File(bytearray(data), [], len(data))
    folder.safe = dict(folder.names)
    return folder


def _apply(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _change(data: bytearray, change: Change) -> None:
    missing = change.place - len(data)
    if missing > 0:
        data.extend(bytes(missing))
    if change.data is None:
        del data[change.place :]
    else:
        data[change.place : change.place + len(change.data)] = change.data


def _write_out(folder: Folder, target: Path, way: str, chance: random.Random) -> None:
    names = dict(folder.safe)
    for name, node, _ in _surviving(folder.changes, way, chance):
        _apply(names, name, node)
    target.mkdir(mode=0o700)
    for name, node in sorted(names.items()):
        if isinstance(node, Folder):
            _write_out(node, target / name, way, chance)
            continue
        data = bytearray(node.safe)
        changes = [piece for change in node.changes for piece in _pieces(change)]
        for piece in _surviving(changes, way, chance):
            _change(data, piece)
        if way == "torn" and len(changes) and chance.random() < 0.5:
            del data[max(len(node.safe), len(data) - chance.randrange(_PAGE)) :]
        path = target / name
        path.write_bytes(data)
        path.chmod(0o600)


def _surviving(changes: list[T], way: str, chance: random.Random) -> list[T]:
    if way == "lost":
        return []
    if way == "torn":
        return changes[: chance.randint(0, len(changes))]
    if way == "scattered":
        share = chance.random()
        return [change for change in changes if chance.random() < share]
    return changes


def _pieces(change: Change) -> Iterator[Change]:
    """A write, page by page."""
    if change.data is None:
        yield change
        return
    start = 0
    while start < len(change.data):
        end = min(len(change.data), start + _PAGE - (change.place + start) % _PAGE)
        yield Change(change.place + start, change.data[start:end], change.when)
        start = end
