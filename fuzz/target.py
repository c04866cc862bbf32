# SPDX-License-Identifier: Apache-2.0
"""What a fuzz target is, and what counts as a finding.

A target takes any bytes. It returns whether they were a value, or not: then they were refused
with one of the errors that the parser promises. Every other exception is a finding, and so are a
round trip that does not come back, a message of an error that nobody could print, and an input
that takes too long.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from countermark.core.errors import SettingsError

MAX_MESSAGE_CHARS = 4 * 1024
MAX_SECONDS = 1.0
"""CPU time for one input of at most `MAX_BYTES`, instrumented."""
MAX_BYTES = 16 * 1024


class Target(NamedTuple):
    """One family of parsers.

    Attributes:
        name: also the folder of its seeds.
        run: parses; True for a value, False for a refusal. Anything else is a finding.
        max_bytes: longer inputs are cut.
    """

    name: str
    run: Callable[[bytes], bool]
    max_bytes: int = MAX_BYTES


class TooSlow(AssertionError):
    """An input took longer than any of its size may."""


class Refusals:
    """Lets errors of some kinds pass, if they can be told to somebody."""

    def __init__(self, *kinds: type[Exception]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, self._kinds):
            return False
        message = str(error)
        message.encode("utf-8")  # a lone surrogate would break replies and logs
        if not isinstance(error, SettingsError):  # it lists every fault of a user's own file
            assert len(message) <= MAX_MESSAGE_CHARS, f"an error of {len(message)} characters"
        return True


def check(target: Target, data: bytes) -> bool:
    """Run one input and bound its time. Raises whatever is a finding."""
    data = data[: target.max_bytes]
    started = time.process_time()
    taken = target.run(data)
    spent = time.process_time() - started
    if spent > MAX_SECONDS:
        raise TooSlow(f"{spent:.1f} s of CPU time for {len(data)} bytes")
    return taken


def any_of(*parsers: Callable[[bytes], object], but: tuple[type[Exception], ...]) -> Target:
    """A nameless target that gives its input to several parsers, each of which may refuse."""

    def run(data: bytes) -> bool:
        taken = False
        for parse in parsers:
            with Refusals(*but):
                parse(data)
                taken = True
        return taken

    return Target("", run)
