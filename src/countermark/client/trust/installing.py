# SPDX-License-Identifier: Apache-2.0
"""Writing what sets another client up, and undoing exactly that.

Everything is noted in ``installed.json`` before it is done, with what was there before, so that a
killed run can be undone too. Undoing removes what was written if it still is as it was written,
puts back what was replaced, and takes away folders that were made and are empty again. What a
person or a program changed since then is left alone and named; so is everything we did not make,
but for the files that a client keeps in a folder that was made for it.
"""

import contextlib
import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from typing import TypeAlias

from countermark.client.instances import locked_home, sync_folder
from countermark.client.trust.installed import Done, Installed, load_installed, store_installed
from countermark.client.trust.peers import Block, Cache, File, Link, Plan
from countermark.core.errors import NotFound, RequestRejected, SettingsError

Step: TypeAlias = File | Link | Block
_MAX_BEFORE_BYTES = 1024 * 1024
_BEGIN, _END = "# countermark trust install: begin\n", "# countermark trust install: end\n"


def install(client: str, url: str, plan: Plan, *, replace: bool = False) -> Installed:
    """Do what `plan` says.

    Args:
        client: for whom.
        url: the instance.
        plan: what to write.
        replace: also files that are there with another content; they are put back by `uninstall`.

    Raises RequestRejected for files in the way and for what is set up already, SettingsError.
    """
    with locked_home():
        others = load_installed()
        for other in others:
            clash = {step.path for step in plan.steps} & {done.path for done in other.done}
            if (other.client, other.url) == (client, url) or clash:
                error = RequestRejected(f"{other.client} is set up for {other.url} already")
                error.add_note(f"undo that: countermark trust uninstall --for {other.client}")
                raise error
        work = list(_prepared(plan, replace=replace))
        caches = tuple(filter(_is_new, plan.caches))
        entry = Installed(client, url, tuple(item for item, _ in work), caches)
        store_installed([*others, entry])
        for item, step in work:
            try:
                _carry_out(item, step)
            except OSError as error:
                failed = SettingsError(f"{item.path} cannot be written: {error.strerror}")
                failed.add_note(f"undo the rest: countermark trust uninstall --for {client}")
                raise failed from error
    return entry


def uninstall(client: str, url: str = "") -> tuple[Installed, list[str]]:
    """Undo it; gives what was undone, and what was left because it is another's by now.

    Raises NotFound if there is nothing to undo, RequestRejected if `url` has to be named.
    """
    with locked_home():
        installed = load_installed()
        found = [item for item in installed if item.client == client and url in ("", item.url)]
        if not found:
            raise NotFound(f"nothing was set up for {client}" + (f" and {url}" if url else ""))
        if len(found) > 1:
            error = RequestRejected(f"{client} is set up for several instances")
            error.add_note("name one: " + ", ".join(f"--url {item.url}" for item in found))
            raise error
        entry = found[0]
        left: list[str] = []
        try:
            for cache in entry.caches:
                _clear(cache, entry)
            for item in reversed(entry.done):
                left += _undo(item)
        except OSError as error:
            raise SettingsError(f"{error.filename} cannot be undone: {error.strerror}") from error
        rest = [item for item in installed if item is not entry]
        store_installed(rest)
    return entry, left


def _prepared(plan: Plan, *, replace: bool) -> Iterator[tuple[Done, Step | None]]:
    """All that will be done, folders first made where they are needed; nothing is changed yet."""
    made: set[str] = set()
    for step in plan.steps:
        path = os.path.abspath(step.path)
        for folder in _missing_folders(path, made):
            yield Done("folder", folder), None
        if isinstance(step, Link):
            if os.path.lexists(path):
                raise _in_the_way(path)
            yield Done("link", path, step.to), step
            continue
        before, mode = _present(path)
        if isinstance(step, Block):
            # What a person's file says besides may be secret, and is not needed.
            was_there = None if before is None else b""
            yield Done("block", path, _block(step.text, before or b""), was_there, mode), step
        elif before != step.data:
            if before is not None and not replace:
                raise _in_the_way(path)
            made_of = hashlib.sha256(step.data).hexdigest()
            yield Done("file", path, made_of, before, mode), step
    for cache in plan.caches:
        for folder in _missing_folders(os.path.join(cache.folder, "x"), made):
            yield Done("folder", folder), None


def _missing_folders(path: str, made: set[str]) -> list[str]:
    """Folders above `path` that have to be made, outermost first; the one they go into is checked
    to be this user's."""
    missing: list[str] = []
    folder = os.path.dirname(path)
    while folder not in made and not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    if folder not in made:
        _check_folder(folder)
    made.update(missing)
    return missing[::-1]


