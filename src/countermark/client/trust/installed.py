# SPDX-License-Identifier: Apache-2.0
"""The record of which clients were set up, and what that took: ``installed.json``, mode 0600."""

import os
import re

import msgspec

from countermark.client.instances import (
    home_dir,
    read_private_file,
    sync_folder,
    write_private_file,
)
from countermark.client.trust.peers import Cache
from countermark.core.errors import FormatError, SettingsError

_VERSION = 1


class Done(msgspec.Struct, frozen=True):
    """One thing that was done.

    Attributes:
        kind: ``folder``, ``file``, ``link`` or ``block``.
        path: absolute.
        made: what was written: SHA-256 of a file, target of a link, the very text of a block.
        before: the file that was there (for a block, only that one was); None if there was none.
        mode: permissions of the file that was there.
    """

    kind: str
    path: str
    made: str = ""
    before: bytes | None = None
    mode: int = 0


class Installed(msgspec.Struct, frozen=True):
    """A client that was set up.

    Attributes:
        client: its name.
        url: the instance.
        done: in order.
        caches: folders that the client fills.
    """

    client: str
    url: str
    done: tuple[Done, ...]
    caches: tuple[Cache, ...]


class _Document(msgspec.Struct, frozen=True):
    version: int
    installed: list[Installed]


def load_installed() -> list[Installed]:
    """What was set up and not undone. Raises SettingsError, FormatError."""
    data = read_private_file(_path())
    if data is None:
        return []
    try:
        document = msgspec.json.decode(data, type=_Document)
        for entry in document.installed:
            for cache in entry.caches:
                for name in cache.names:
                    re.compile(name)
    except (msgspec.MsgspecError, re.error, RecursionError, UnicodeDecodeError) as error:
        raise FormatError("installed.json", "is damaged") from error
    if document.version != _VERSION:
        raise SettingsError(f"{_path()} was written by a newer version")
    return document.installed


def store_installed(installed: list[Installed]) -> None:
    """Replace the record; one that would be empty is removed."""
    if installed:
        data = msgspec.json.encode(_Document(_VERSION, installed))
        write_private_file(_path(), msgspec.json.format(data, indent=1))
        sync_folder(home_dir())  # before anything that it notes is done
    elif os.path.exists(_path()):
        os.unlink(_path())


def _path() -> str:
    return os.path.join(home_dir(), "installed.json")
