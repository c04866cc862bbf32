# SPDX-License-Identifier: Apache-2.0
"""Names with stars: ``*`` for any text without ``/``, ``**`` for any text, ``\\`` for the next one.

Matching takes at most (length of the pattern) x (length of the name) steps.
"""

import re
from functools import lru_cache

from countermark.core.errors import RequestRejected

MAX_GLOB_CHARS, MAX_NAME_CHARS = 512, 4096
_PARTS = re.compile(r"\*{1,2}|\\.|[^*\\]", re.DOTALL)


def matches(glob: str, name: str) -> bool:
    """Whether the whole of `name` fits. Raises RequestRejected for a malformed glob."""
    parts = _parts(glob)
    if len(name) > MAX_NAME_CHARS:
        return False
    current = _reach({0}, parts)
    for char in name:
        onward: set[int] = set()
        for place in current:
            if place == len(parts):
                continue
            part = parts[place]
            if part == "**" or (part == "*" and char != "/"):
                onward.add(place)
            elif part == f"={char}":
                onward.add(place + 1)
        if not onward:
            return False
        current = _reach(onward, parts)
    return len(parts) in current


def escape(name: str) -> str:
    """The glob that only `name` fits."""
    return re.sub(r"[*\\]", r"\\\g<0>", name)


@lru_cache(maxsize=64)
def _parts(glob: str) -> tuple[str, ...]:
    """``*``, ``**``, or ``=`` and the character to be met."""
    if not 0 < len(glob) <= MAX_GLOB_CHARS:
        raise RequestRejected(f"a name pattern has 1 to {MAX_GLOB_CHARS} characters")
    found = _PARTS.findall(glob)
    if sum(map(len, found)) != len(glob):
        raise RequestRejected(f"the name pattern {glob[:80]!r} ends with a backslash")
    return tuple(part if part[0] == "*" else f"={part[-1]}" for part in found)


def _reach(places: set[int], parts: tuple[str, ...]) -> set[int]:
    """All places that can be come to without another character: a star may stand for nothing."""
    found: set[int] = set()
    for place in places:
        while place not in found:
            found.add(place)
            if place < len(parts) and parts[place][0] == "*":
                place += 1
    return found
