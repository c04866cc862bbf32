# SPDX-License-Identifier: Apache-2.0
"""Reads the ``console`` blocks of a document and compares them with what really happens.

A line that starts with ``$ `` is a command; the lines below it are its output. In output, ``…``
stands for any text within a line, and a line that is only ``…`` for any number of lines.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ELLIPSIS = "…"
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One command and the output that the document shows for it."""

    command: str
    output: str


def steps(document: Path) -> list[Step]:
    """Every command of the document's console blocks, in order."""
    found: list[Step] = []
    for block in _BLOCK.findall(document.read_text(encoding="utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command = command[:-1].rstrip() + " " + more.strip()
            found.append(Step(command, output.rstrip()))
    return found


def programs(document: Path) -> list[str]:
    """Every Python block of the document."""
    return _PYTHON.findall(document.read_text(encoding="utf-8"))


def pattern(expected: str) -> re.Pattern[str]:
    """A pattern that the real output must match whole, white space at line ends aside."""
    lines = []
    for line in expected.splitlines():
        if line.strip() == ELLIPSIS:
            lines.append(r"(?:.*\n)*?")
        else:
            parts = (re.escape(part) for part in line.rstrip().split(ELLIPSIS))
            lines.append(".*".join(parts) + r"[ \t]*\n")
    return re.compile("".join(lines))


def explain(expected: str, actual: str) -> str:
    """What to show when they differ."""
    return f"the document says:\n{expected}\n\nthe command said:\n{actual}"
