# SPDX-License-Identifier: Apache-2.0
"""Where the keeper listens: a Unix socket that only its own user can reach.

Socket addresses hold 107 bytes, data directories have longer paths: the address is therefore
spelled relative to an open descriptor of the directory.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SOCKET_NAME: Final = "keeper.sock"


class KeeperAddress:
    """The address in one `run` directory. Holds a descriptor; close it, or use ``with``."""

    def __init__(self, run_directory: Path) -> None:
        self._directory = os.open(run_directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = f"/proc/self/fd/{self._directory}/{SOCKET_NAME}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the descriptor. Safe to call twice."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def listen(self) -> socket.socket:
        """A listening socket here, mode 0600, in place of one that an earlier keeper left.

        The caller holds the instance's lock, so no living keeper loses its socket.
        """
        with suppress(FileNotFoundError):
            os.unlink(SOCKET_NAME, dir_fd=self._directory)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o177)
        try:
            listener.bind(self.path)
        finally:
            os.umask(previous)
        listener.listen(64)
        listener.setblocking(False)
        return listener
