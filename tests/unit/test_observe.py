# SPDX-License-Identifier: Apache-2.0
"""Log lines: for people on stderr, for machines on stdout, facts and exceptions included."""

import json
import subprocess
import sys

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


def _run(form: str) -> tuple[str, str]:
    script = _SCRIPT.format(form=form)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_text_is_for_people() -> None:
    out, err = _run("text")
    assert out == ""
    first, second, *trace = err.splitlines()
    assert first.endswith(" keeper: signed 3 heads tree_size=7")
    assert second.endswith(" keeper: ERROR: failed")
    assert trace[-1] == "ValueError: why"


def test_json_is_for_machines() -> None:
    out, err = _run("json")
    assert err == ""
    first, second = map(json.loads, out.splitlines())
    assert first["event"] == "signed 3 heads"
    assert (first["process"], first["level"], first["tree_size"]) == ("keeper", "INFO", 7)
    assert "ValueError: why" in second["exception"]
