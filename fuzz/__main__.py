# SPDX-License-Identifier: Apache-2.0
"""Fuzz all targets, or those named, one after the other: ``make fuzz``.

Prints a table; ends with 1 if anything was found. What was found is kept in `fuzz/findings`,
what reaches new code in `fuzz/grown`: neither is part of the repository.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from fuzz.context import CORPUS
from fuzz.registry import TARGETS

_HERE = Path(__file__).parent
FINDINGS, GROWN = _HERE / "findings", _HERE / "grown"
_SECONDS = 60
_SEED = 20261122
_MAX_SECONDS_AN_INPUT = 10  # a hang; slower than `target.MAX_SECONDS` is found when it ends
_MAX_MEGABYTES = 1024
_STATUS = re.compile(r"#(\d+)\s.*cov: (\d+) ft: (\d+) corp: (\d+)/(\S+)")


class Outcome(NamedTuple):
    """What came of one target.

    Attributes:
        executions: inputs run.
        branches, inputs: what was reached, and how many inputs reach it.
        findings: files that hold an input each.
        log: what the engine said last.
    """

    executions: int
    branches: int
    inputs: int
    findings: tuple[Path, ...]
    log: str


def fuzz(name: str, seconds: int, seed: int, extra: Path | None = None) -> Outcome:
    """Run one target for a time. `extra` holds folders of more seeds, by target."""
    findings, grown = FINDINGS / name, GROWN / name
    for folder in (findings, grown):
        folder.mkdir(parents=True, exist_ok=True)
    corpora = [grown, CORPUS / name]
    if extra is not None and (extra / name).is_dir():
        corpora.append(extra / name)
    before = set(findings.iterdir())
    done = subprocess.run(
        [
            sys.executable, "-m", "fuzz.engine", name, f"-max_total_time={seconds}",
            f"-seed={seed}", f"-max_len={TARGETS[name].max_bytes}",
            f"-timeout={_MAX_SECONDS_AN_INPUT}", f"-rss_limit_mb={_MAX_MEGABYTES}",
            f"-artifact_prefix={findings}/", "-print_final_stats=1", *map(str, corpora),
        ],
        cwd=_HERE.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )  # fmt: skip
    new = tuple(sorted(set(findings.iterdir()) - before))
    if done.returncode != 0 and not new:
        raise SystemExit(f"the engine failed at {name}:\n{done.stdout[-4000:]}")
    *_, last = [None, *_STATUS.finditer(done.stdout)]
    executed = re.search(r"number_of_executed_units: (\d+)", done.stdout)
    numbers = (int(last[2]), int(last[4])) if last else (0, 0)
    return Outcome(int(executed[1]) if executed else 0, *numbers, new, done.stdout[-6000:])


def main() -> int:
    """Entry point of `make fuzz`."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[])
    parser.add_argument("--seconds", type=int, default=_SECONDS, help="for each target")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--more", type=Path, help="a folder with more seeds, by target")
    options = parser.parse_args()
    table = Table(title=f"{options.seconds} s each, seed {options.seed}")
    table.add_column("target")
    for column in ("executions", "a second", "branches", "corpus", "findings"):
        table.add_column(column, justify="right")
    console, found = Console(), []
    for name in options.targets or TARGETS:
        outcome = fuzz(name, options.seconds, options.seed, options.more)
        rate = outcome.executions / max(1, options.seconds)
        row = (outcome.executions, round(rate), outcome.branches, outcome.inputs)
        table.add_row(name, *(f"{number:,}" for number in row), str(len(outcome.findings)))
        found += [(name, file) for file in outcome.findings]
        print(f"{name}: {outcome.executions} executions, {len(outcome.findings)} findings")
        if outcome.findings:
            print(outcome.log, file=sys.stderr)
    console.print(table)
    for name, file in found:
        print(f"again: {sys.executable} -m fuzz.replay {name} {file}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
