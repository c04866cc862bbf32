# SPDX-License-Identifier: Apache-2.0
"""Where the metadata and targets of TUF repositories are kept: one file for each instance.

``tuf/NAME.json`` in the user's folder, mode 0600, replaced as a whole: readers see one state or
the next, never half of each. Nothing in it is believed until `verify_kept` has checked it
against the root that the registry pins.
"""

import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from countermark.client.instances import home_dir, read_private_file, write_private_file
from countermark.client.trust.chain import Kept
from countermark.core.errors import FormatError, SettingsError

_VERSION = 1


def kept_path(url: str) -> str:
    """The file of the instance at `url`. Any text gives a plain name in one folder."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", url.partition("://")[2])[:48].strip("._-")
    digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return os.path.join(home_dir(), "tuf", f"{readable}-{digest}.json")


def read_kept(url: str) -> Kept | None:
    """What is kept of an instance's repository, unchecked; None if nothing is.

    Raises SettingsError if others could have written it, FormatError if it is damaged.
    """
    path = kept_path(url)
    if not os.path.lexists(path):
        return None
    check_private_folder(os.path.dirname(path))
    if os.path.islink(path):
        raise SettingsError(f"{path} is a link, so it is not believed")
    data = read_private_file(path)
    return None if data is None else parse_kept(data)


def parse_kept(data: bytes) -> Kept:
    """Read the file; inverse of `serialize_kept`. Raises FormatError."""
    try:
        document: Any = json.loads(data)
        if document["version"] != _VERSION:
            raise FormatError("kept TUF metadata", "was written by a newer version")
        return Kept(
            tuple(_bytes(text) for text in document["roots"]),
            _bytes(document["timestamp"]),
            _bytes(document["snapshot"]),
            _bytes(document["targets"]),
            {name: _bytes(text) for name, text in document["files"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError("kept TUF metadata", "is damaged; `countermark trust fetch`") from error


def serialize_kept(kept: Kept) -> bytes:
    """As `parse_kept` reads it. Raises FormatError for metadata that is not UTF-8."""
    try:
        document = {
            "version": _VERSION,
            "roots": [data.decode("utf-8") for data in kept.roots],
            "timestamp": kept.timestamp.decode("utf-8"),
            "snapshot": kept.snapshot.decode("utf-8"),
            "targets": kept.targets.decode("utf-8"),
            "files": {name: data.decode("utf-8") for name, data in kept.files.items()},
        }
    except UnicodeDecodeError as error:
        raise FormatError("TUF metadata", "is not UTF-8") from error
    return json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8")


def write_kept(url: str, kept: Kept) -> None:
    """Keep it, in place of what was kept before. To be called under `locked_kept`."""
    write_private_file(kept_path(url), serialize_kept(kept))


def forget_kept(url: str) -> None:
    """Remove what is kept, if anything is."""
    for path in (kept_path(url), f"{kept_path(url)}.lock"):
        if os.path.lexists(path):
            os.unlink(path)


@contextmanager
def locked_kept(url: str) -> Iterator[str]:
    """Let no other process change what is kept of `url`; gives the folder, which is private."""
    path = kept_path(url)
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        check_private_folder(folder)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(f"{path}.lock", flags, 0o600)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be used: {error.strerror}") from error
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


def check_private_folder(path: str) -> None:
    """Raise SettingsError unless `path` is a folder that only this user can write to."""
    try:
        status = os.lstat(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise SettingsError(f"{path} is no folder of its own, so what is in it is not believed")
    if sys.platform == "win32":
        return
    if status.st_uid not in (os.geteuid(), 0):
        raise SettingsError(f"{path} belongs to another user, so it is not believed")
    if status.st_mode & 0o022:
        raise SettingsError(f"{path} can be written by others, so it is not believed: chmod 700 it")


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError("not text")
    return text.encode("utf-8")
