# SPDX-License-Identifier: Apache-2.0
"""The commands of the page about signing do what it says."""

import shutil

import pytest

from tests.e2e.test_readme import ROOT, Terminal, terminal
from tests.e2e.transcript import steps

__all__ = ["terminal"]


def test_every_snippet_about_signing(terminal: Terminal) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not there")
    todo = steps(ROOT / "docs/how-to/sign.md")
    assert {"up", "sign", "attest", "verify", "spool"} <= {
        step.command.split()[1] for step in todo if step.command.startswith("countermark")
    }
    for step in todo:
        terminal.run(step)
