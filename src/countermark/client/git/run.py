# SPDX-License-Identifier: Apache-2.0
"""Running Git itself, for what only it knows: names of objects, and its configuration."""

import os
import subprocess

from countermark.client.git.objects import MAX_OBJECT_BYTES
from countermark.core.errors import FormatError, NotFound, RequestRejected, SettingsError

_MAX_ARGUMENT_CHARS = 4096


def git(*arguments: str, stdin: bytes = b"", absent: tuple[int, ...] = ()) -> bytes:
    """Run a Git command here; returns what it printed.

    Args:
        arguments: without the program's name.
        stdin: what it reads.
        absent: exit statuses that mean that there is nothing; then the result is empty.

    Raises SettingsError if there is no Git, RequestRejected with its own words if it refuses.
    """
    done = subprocess.run([_program(), *arguments], input=stdin, capture_output=True, check=False)  # noqa: S603
    if done.returncode == 0:
        return done.stdout
    if done.returncode in absent:
        return b""
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    reason = said[-1].removeprefix("fatal: ").removeprefix("error: ") if said else "no reason given"
    raise RequestRejected(f"Git refused: {reason[:500]}")


def read_object(name: str) -> tuple[str, str, bytes]:
    """Id, kind and content of what a name means. Raises NotFound, RequestRejected, FormatError."""
    if len(name) > _MAX_ARGUMENT_CHARS or not name.isprintable() or " " in name:
        raise RequestRejected("that is no name of a commit or tag")
    reply = git("cat-file", "--batch", stdin=name.encode("utf-8") + b"\n")
    head, _, rest = reply.partition(b"\n")
    words = head.split(b" ")
    if len(words) != 3 or not words[2].isdigit():
        raise NotFound(f"there is no commit or tag {name}")
    oid, kind, size = words[0].decode("ascii"), words[1].decode("ascii"), int(words[2])
    if size > MAX_OBJECT_BYTES:
        raise FormatError(name, f"is larger than {MAX_OBJECT_BYTES} bytes")
    return oid, kind, rest[:size]


def list_commits(commit_range: str) -> list[str]:
    """Ids of the commits of ``A..B``, oldest first. Raises RequestRejected."""
    if commit_range.startswith("-"):
        raise RequestRejected("that is no range of commits")
    listed = git("rev-list", "--reverse", "--end-of-options", commit_range, "--")
    return listed.decode("ascii").split()


def _program() -> str:
    """Git's path. Relative folders of PATH do not count: a stranger's repository may be one."""
    name = "git.exe" if os.name == "nt" else "git"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(folder, name)
        if os.path.isabs(path) and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise SettingsError("Git is not installed, or not on the PATH")
