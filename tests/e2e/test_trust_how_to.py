# SPDX-License-Identifier: Apache-2.0
"""The commands of the page about trusting an instance do what it says."""

from tests.e2e.test_readme import ROOT, Terminal, terminal
from tests.e2e.transcript import steps

__all__ = ["terminal"]


def test_every_snippet_about_trust(terminal: Terminal) -> None:
    todo = steps(ROOT / "docs/how-to/trust-an-instance.md")
    assert len(todo) == 10
    for step in todo[:2]:
        terminal.run(step)
    # The other side is another person, who knows nothing of this instance yet.
    person = terminal.directory / "person"
    person.mkdir()
    terminal.environment |= {"HOME": str(person), "COUNTERMARK_HOME": str(person / "registry")}
    terminal.environment.pop("XDG_DATA_HOME")
    for step in todo[2:]:
        terminal.run(step)
