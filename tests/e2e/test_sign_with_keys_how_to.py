# SPDX-License-Identifier: Apache-2.0
"""The commands of the page about keys do what it says."""

from tests.e2e.test_readme import ROOT, Terminal, terminal
from tests.e2e.transcript import steps

__all__ = ["terminal"]


def test_every_snippet_about_keys(terminal: Terminal) -> None:
    todo = steps(ROOT / "docs/how-to/sign-with-keys.md")
    assert [step.command.split()[1] for step in todo if step.command.startswith("counter")] == [
        *("up", "key", "sign", "verify", "key", "key")
    ]
    for step in todo:
        terminal.run(step)
