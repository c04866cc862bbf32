# SPDX-License-Identifier: Apache-2.0
"""Run the benchmarks: those of `make bench`, or those named.

`startup`, `services`, `verify`; `big` (a log of a million entries), `big_full` (of ten million).
"""

import argparse
import importlib
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Row, write_json

NAMES = ("startup", "services", "verify", "big")
LONG = ("big_full",)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    cores = Path("/proc/cpuinfo").read_text().count("\nprocessor") + 1
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cpu": f"{model}, {cores} cores",
        "python": platform.python_version(),
        "cryptography": version("cryptography"),
    }


def show(rows: list[Row], console: Console) -> None:
    """Print the table."""
    table = Table(title="Countermark, measured")
    for column in ("work", "median", "±", "against", "ratio", "more"):
        table.add_column(
            column, justify="left" if column in ("work", "against", "more") else "right"
        )
    for row in rows:
        limit = f"{row.limit_name}: {row.limit:.3g} {row.unit.split()[0]}" if row.limit else ""
        table.add_row(
            row.work,
            f"{row.value:.4g} {row.unit}",
            f"{row.spread:.2g}" if row.spread else "",
            limit,
            f"{row.ratio:.2f}" if row.ratio else "",
            ", ".join(f"{name} {value}" for name, value in row.detail.items()),
        )
    console.print(table)


def main() -> int:
    """Entry point of `make bench`."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES, *LONG], help="which")
    parser.add_argument("--json", type=Path, default=Path("bench/results/latest.json"))
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name in arguments.names or NAMES:
        rows += importlib.import_module(f"bench.{name}").run()
    console = Console(width=None if sys.stdout.isatty() else 200)
    show(rows, console)
    write_json(arguments.json, rows, machine())
    console.print(f"written to {arguments.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
