# SPDX-License-Identifier: Apache-2.0
"""`countermark backup` and `restore`: a copy of an instance, and an instance out of a copy."""

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import click

from countermark.app import bring_up
from countermark.app.settings import Settings
from countermark.cli.exits import OK
from countermark.cli.options import json_option
from countermark.cli.output import Output, Ticker
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError


@click.command()
@click.argument("dest", metavar="DEST")
@click.option("--data", metavar="DIR", default="", help="Where keys and logs are.")
@click.option("--without-offline", is_flag=True, help="Leave the root keys' folder out.")
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Read the copy again and re-derive its logs from their entries (default).",
)
@json_option
def backup(dest: str, data: str, without_offline: bool, verify: bool, as_json: bool) -> int:
    """Copy an instance into DEST, a new or empty folder, while it runs or while it does not.

    All private keys go with it: keep DEST as safe as the instance. DEST appears when the backup
    is complete, durable and checked.
    """
    from countermark.app.backup import make_backup
    from countermark.drivers.system import SystemClock

    output = Output(as_json=as_json)
    target = Path(dest).expanduser().absolute()
    data_dir = bring_up.data_dir_of(Settings(data=data))
    started = time.monotonic()
    try:
        with _Bars(output) as bars:
            made = make_backup(
                data_dir,
                target,
                SystemClock(),
                bars,
                offline=not without_offline,
                verify=verify,
            )
    except CountermarkError as error:
        return output.fail(error)
    took_s = time.monotonic() - started
    verdict = "checked" if verify else "not checked"
    output.line(
        f"{output.good('Backed up')} {made.url} to {target}: {len(made.files)} files, "
        f"{made.total_bytes / 1e6:,.1f} MB, {verdict}, in {took_s:.1f} s"
    )
    for log in made.logs:
        output.line(f"  {log.name:<12} {log.tree_size:>12} entries")
    keys = "online and root keys" if made.offline else "online keys, but no root keys"
    output.line(f"  {keys} are in it: whoever reads it can sign as this instance")
    output.result(
        {
            "url": made.url,
            "backup": str(target),
            "data": str(data_dir.path),
            "created": to_rfc3339(made.created),
            "files": len(made.files),
            "bytes": made.total_bytes,
            "offlineKeys": made.offline,
            "verified": made.verified,
            "seconds": round(took_s, 3),
            "logs": [
                {"name": log.name, "treeSize": log.tree_size, "rootHash": log.root_hash}
                for log in made.logs
            ],
        }
    )
    return OK


@click.command()
@click.argument("source", metavar="BACKUP")
@click.option("--data", metavar="DIR", required=True, help="A new or empty directory.")
@click.option(
    "--keys-passphrase",
    metavar="FILE",
    default="",
    help="Online keys' passphrase (or env:NAME), if it is not in the backup.",
)
@json_option
def restore(source: str, data: str, keys_passphrase: str, as_json: bool) -> int:
    """Make an instance out of a BACKUP. Its logs are frozen, and new ones opened.

    Entries logged after the backup are not in it, so the old logs take no more: none of their
    indexes can come to mean two entries. Never run the original again beside the restored one.
    """
    from countermark.app.restore import restore as restore_backup
    from countermark.app.secrets import resolve_passphrase
    from countermark.drivers.system import SystemClock, SystemEntropy

    output = Output(as_json=as_json)
    backup_folder = Path(source).expanduser().absolute()
    data_dir = bring_up.data_dir_of(Settings(data=data))
    try:
        with _Bars(output) as bars:
            restored = restore_backup(
                backup_folder,
                data_dir,
                SystemClock(),
                SystemEntropy(),
                bars,
                _say,
                passphrase=resolve_passphrase(keys_passphrase),
            )
    except CountermarkError as error:
        return output.fail(error)
    config, manifest = restored.config, restored.manifest
    made = to_rfc3339(manifest.created)
    output.line(f"{output.good('Restored')} {config.base_url} as of {made} into {data_dir.path}")
    for log in config.logs:
        state = f"frozen at {log.frozen.tree_size} entries" if log.frozen else "open"
        output.line(f"  {log.name:<20} {state}")
    output.line(f"Bring it up with: countermark up --data {data_dir.path}")
    output.result(
        {
            "url": config.base_url,
            "data": str(data_dir.path),
            "asOf": made,
            "logs": [
                {
                    "name": log.name,
                    "origin": log.origin,
                    "frozenAt": log.frozen.tree_size if log.frozen else None,
                }
                for log in config.logs
            ],
        }
    )
    return OK


class _Bars:
    """One bar after the other. A `Watch`."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._ticker: Ticker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def begin(self, what: str, total_bytes: int) -> None:
        """The next bar."""
        self._close()
        self._ticker = Ticker(what, total_bytes, visible=self._output.terminal)

    def advance(self, count: int) -> None:
        """Move it on."""
        if self._ticker is not None:
            self._ticker.advance(count)

    def _close(self) -> None:
        if self._ticker is not None:
            self._ticker.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
