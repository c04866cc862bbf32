# SPDX-License-Identifier: Apache-2.0
"""Regular expressions for names that a stranger chose, in time linear in the name.

Python's `re` tries every way to match: a pattern as harmless as ``(\\w+)*@example\\.org`` takes
it for ever on a name that was made for that. This walks all ways at once (Thompson's machine).
The language is what RE2 and `re` have in common, without word boundaries and flags other than a
leading ``(?i)``; whatever else is refused, never read as something it is not.
"""

import re
from typing import NamedTuple

from countermark.core.errors import RequestRejected

MAX_PATTERN_CHARS, MAX_NAME_CHARS = 1024, 4096
_MAX_STATES = 2048
_MAX_PARTS = 4 * _MAX_STATES
_MAX_DEPTH = 64
_REPEAT = re.compile(r"\{(\d{1,4})(?:(,)(\d{1,4})?)?\}", re.ASCII)
# A set in a set, and what newer Pythons may take for an operation on sets, is not understood.
_CLASS = re.compile(r"\[\^?\]?(?:\\.|(?!--|&&|~~|\|\|)[^\]\\\[])*\]", re.DOTALL)
_ESCAPE = re.compile(
    r"\\(?:[dDwWsS]|[^a-zA-Z0-9]|[tnrfv]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})", re.ASCII | re.DOTALL
)
_SPLIT, _START, _END, _ACCEPT = "split", "start", "end", "accept"


class _State(NamedTuple):
    """One step: a test of one character, or a marker; then on to one of `next`."""

    test: "re.Pattern[str] | str"
    next: tuple[int, ...]


