# SPDX-License-Identifier: Apache-2.0
"""The commands of the page about backups do what it says."""

from tests.e2e.test_readme import ROOT, Terminal, terminal
from tests.e2e.transcript import steps

__all__ = ["terminal"]


def test_every_snippet_about_backups(terminal: Terminal) -> None:
    todo = steps(ROOT / "docs/how-to/back-up-and-restore.md")
    assert [step.command.split()[1] for step in todo] == ["up", "backup", "restore", "log"]
    for step in todo:
        terminal.run(step)
