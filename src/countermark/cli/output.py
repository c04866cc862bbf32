# SPDX-License-Identifier: Apache-2.0
"""How commands speak: results on stdout, everything else on stderr.

Colour, progress and advice are for a person at a terminal; a pipe gets one line per result, and
`--json` one object. An error is one sentence and what to do about it.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from countermark.cli.arguments import printable
from countermark.cli.exits import exit_code
from countermark.core.errors import CountermarkError, FormatError, Pushback

if TYPE_CHECKING:
    from rich.progress import Progress

_SLOW_S = 1.0
_BOLD, _RED, _GREEN, _DIM, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


class Output:
    """One command's output; `as_json` holds back all that is for people."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._colour = not as_json and _coloured(sys.stdout)
        self.terminal = not as_json and sys.stderr.isatty()

    def line(self, text: str) -> None:
        """A result for people and pipes."""
        if not self.as_json:
            print(text, flush=True)

    def good(self, text: str) -> str:
        """`text`, green on a terminal."""
        return f"{_GREEN}{text}{_PLAIN}" if self._colour else text

    def strong(self, text: str) -> str:
        """`text`, bold on a terminal."""
        return f"{_BOLD}{text}{_PLAIN}" if self._colour else text

    def advice(self, text: str) -> None:
        """What could be done next; for people at a terminal only."""
        if self.terminal:
            shown = f"{_DIM}{text}{_PLAIN}" if _coloured(sys.stderr) else text
            print(shown, file=sys.stderr, flush=True)

    def result(self, value: Mapping[str, Any]) -> None:
        """The result for programs; printed with `--json` only."""
        if self.as_json:
            # ASCII, so that no stream refuses it and no terminal obeys what a stranger wrote.
            print(json.dumps(value, indent=2), flush=True)

    def fail(self, error: CountermarkError, *, partial: Mapping[str, Any] | None = None) -> int:
        """Say what went wrong and what to do; returns the exit code."""
        message, hint = describe(error)
        code = exit_code(error)
        if self.as_json:
            fault = {"code": error.code, "message": message, "hint": hint, "exit": code}
            self.result({**(partial or {}), "error": fault})
            return code
        name = f"{_RED}countermark:{_PLAIN}" if _coloured(sys.stderr) else "countermark:"
        print(f"{name} {printable(message)}", file=sys.stderr)
        if hint:
            print(f"  {printable(hint)}", file=sys.stderr)
        return code

    @contextmanager
    def progress(self, what: str, total_bytes: int) -> Iterator["Ticker"]:
        """A bar on a terminal, shown once the work has taken a second."""
        ticker = Ticker(printable(what), total_bytes, visible=self.terminal)
        try:
            yield ticker
        finally:
            ticker.close()


class Ticker:
    """Counts bytes, from any thread, and shows them if it takes long."""

    def __init__(self, what: str, total_bytes: int, *, visible: bool) -> None:
        self._what, self._total = what, total_bytes
        self._done = 0
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        self._timer = threading.Timer(_SLOW_S, self._show)
        self._timer.daemon = True
        if visible:
            self._timer.start()

    def advance(self, count: int) -> None:
        """`count` more bytes are done."""
        with self._lock:
            self._done += count
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=self._done)

    def close(self) -> None:
        """Take the bar away."""
        self._timer.cancel()
        with self._lock:
            self._total = -1
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        with self._lock:
            if self._total < 0:  # closed while rich was being imported
                return
            text = TextColumn("{task.description}", markup=False)
            columns = (text, BarColumn(), DownloadColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task(self._what, total=self._total, completed=self._done)
            self._bar.start()


def _coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def describe(error: CountermarkError) -> tuple[str, str]:
    """An error as one sentence, and what to do about it (empty if there is nothing to say)."""
    notes = getattr(error, "__notes__", [])
    hint = str(notes[0]) if notes else _general_advice(error)
    return str(error), hint


def _general_advice(error: CountermarkError) -> str:
    if isinstance(error, Pushback):
        return f"try again in {error.retry_after_s} s"
    if isinstance(error, FormatError):
        return "nothing was done with it; get it again from where it came from"
    return ""