class Pattern:
    """A compiled pattern; matches whole names only."""

    def __init__(self, text: str) -> None:
        """Compile. Raises RequestRejected for what is no pattern, or not one of this language."""
        if len(text) > MAX_PATTERN_CHARS:
            raise RequestRejected(f"a pattern has more than {MAX_PATTERN_CHARS} characters")
        self._states: list[_State] = []
        self._parts = 0
        self._flags = re.IGNORECASE if text.startswith("(?i)") else re.NOFLAG
        self._text = text.removeprefix("(?i)")
        self._tests: dict[str, re.Pattern[str]] = {}
        end, position = self._alternatives(0, self._add(_ACCEPT), 0)
        if position < len(self._text):
            raise self._fault("has a closing parenthesis too many")
        self._first = end

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` matches; names that are too long never do."""
        if len(name) > MAX_NAME_CHARS:
            return False
        current = self._reach({self._first}, at_start=True, at_end=not name)
        for number, char in enumerate(name, 1):
            onward = {
                follower
                for index in current
                for follower in self._states[index].next
                if self._passes(index, char)
            }
            current = self._reach(onward, at_start=False, at_end=number == len(name))
            if not current:
                return False
        return any(self._states[index].test == _ACCEPT for index in current)

    def _passes(self, index: int, char: str) -> bool:
        test = self._states[index].test
        return isinstance(test, re.Pattern) and test.fullmatch(char) is not None

    def _reach(self, indexes: set[int], *, at_start: bool, at_end: bool) -> set[int]:
        """All states that `indexes` lead to without another character."""
        found: set[int] = set()
        waiting = list(indexes)
        while waiting:
            index = waiting.pop()
            if index in found:
                continue
            found.add(index)
            test, onward = self._states[index]
            if test == _SPLIT or (test == _START and at_start) or (test == _END and at_end):
                waiting.extend(onward)
        return found

    # Compiled from behind: each part is told what comes after it. A part gives the state that it
    # starts with and the position behind it in the pattern.

    def _alternatives(self, position: int, then: int, depth: int) -> tuple[int, int]:
        if depth > _MAX_DEPTH:
            raise self._fault("is nested too deeply")
        branches: list[int] = []
        while True:
            spans, position = self._sequence(position, depth)
            start = then
            for begin, low, high in reversed(spans):
                start = self._repeated(begin, low, high, start, depth)
            branches.append(start)
            if self._text[position : position + 1] != "|":
                break
            position += 1
        return (branches[0] if len(branches) == 1 else self._add(_SPLIT, *branches)), position

    def _sequence(self, position: int, depth: int) -> tuple[list[tuple[int, int, int]], int]:
        """(where it begins, fewest, most; -1 for any number) of each part up to ``|`` or ``)``."""
        spans: list[tuple[int, int, int]] = []
        while position < len(self._text) and self._text[position] not in "|)":
            behind = self._skip(position, depth)
            low, high, after = self._count(behind)
            if after != behind and self._text[position] in "^$":
                raise self._fault("repeats an anchor")
            spans.append((position, low, high))
            position = after
        return spans, position

    def _count(self, position: int) -> tuple[int, int, int]:
        text = self._text
        simple = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}.get(text[position : position + 1])
        if simple is not None:
            low, high, position = *simple, position + 1
        elif match := _REPEAT.match(text, position):
            low = int(match[1])
            high = int(match[3]) if match[3] else -1 if match[2] else low
            position = match.end()
            if 0 <= high < low:
                raise self._fault("repeats less often than it has to")
        elif text[position : position + 1] == "{":
            raise self._fault("holds a brace that is no count: write \\{ for the character")
        else:
            return 1, 1, position
        position += text[position : position + 1] == "?"  # lazy: the same names match
        if text[position : position + 1] in ("*", "+", "?", "{"):
            raise self._fault("repeats a repetition")
        return low, high, position

    def _repeated(self, begin: int, low: int, high: int, then: int, depth: int) -> int:
        if high < 0:
            loop = self._add(_SPLIT, then)
            self._states[loop] = _State(_SPLIT, (self._one(begin, loop, depth), then))
            then = loop
        end = then
        for _ in range(high - low):
            then = self._add(_SPLIT, self._one(begin, then, depth), end)
        for _ in range(low):
            then = self._one(begin, then, depth)
        return then

    def _one(self, position: int, then: int, depth: int) -> int:
        """The part that begins there, once."""
        self._parts += 1  # a part may be empty, and so add no state
        if self._parts > _MAX_PARTS:
            raise self._fault("is too large")
        char = self._text[position]
        if char == "(":
            return self._alternatives(self._inside(position), then, depth + 1)[0]
        if char in "^$":
            return self._add(_START if char == "^" else _END, then)
        text = self._text[position : self._skip(position, depth)]
        if text not in self._tests:
            try:
                self._tests[text] = re.compile(text, self._flags)
            except re.error as error:
                raise self._fault(f"is malformed: {error}") from error
        return self._add(self._tests[text], then)

    def _skip(self, position: int, depth: int) -> int:
        """Where the part that begins there ends."""
        char = self._text[position]
        if char == "(":
            if depth > _MAX_DEPTH:
                raise self._fault("is nested too deeply")
            position = self._inside(position)
            while True:
                _, position = self._sequence(position, depth + 1)
                if position == len(self._text):
                    raise self._fault("has an opening parenthesis too many")
                if self._text[position] == ")":
                    return position + 1
                position += 1
        if char in "*+?{":
            raise self._fault("repeats nothing")
        if char in "[\\":
            match = (_CLASS if char == "[" else _ESCAPE).match(self._text, position)
            if match is None:
                raise self._fault(f"holds {self._text[position : position + 8]!r}, not understood")
            return match.end()
        return position + 1

    def _inside(self, position: int) -> int:
        if self._text.startswith("(?:", position):
            return position + 3
        if self._text.startswith("(?", position):
            raise self._fault("has a group that is more than a group")
        return position + 1

    def _add(self, test: "re.Pattern[str] | str", *onward: int) -> int:
        if len(self._states) == _MAX_STATES:
            raise self._fault("is too large")
        self._states.append(_State(test, onward))
        return len(self._states) - 1

    def _fault(self, why: str) -> RequestRejected:
        return RequestRejected(f"the pattern {self._text[:80]!r} {why}")
