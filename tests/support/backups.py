# SPDX-License-Identifier: Apache-2.0
"""Stopped instances with entries, and backups of them, made in this process."""

from dataclasses import dataclass, field
from pathlib import Path

from countermark.app.backup import make_backup
from countermark.app.backup_files import Manifest, check_hashes, check_names
from countermark.app.data_dir import DataDir
from countermark.app.init import initialise
from countermark.app.restore import Restored, restore
from countermark.drivers.system import SystemClock, SystemEntropy

URL = "http://localhost:7446"


@dataclass
class Seen:
    """A `Watch` that remembers."""

    stages: list[tuple[str, int]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)

    def begin(self, what: str, total_bytes: int) -> None:
        self.stages.append((what, total_bytes))
        self.done.append(0)

    def advance(self, count: int) -> None:
        self.done[-1] += count


def new_instance(path: Path) -> DataDir:
    """A stopped instance that has its genesis entries only."""
    data_dir = DataDir.at(path)
    initialise(data_dir, URL, SystemClock(), SystemEntropy())
    return data_dir


def back_up(
    data_dir: DataDir, target: Path, *, offline: bool = True, verify: bool = True
) -> Manifest:
    return make_backup(data_dir, target, SystemClock(), Seen(), offline=offline, verify=verify)


def restore_into(backup: Path, data_dir: DataDir, passphrase: bytes | None = None) -> Restored:
    clock, entropy = SystemClock(), SystemEntropy()
    return restore(backup, data_dir, clock, entropy, Seen(), print, passphrase=passphrase)


def check_whole(backup: Path, manifest: Manifest) -> None:
    """The backup's files are exactly those of its manifest, byte by byte."""
    check_names(backup, manifest)
    seen = Seen()
    seen.begin("all", manifest.total_bytes)
    check_hashes(backup, manifest.files, seen)
    assert seen.done == [manifest.total_bytes]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too, by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
