# SPDX-License-Identifier: Apache-2.0
"""The commands of the page about signers and their changes do what it says."""

import pytest

from tests.e2e.test_readme import ROOT, Terminal, terminal
from tests.e2e.transcript import steps

__all__ = ["terminal"]
pytestmark = pytest.mark.xdist_group("instance")


def test_every_snippet_about_signers(terminal: Terminal) -> None:
    todo = steps(ROOT / "docs/how-to/know-a-signer.md")
    said = " ".join(step.command for step in todo)
    for part in ("--trust-first-use", "signers list", "continuity", "policy check", "log check"):
        assert part in said
    for step in todo:
        terminal.run(step)
