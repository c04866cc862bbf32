# SPDX-License-Identifier: Apache-2.0
"""What each real client did in this run, and the page that says so.

A test that passes reports its deeds as properties. When the run ends they are compared with
docs/reference/clients.md (or, with ``--write-clients``, written to it), so the page can claim
nothing that did not happen. A deed that is missing from the page fails any run; one that did
not happen fails those runs that included every test of a client.
"""

import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/clients.md"
PROPERTY = "deed"
MISSING = "deed not done"
FIXTURE = "recorder"
OPTION = "--write-clients"
_HEAD = """\
<!-- written by `pytest tests/interop --write-clients`; do not edit -->
# Clients that understand Countermark

Nobody here wrote these programs and none was changed. Each row is what a client of exactly this
version did against a real instance in the tests of `tests/interop`; a test run fails when it does
not do all of this again. `scripts/install-peers` installs them; OpenSSL and the Node of all but
sigstore-js 5 are the system's.
"""
_SELECTING = ("keyword", "markexpr", "lf", "failedfirst", "deselect", "ignore", "ignore_glob")


class Kind(Enum):
    """The columns."""

    SIGNED = "it signed, `countermark` verified"
    VERIFIED = "`countermark` signed, it verified"
    REFUSED = "it refused"
    ALSO = "it also"


class Deed(NamedTuple):
    """One thing that a client did."""

    client: str
    version: str
    kind: Kind
    what: str

    def encode(self) -> list[str]:
        """As a test report can carry it between processes."""
        return [self.client, self.version, self.kind.name, self.what]


def decode(values: Iterable[str]) -> Deed:
    """What `Deed.encode` made."""
    client, version, kind, what = values
    return Deed(client, version, Kind[kind], what)


def render(deeds: Iterable[Deed]) -> str:
    """The page."""
    rows: dict[tuple[str, str], dict[Kind, set[str]]] = {}
    for deed in deeds:
        cells = rows.setdefault((deed.client, deed.version), {kind: set() for kind in Kind})
        cells[deed.kind].add(deed.what)
    titles = ["client", "version", *(kind.value for kind in Kind)]
    lines = [_HEAD, _row(titles), "|---" * len(titles) + "|"]
    for (client, version), cells in sorted(rows.items()):
        lines.append(_row([client, version, *("; ".join(sorted(cells[kind])) for kind in Kind)]))
    return "\n".join([*lines, ""])


def parse(page: str) -> set[Deed]:
    """The deeds that a page claims."""
    claimed = set()
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| ") or len(cells) != 2 + len(Kind) or cells[0] == "client":
            continue
        for kind, cell in zip(Kind, cells[2:], strict=True):
            claimed |= {Deed(cells[0], cells[1], kind, what) for what in re.findall(_WHAT, cell)}
    return claimed


_WHAT = r"[^;\s][^;]*"


def differences(done: set[Deed], claimed: set[Deed], *, whole: bool) -> list[str]:
    """What is wrong with a page that claims `claimed`; `whole`: every test was run."""
    found = [f"not on the page: {_told(deed)}" for deed in sorted(done - claimed, key=_told)]
    if whole:
        missing = sorted(claimed - done, key=_told)
        found += [f"on the page, but not done: {_told(deed)}" for deed in missing]
    return found


def _told(deed: Deed) -> str:
    return f"{deed.client} {deed.version}: {deed.kind.name.lower()} {deed.what}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


class Matrix:
    """A pytest plugin: collects deeds where all reports arrive, and judges the page at the end."""

    def __init__(self, page: Path = PAGE, *, write: bool, whole: bool) -> None:
        self._page = page
        self._write = write
        self._whole = whole
        self._done: set[Deed] = set()
        self._findings: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if any(name == MISSING for name, _ in report.user_properties):
            self._whole = False
        if report.when == "call" and report.passed:
            self._done |= {
                decode(value.split("\t"))
                for name, value in report.user_properties
                if name == PROPERTY and isinstance(value, str)
            }

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.OK and not self.judge():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def judge(self) -> bool:
        """Compare or write the page; whether all is well."""
        if self._write:
            if self._whole:
                self._page.write_text(render(self._done))
            else:
                self._findings = ["not written: run all tests of tests/interop, with every client"]
        else:
            claimed = parse(self._page.read_text()) if self._page.exists() else set()
            self._findings = differences(self._done, claimed, whole=self._whole)
        return not self._findings

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._findings:
            terminalreporter.section(f"{self._page.name} is not what happened", red=True)
            for line in self._findings:
                terminalreporter.line(line)
            terminalreporter.line(f"If that is as it should be: pytest tests/interop {OPTION}")


def everything_is_selected(config: pytest.Config) -> bool:
    """Whether a run includes all of tests/interop."""
    folders = {(config.invocation_params.dir / name).resolve() for name in config.args}
    interop = ROOT / "tests/interop"
    narrowed = any(config.getoption(name, None) for name in _SELECTING)
    return not narrowed and any(folder in (interop, *interop.parents) for folder in folders)
