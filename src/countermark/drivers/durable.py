# SPDX-License-Identifier: Apache-2.0
"""Small files that must survive a crash and, where they are secret, be nobody else's to read.

A file is there whole or not at all, and is durable on return: its bytes, its name and its mode.
"""

import os
import stat
from pathlib import Path

from countermark.core.errors import FormatError, SettingsError

SECRET = 0o600
PUBLIC = 0o644
_MAX_SECRET_BYTES = 16 * 1024


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


def read_secret(path: Path) -> bytes:
    """Read a secret file. Raises SettingsError if it is missing or others can read it."""
    try:
        with path.open("rb") as file:
            # Asked of the open file: what is checked is what is read.
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o077:
                raise SettingsError(f"{path} can be read by others: run chmod 600 {path}")
            data = file.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_SECRET_BYTES:
        raise FormatError(path.name, f"is larger than {_MAX_SECRET_BYTES} bytes")
    return data


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
