# SPDX-License-Identifier: Apache-2.0
"""The folder of a data directory where the keeper puts checkpoints of its database for backups.

One backup at a time: it holds the folder's own lock for as long as it reads from there. A killed
one leaves a checkpoint behind, hard links that keep deleted database files on the disk; the next
backup or start takes it away.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from countermark.app.data_dir import DataDir
from countermark.core.errors import Conflict

CURRENT: Final = "current"


@contextmanager
def checkpoint_folder(data_dir: DataDir) -> Iterator[Path]:
    """Hold the folder, empty; it goes at the end. Yields where a checkpoint may be put.

    Raises Conflict while another backup holds it, OSError.
    """
    folder = data_dir.checkpoints
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            busy = Conflict(f"another backup of {data_dir.path} is being made")
            busy.add_note("try again when it is done")
            raise busy from error
        _clear(folder)
        try:
            yield folder / CURRENT
        finally:
            _clear(folder)
    finally:
        os.close(descriptor)


def clear_checkpoints(data_dir: DataDir) -> None:
    """Take away what a killed backup left, unless one is under way. Raises OSError."""
    if data_dir.checkpoints.exists():
        with suppress(Conflict), checkpoint_folder(data_dir):
            pass


def _clear(folder: Path) -> None:
    # RocksDB makes a checkpoint under a name of its own first.
    for left in folder.iterdir():
        shutil.rmtree(left, ignore_errors=True)
