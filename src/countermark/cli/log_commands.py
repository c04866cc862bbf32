# SPDX-License-Identifier: Apache-2.0
"""`countermark log info` and `log fsck`: where an instance's logs stand, and whether they hold."""

import sys
import time
from datetime import UTC, datetime
from typing import Any

import click

from countermark.app import bring_up
from countermark.app.asking import ask_status
from countermark.app.messages import LogStatus
from countermark.app.settings import Settings
from countermark.cli.exits import INTERNAL, OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError

_PATIENCE_S = 1.0
_EVERY_S = 0.2
_data_option = click.option("--data", metavar="DIR", default="", help="Where keys and logs are.")


@click.command()
@_data_option
@json_option
def info(data: str, as_json: bool) -> int:
    """Show where each log stands: size, root, and how much is published."""
    output = Output(as_json=as_json)
    data_dir = bring_up.data_dir_of(Settings(data=data))
    try:
        report = ask_status(data_dir)
        logs = report.logs
        if not report.running:
            from countermark.app.inspection import Inspection

            with bring_up.locked(data_dir), Inspection.open(data_dir) as inspection:
                logs = inspection.status()
    except CountermarkError as error:
        return output.fail(error)
    for each in logs:
        end = "  frozen" if each.frozen else ""
        output.line(f"{output.strong(each.name)}  {each.origin}{end}")
        output.line(f"  tree size  {each.tree_size}  (published {each.published_size})")
        output.line(f"  root hash  {each.root_hash.hex()}")
        output.line(f"  as of      {_time(each)}")
    output.result({"url": report.url, "logs": [_as_json(each) for each in logs]})
    return OK


@click.command()
@click.argument("logs", metavar="[LOG...]", nargs=-1)
@_data_option
@click.option(
    "--tree-only", is_flag=True, help="Leave out index rows and promises, which take most time."
)
@click.option(
    "--published", is_flag=True, help="Only what the logs show the world; the instance may run."
)
@json_option
def fsck(logs: tuple[str, ...], data: str, tree_only: bool, published: bool, as_json: bool) -> int:
    """Re-derive logs from their entries up and compare all that is stored.

    Leaf hashes, tiles, root, the signed head, index rows, times and promises; what is wrong is
    listed and the exit code is 70. The instance must not run meanwhile, except with --published:
    then the entry bundles, tiles and signed checkpoint are read as any web server shows them.
    """
    from countermark.app.inspection import Inspection, check_published

    output = Output(as_json=as_json)
    data_dir = bring_up.data_dir_of(Settings(data=data))
    ticker = _Ticker(visible=output.terminal)
    try:
        if published:
            reports = check_published(data_dir, logs, ticker)
        else:
            with bring_up.locked(data_dir), Inspection.open(data_dir) as inspection:
                reports = inspection.check(logs, ticker, rows=not tree_only)
    except CountermarkError as error:
        return output.fail(error)
    finally:
        ticker.close()
    for report in reports:
        verdict = output.good("sound") if report.ok else f"{len(report.problems)} problems"
        output.line(f"{report.name}: {report.tree_size} entries, {verdict}")
        for problem in report.problems:
            output.line(f"  {problem}")
    output.result(
        {
            "logs": [
                {
                    "name": report.name,
                    "treeSize": report.tree_size,
                    "publishedSize": report.published_size,
                    "rootHash": report.root_hash.hex() if report.root_hash else None,
                    "objects": report.objects,
                    "sound": report.ok,
                    "problems": [
                        {"where": problem.where, "what": problem.what}
                        for problem in report.problems
                    ],
                }
                for report in reports
            ]
        }
    )
    return OK if all(report.ok for report in reports) else INTERNAL


class _Ticker:
    """One line on a terminal that says how far the check is, once it takes long."""

    def __init__(self, *, visible: bool) -> None:
        self._visible = visible
        self._next = time.monotonic() + _PATIENCE_S
        self._shown = False

    def __call__(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._visible and now >= self._next:
            self._next = now + _EVERY_S
            self._shown = True
            print(f"\r{name}: {done} of {total} entries", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _time(log: LogStatus) -> str:
    return to_rfc3339(datetime.fromtimestamp(log.time_ms // 1000, UTC))


def _as_json(log: LogStatus) -> dict[str, Any]:
    return {
        "name": log.name,
        "origin": log.origin,
        "treeSize": log.tree_size,
        "rootHash": log.root_hash.hex(),
        "headTime": _time(log),
        "publishedSize": log.published_size,
        "frozen": log.frozen,
    }
