# SPDX-License-Identifier: Apache-2.0
"""`countermark log shard`: freeze the open logs of a stopped instance, open the next ones."""

import sys
from typing import Any

import click

from countermark.app import bring_up
from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig, LogConfig
from countermark.app.secrets import resolve_passphrase
from countermark.app.settings import Settings
from countermark.cli.exits import OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError, SettingsError


@click.command()
@click.option("--data", metavar="DIR", default="", help="Where keys and logs are.")
@click.option(
    "--keys-passphrase",
    metavar="FILE",
    default="",
    help="Online keys' passphrase (or env:NAME).",
)
@json_option
def shard(data: str, keys_passphrase: str, as_json: bool) -> int:
    """Freeze the open logs for ever, and open the next ones.

    Entries of frozen logs stay readable and provable; new ones go to the next v1 shard and CT log,
    which have keys of their own. The new trust root is published through TUF: whoever verifies
    offline with a copy of the old one needs the new one for what is signed from now on. The
    instance must not run meanwhile. A killed run is finished by the next.
    """
    output = Output(as_json=as_json)
    data_dir = bring_up.data_dir_of(Settings(data=data))
    try:
        with bring_up.locked(data_dir):
            config = _open_next(data_dir, keys_passphrase)
    except CountermarkError as error:
        return output.fail(error)
    frozen, opened = _last(config)
    for log in frozen:
        end = log.frozen
        assert end is not None
        output.line(f"frozen {log.name}  {log.origin}  {end.tree_size} entries")
    for log in opened:
        output.line(f"opened {output.good(log.name)}  {log.origin}")
    output.advice("The new trusted root is in TUF already; start the instance again.")
    output.result(
        {
            "url": config.base_url,
            "frozen": [_ended(log) for log in frozen],
            "opened": [_as_json(log) for log in opened],
        }
    )
    return OK


def _open_next(data_dir: DataDir, keys_passphrase: str) -> InstanceConfig:
    if data_dir.next_shards_file.exists():
        data_dir.check_secrecy()
    else:
        bring_up.open_for_change(data_dir, _say)
    # What follows takes libraries that running an instance does without.
    from countermark.app.shards import open_next_shards
    from countermark.drivers.system import SystemClock, SystemEntropy

    passphrase = resolve_passphrase(keys_passphrase)
    try:
        return open_next_shards(data_dir, SystemClock(), SystemEntropy(), passphrase=passphrase)
    except OSError as error:  # a full disk, mostly
        halfway = SettingsError(f"{data_dir.path} cannot be changed: {error.strerror}")
        halfway.add_note("mend that and run the same again: it goes on")
        raise halfway from error


def _last(config: InstanceConfig) -> tuple[list[LogConfig], list[LogConfig]]:
    """The logs that were frozen just now, and those that were opened."""
    both = [config.logs_of("rekor-v1"), config.logs_of("ct")]
    return [logs[-2] for logs in both], [logs[-1] for logs in both]


def _as_json(log: LogConfig) -> dict[str, Any]:
    return {"name": log.name, "origin": log.origin, "url": log.base_url}


def _ended(log: LogConfig) -> dict[str, Any]:
    end = log.frozen
    assert end is not None
    root_hash = end.root_hash.hex()
    until = to_rfc3339(end.at)
    return {**_as_json(log), "treeSize": end.tree_size, "rootHash": root_hash, "until": until}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
