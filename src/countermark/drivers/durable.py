# SPDX-License-Identifier: Apache-2.0
"""Small files that must survive a crash and, where they are secret, be nobody else's to read.

A file is there whole or not at all, and is durable on return: its bytes, its name and its mode.
"""

import os
from pathlib import Path

SECRET = 0o600
PUBLIC = 0o644


def create_file(path: Path, data: bytes, mode: int = SECRET) -> None:
    """Write a file that does not exist yet. Raises FileExistsError, OSError.

    A crash can leave a part of it behind; callers that must tell write a marker afterwards.
    """
    _write(path, data, mode)
    sync_folder(path.parent)


def replace_file(path: Path, data: bytes, mode: int = SECRET) -> None:
    """Write a file whether it exists or not; readers see the old bytes or the new ones."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # what a crash left
    _write(beside, data, mode)
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, mode: int) -> None:
    # The mode is given at creation: there is no moment in which a secret can be opened by others.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
