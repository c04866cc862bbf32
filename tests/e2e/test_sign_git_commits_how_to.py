# SPDX-License-Identifier: Apache-2.0
"""The commands of the page about Git do what it says."""

from tests.e2e.test_readme import ROOT, Terminal, terminal
from tests.e2e.transcript import steps

__all__ = ["terminal"]


def test_every_snippet_about_git(terminal: Terminal) -> None:
    todo = steps(ROOT / "docs/how-to/sign-git-commits.md")
    assert sum("countermark git" in step.command for step in todo) == 6
    for step in todo:
        terminal.run(step)
