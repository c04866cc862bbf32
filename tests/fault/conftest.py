# SPDX-License-Identifier: Apache-2.0
"""Says at the end what long runs did: what each test recorded, and how each file came out."""

from collections import Counter

import pytest

RAN = "fault run"
"""Property under which a test records a line."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counted: dict[str, Counter[str]] = {}
    lines: list[str] = []
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            file = report.nodeid.partition("::")[0]
            if not file.startswith("tests/fault/"):
                continue
            counted.setdefault(file, Counter())[outcome] += 1
            lines += [str(value) for name, value in report.user_properties if name == RAN]
    if lines:
        terminalreporter.section("fault runs")
        for file, outcomes in sorted(counted.items()):
            told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
            terminalreporter.write_line(f"{file}: {told}")
        for line in lines:
            terminalreporter.write_line(line)
