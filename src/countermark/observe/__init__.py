# SPDX-License-Identifier: Apache-2.0
"""How processes say what happened: a past-tense event and its keys, one line each.

Modules use `logging` as ever, with further facts as ``extra={…}``; this module gives the lines
their form: text to stderr for people, JSON to stdout for machines. Never logged: tokens, keys,
bodies. ERROR means that a person must act.

Some messages quote foreign text. Whatever it holds, a line stays one line and a terminal sees no
control character: text escapes everything that is not printable, JSON everything beyond ASCII.
"""

import json
import logging
import sys
import time
from typing import Final

TEXT: Final = "text"
JSON: Final = "json"
FORMATS: Final = (TEXT, JSON)

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def configure(process: str, form: str = TEXT) -> None:
    """Send this process's log lines, from INFO upwards, in `form`."""
    handler = logging.StreamHandler(sys.stdout if form == JSON else sys.stderr)
    handler.setFormatter(_JSONLines(process) if form == JSON else _TextLines(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Lines of these libraries either repeat ours or describe single requests.
    for name in ("uvicorn", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a closed terminal must not end a server


class _TextLines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = "" if record.levelno == logging.INFO else f"{record.levelname}: "
        facts = "".join(f" {key}={_value(value)}" for key, value in _facts(record).items())
        lines = [f"{moment} {self._process}: {level}{_printable(record.getMessage())}{facts}"]
        if record.exc_info:
            # Indented, so that no line of an exception's text looks like one of ours.
            trace = self.formatException(record.exc_info).splitlines()
            lines += (f"  | {_printable(line)}" for line in trace)
        return "\n".join(lines)


class _JSONLines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "process": self._process,
            "event": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _printable(text: str) -> str:
    """`text` with escapes for line breaks, control characters, and what reorders a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _value(value: object) -> str:
    """A fact's value, in quotes where it could be taken for more than one."""
    text = str(value)
    plain = text.isprintable() and not any(c in text for c in ' ="')
    return text if plain else json.dumps(text)


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
