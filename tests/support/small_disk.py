# SPDX-License-Identifier: Apache-2.0
"""A file system of a given size that can be filled, enlarged and made read-only."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_FILLER = "filler"


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def mount(cls, path: Path, size: str) -> Iterator["SmallDisk"]:
        """Mount one; skips the test where that is not allowed. `size` as tmpfs takes it: 40m."""
        path.mkdir(parents=True)
        done = _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(path))
        if done.returncode:
            pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
        try:
            yield cls(path)
        finally:
            done = _run("umount", "--lazy", str(path))
            assert done.returncode == 0, done.stderr

    def remount(self, options: str) -> None:
        """Change its size or mode."""
        done = _run("mount", "-o", f"remount,{options}", str(self.path))
        assert done.returncode == 0, done.stderr

    @contextmanager
    def full(self, folder: Path) -> Iterator[None]:
        """Leave not a byte, by a file in `folder` (on this disk); then give all back."""
        filler = folder / _FILLER
        try:
            with filler.open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(4096)) == 4096:
                        pass
                except OSError:
                    pass
            yield
        finally:
            filler.unlink()


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)
