# SPDX-License-Identifier: Apache-2.0
"""A command line parser and printing for the commands that must start at once.

`argparse` costs 10 ms to import, a tenth of a whole verification. GNU conventions: ``--name
value`` and ``--name=value``, operands anywhere, ``--`` before operands that look like options.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from countermark.core.errors import RequestRejected


class Arguments(NamedTuple):
    """A parsed command line.

    Attributes:
        values: each option's values in order; a flag that is set has one empty text.
        operands: the rest.
    """

    values: Mapping[str, tuple[str, ...]]
    operands: tuple[str, ...]

    def flag(self, name: str) -> bool:
        """Whether a flag is set."""
        return name in self.values

    def all(self, name: str) -> tuple[str, ...]:
        """All values of an option."""
        return self.values.get(name, ())

    def one(self, name: str) -> str:
        """The value of an option, empty if absent. Raises RequestRejected if it is repeated."""
        given = self.all(name)
        if len(given) > 1:
            raise RequestRejected(f"--{name} was given {len(given)} times")
        if given and not given[0]:
            raise RequestRejected(f"--{name} was given without a value")
        return given[0] if given else ""


def parse_arguments(
    argv: Sequence[str], *, options: Sequence[str], flags: Sequence[str]
) -> Arguments:
    """Split a command line. Raises RequestRejected for options nobody knows.

    Args:
        argv: without the command's name.
        options: names that take a value.
        flags: names that take none.
    """
    values: dict[str, tuple[str, ...]] = {}
    operands: list[str] = []
    rest = list(reversed(argv))
    while rest:
        word = rest.pop()
        if word == "--":
            operands.extend(reversed(rest))
            break
        if word == "-h":
            word = "--help"
        if not word.startswith("--"):
            if word.startswith("-") and word != "-":
                raise RequestRejected(f"there is no option {word}")
            operands.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if name in flags and not equals:
            values[name] = ("",)
        elif name in options:
            if not equals:
                if not rest:
                    raise RequestRejected(f"--{name} needs a value")
                value = rest.pop()
                if value.startswith("--"):  # the value before it was empty, and is gone
                    raise RequestRejected(
                        f"--{name} needs a value; if that is {value[:200]}, write it with ="
                    )
            if not value:  # most likely of a variable that is not set
                raise RequestRejected(f"--{name} was given without a value")
            values[name] = (*values.get(name, ()), value)
        else:
            raise RequestRejected(f"there is no option --{name}")
    return Arguments(values, tuple(operands))


def printable(text: str) -> str:
    """Foreign text for a terminal: control characters and the like spelt out, not obeyed."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
