# SPDX-License-Identifier: Apache-2.0
"""Reviews and measurements name tests as their evidence: those must exist."""

import ast
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"`((?:[\w-]+/)*test_\w+\.py)(?:::(test_\w+))?`")
_PAGES = sorted((_ROOT / "docs").rglob("*.md"))


def _tests_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


_FILES = {path: _tests_of(path) for path in (_ROOT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT / "docs")))
def test_named_tests_exist(page: Path) -> None:
    missing = []
    for file, name in _NAMED.findall(page.read_text()):
        found = [tests for path, tests in _FILES.items() if f"/{path}".endswith(f"/{file}")]
        if not any(not name or name in tests for tests in found):
            missing.append(f"{file}::{name}")
    assert not missing


def test_names_are_found_in_some_pages() -> None:
    assert sum(len(_NAMED.findall(page.read_text())) for page in _PAGES) > 50
