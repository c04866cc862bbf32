# SPDX-License-Identifier: Apache-2.0
"""What `fsck` found wrong, collected."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from countermark.core.errors import FormatError, VerificationError

MAX_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be: where, and what is wrong with it."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class TooManyProblems(Exception):
    """So many that it is no use to go on."""


class Problems:
    """The problems so far. Adding the last one that is listed raises TooManyProblems."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    @property
    def found(self) -> tuple[Problem, ...]:
        """All of them, in the order they were found."""
        return tuple(self._found)

    def report(self, where: str, what: str) -> None:
        """Add one."""
        self._found.append(Problem(where, what))
        if len(self._found) >= MAX_PROBLEMS:
            raise TooManyProblems

    def expect(self, condition: bool, where: str, what: str) -> None:
        """Add one unless the condition holds."""
        if not condition:
            self.report(where, what)

    @contextmanager
    def caught(self, where: str) -> Iterator[None]:
        """Add one if the block finds foreign bytes or evidence wanting."""
        try:
            yield
        except (FormatError, VerificationError) as error:
            self.report(where, str(error))
