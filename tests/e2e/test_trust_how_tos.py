# SPDX-License-Identifier: Apache-2.0
"""The commands of the pages about rotation, ceremonies and distrust do what they say."""

from tests.e2e.test_readme import ROOT, Terminal, terminal
from tests.e2e.transcript import steps

__all__ = ["terminal"]


def test_every_snippet_about_keys_roots_and_distrust(terminal: Terminal) -> None:
    for page in ("rotate-keys", "root-ceremony", "distrust"):
        todo = steps(ROOT / f"docs/how-to/{page}.md")
        assert len(todo) >= 3
        for step in todo:
            terminal.run(step)
