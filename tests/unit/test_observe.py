# SPDX-License-Identifier: Apache-2.0
"""Log lines: for people on stderr, for machines on stdout, facts and exceptions included."""

import json
import subprocess
import sys

import pytest

_SCRIPT = """
import logging
from countermark import observe
observe.configure("keeper", {form!r})
logging.getLogger("countermark.x").info("signed %d heads", 3, extra={{"tree_size": 7}})
logging.getLogger("countermark.x").debug("not shown")
logging.getLogger("uvicorn.error").info("not shown")
try:
    raise ValueError("why")
except ValueError:
    logging.getLogger("countermark.x").exception("failed")
"""
_HOSTILE = (
    "a\n12:00:00 keeper: all is well",
    "a\r\x1b[2Ka",
    "a\x00\x7f\x9b31m",
    "a\u2028b\u202eb",
    "a\ud800",
)
_HOSTILE_SCRIPT = """
import json, logging, sys
from countermark import observe
observe.configure("keeper", sys.argv[1])
text = json.loads(sys.argv[2])
logging.getLogger("x").info("got %s", text, extra={"said": text})
try:
    raise ValueError(text)
except ValueError:
    logging.getLogger("x").exception("failed")
"""


def _run(*command: str) -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-c", *command], capture_output=True, check=True)
    return done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


def test_text_is_for_people() -> None:
    out, err = _run(_SCRIPT.format(form="text"))
    assert out == ""
    first, second, *trace = err.splitlines()
    assert first.endswith(" keeper: signed 3 heads tree_size=7")
    assert second.endswith(" keeper: ERROR: failed")
    assert trace[-1] == "  | ValueError: why"


def test_json_is_for_machines() -> None:
    out, err = _run(_SCRIPT.format(form="json"))
    assert err == ""
    first, second = map(json.loads, out.splitlines())
    assert first["event"] == "signed 3 heads"
    assert (first["process"], first["level"], first["tree_size"]) == ("keeper", "INFO", 7)
    assert "ValueError: why" in second["exception"]


@pytest.mark.parametrize("number", range(len(_HOSTILE)))
def test_foreign_text_makes_no_line_and_reaches_no_terminal(number: int) -> None:
    _, err = _run(_HOSTILE_SCRIPT, "text", json.dumps(_HOSTILE[number]))
    first, second, *trace = err.split("\n")[:-1]
    assert " keeper: got a" in first
    assert second.endswith(" keeper: ERROR: failed")
    assert all(line.startswith("  | ") for line in trace)
    assert err.replace("\n", "").isprintable()


@pytest.mark.parametrize("number", range(len(_HOSTILE)))
def test_foreign_text_in_json_is_ascii_on_one_line(number: int) -> None:
    out, _ = _run(_HOSTILE_SCRIPT, "json", json.dumps(_HOSTILE[number]))
    first, second = out.split("\n")[:-1]
    assert out.isascii()
    assert "\x7f" not in out
    assert json.loads(first)["said"] == _HOSTILE[number]
    assert json.loads(second)["event"] == "failed"


def test_values_of_facts_cannot_be_taken_for_other_facts() -> None:
    _, err = _run(_HOSTILE_SCRIPT, "text", json.dumps("x status=200"))
    assert err.splitlines()[0].endswith(' keeper: got x status=200 said="x status=200"')
