# SPDX-License-Identifier: Apache-2.0
"""strace: attached to a process to watch it or to harm it, and what it wrote, read back."""

import codecs
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

# Strings whole, descriptors with their paths, times in seconds and how long each call took.
RECORD: Final = ("-y", "-ttt", "-T", "-s", "100000000")

_LINE = re.compile(rb"(?:(\d+) +)?(\d+\.\d+) (.*)", re.DOTALL)
_RESUMED = re.compile(rb"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
_CALL = re.compile(rb"(\w+)\((.*)\) += (-?\d+|\?)(.*)", re.DOTALL)
_TOOK = re.compile(rb"<(\d+\.\d+)>\s*$")
_UNFINISHED = b" <unfinished ...>"
_TEXT = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that ended.

    Attributes:
        thread: who made it; 0 if only one thread was looked at.
        name: fdatasync, openat …
        arguments: as strace writes them.
        result: what it returned; negative for an error.
        returned: what strace wrote about the result: a descriptor's path, an error's name.
        began, ended: seconds since 1970.
        line: at which line of the record it began.
    """

    thread: int
    name: str
    arguments: bytes
    result: int
    returned: bytes
    began: float
    ended: float
    line: int

    @property
    def texts(self) -> list[bytes]:
        """The strings among the arguments."""
        return [_unescape(text) for text in _TEXT.findall(self.arguments)]


@contextmanager
def attached(*options: str, threads: Iterable[int], follow: bool = False) -> Iterator[None]:
    """Have strace at some threads, or at all of a process and those to come, for a while."""
    command = ["strace", *(["-f"] if follow else []), *options]
    command += [f"-p{thread}" for thread in threads]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    try:
        for _ in threads:
            said = tracer.stderr.readline()
            assert b"attached" in said, said
        yield
    finally:
        tracer.terminate()
        try:
            tracer.communicate(timeout=5)
        except subprocess.TimeoutExpired:  # it waits for a call that it holds up, of the dead too
            tracer.kill()
            tracer.communicate()


def read_record(path: Path) -> list[Call]:
    """The calls of a record that ended, in the order in which they ended."""
    calls: list[Call] = []
    waiting: dict[int, tuple[float, bytes, int]] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")):
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        thread, time, text = int(found[1] or 0), float(found[2]), found[3]
        if text.endswith(_UNFINISHED):
            waiting[thread] = time, text[: -len(_UNFINISHED)], number
            continue
        began, first = time, number
        resumed = _RESUMED.fullmatch(text)
        if resumed is not None:
            if thread not in waiting:
                continue
            began, start, first = waiting.pop(thread)
            text = start + resumed[1]
        call = _CALL.fullmatch(text)
        if call is None or call[3] == b"?":
            continue
        took = _TOOK.search(call[4])
        ended = began + (float(took[1]) if took else 0.0)
        name, result = call[1].decode(), int(call[3])
        calls.append(Call(thread, name, call[2], result, call[4], began, ended, first))
    return calls


def _unescape(text: bytes) -> bytes:
    data, _ = codecs.escape_decode(text)
    return bytes(data)