def _present(path: str) -> tuple[bytes | None, int]:
    """The plain file at `path` and its mode. Raises SettingsError if it is something else."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            raise SettingsError(f"{path} is a link, and is not written through")
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BEFORE_BYTES:
            raise SettingsError(f"{path} is no file that could be put back")
        with open(path, "rb") as file:
            return file.read(), stat.S_IMODE(status.st_mode)
    except FileNotFoundError:
        return None, 0
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def _carry_out(item: Done, step: Step | None) -> None:
    if item.kind == "folder":
        os.mkdir(item.path, 0o700)
    elif isinstance(step, Link):
        os.symlink(step.to, item.path)
    elif isinstance(step, Block):
        before, _ = _present(item.path)
        _write(item.path, (before or b"") + item.made.encode("utf-8"), item.mode or 0o644)
    elif isinstance(step, File):
        _write(item.path, step.data, 0o600)


def _undo(item: Done) -> list[str]:
    """Undo one thing; names it if it is not what was made any more."""
    if item.kind == "folder":
        return [] if not os.path.isdir(item.path) or _rmdir(item.path) else [item.path]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_beside(item.path))
    if not os.path.lexists(item.path):
        return []
    if item.kind == "link":
        if os.path.islink(item.path) and os.readlink(item.path) == item.made:
            os.unlink(item.path)
            return []
        return [item.path]
    try:
        now, mode = _present(item.path)
    except SettingsError:
        return [item.path]
    assert now is not None
    if item.kind == "block":
        return _undo_block(item, now, mode)
    before = item.before
    if now == before:
        return []
    if hashlib.sha256(now).hexdigest() != item.made:
        return [item.path]
    _put_back(item, before)
    return []


def _undo_block(item: Done, now: bytes, mode: int) -> list[str]:
    text = item.made.encode("utf-8")
    start = now.rfind(text)
    if start < 0:
        return [item.path] if _BEGIN.encode("ascii") in now else []
    rest = now[:start] + now[start + len(text) :]
    if rest or item.before is not None:
        _write(item.path, rest, mode)
    else:
        os.unlink(item.path)
    return []


def _put_back(item: Done, before: bytes | None) -> None:
    if before is None:
        os.unlink(item.path)
    else:
        _write(item.path, before, item.mode)


def _clear(cache: Cache, entry: Installed) -> None:
    """Remove what the client keeps in a folder that was made for it; nothing else, and no link
    is followed."""
    made = {item.path for item in entry.done if item.kind == "folder"}
    whole = cache.folder in made
    names = [re.compile(name, re.ASCII) for name in cache.names]
    noted = {item.path for item in entry.done}
    for folder, folders, files in os.walk(cache.folder, topdown=False):
        if not whole and folder != cache.folder:
            continue
        for name in (*files, *folders):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, cache.folder).replace(os.sep, "/")
            if not any(pattern.fullmatch(relative) for pattern in names):
                continue
            if os.path.islink(path) or os.path.isfile(path):
                if whole or path not in noted:
                    os.unlink(path)
            elif whole:
                _rmdir(path)


def _rmdir(path: str) -> bool:
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


def _write(path: str, data: bytes, mode: int) -> None:
    """Whole or not at all, with exactly this mode; durable on return."""
    temporary = _beside(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # of a run that was killed
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if sys.platform != "win32":
                os.fchmod(file.fileno(), mode)
            # A person's own configuration is not to be empty after a crash.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(path))


def _beside(path: str) -> str:
    """Where a file is written before it gets its name; one name, so that it can be undone too."""
    return f"{path}.countermark-new"


def _block(text: str, before: bytes) -> str:
    joint = "\n" if before and not before.endswith(b"\n") else ""
    return f"{joint}{_BEGIN}{text}{_END}"


def _is_new(cache: Cache) -> bool:
    """Whether nothing of a cache is there yet, so that all of it will have come from this."""
    if not os.path.isdir(cache.folder):
        return True
    names = [re.compile(name, re.ASCII) for name in cache.names]
    return not any(name.fullmatch(entry) for entry in os.listdir(cache.folder) for name in names)


def _check_folder(path: str) -> None:
    """Raise SettingsError for a folder of another user's, or one that everybody may write to."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise SettingsError(f"{path} is no folder")
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise SettingsError(f"{path} belongs to another user, so nothing is written there")
    if status.st_mode & 0o002:
        raise SettingsError(f"{path} can be written by everybody, so nothing is written there")


def _in_the_way(path: str) -> RequestRejected:
    error = RequestRejected(f"{path} is there already and says something else")
    error.add_note("--replace sets it aside; `countermark trust uninstall` puts it back")
    return error
