# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all, in folders that strangers may be able to write to."""

import os
import secrets

from countermark.client.instances import sync_folder
from countermark.client.verify import read_file
from countermark.core.errors import NotFound, SettingsError


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace the file at `path`, with the usual mode; durable on return. Raises SettingsError.

    The temporary name beside it can't be guessed, and is never followed if it is a link.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(temporary, flags | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        sync_folder(folder)
    except OSError as error:
        raise SettingsError(f"{os.fspath(path)} cannot be written: {error.strerror}") from error


def read_if_there(path: str, limit: int) -> bytes | None:
    """The file's bytes, None if there is none. Raises FormatError, SettingsError."""
    try:
        return read_file(path, limit)
    except NotFound:
        return None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
