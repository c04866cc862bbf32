# SPDX-License-Identifier: Apache-2.0
"""The page of what verification checks: every row names tests, and those exist and cover it all."""

import ast
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs/reference/verification.md"
_ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in _PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| check |", "| name in"))
]
_TEST = re.compile(r"`(?:\w+/)*(test_\w+\.py)::(test_\w+)`")
# Rows that say what is not done have no test.
_UNTESTED = ("`envelopeHash` of dsse 0.0.1",)


def _defined() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for path in (_ROOT / "tests").rglob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                found.add((path.name, node.name))
    return found


def test_every_row_names_tests_that_exist() -> None:
    assert len(_ROWS) > 45
    defined = _defined()
    for row in _ROWS:
        named = _TEST.findall(row[-1])
        assert named or row[-1] == "the same" or row[0] in _UNTESTED, row[0]
        assert not set(named) - defined, row[0]


@pytest.mark.parametrize("step", range(1, 8))
def test_every_step_is_there(step: int) -> None:
    assert re.search(rf"^## {step}\. ", _PAGE.read_text(), re.MULTILINE)


def test_the_page_is_where_people_look() -> None:
    assert "verification.md" in (_ROOT / "docs/how-to/verify.md").read_text()
