# SPDX-License-Identifier: Apache-2.0
"""`countermark signers`: whom `verify --trust-first-use` remembered, shown and forgotten."""

import json
from datetime import UTC, datetime
from typing import Any

import click

from countermark.cli.arguments import printable
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.cli.verify_who import who
from countermark.client.remembered import Remembered, everybody, find
from countermark.client.remembered import forget as forget_name
from countermark.core.encoding import to_base64, to_rfc3339
from countermark.core.errors import CountermarkError, NotFound
from countermark.core.policy.same_signer import marks
from countermark.core.policy.versions import without_version
from countermark.core.verify.glob import escape
from countermark.core.verify.signer import EXTENSION_NAMES

_CLAIMS = (
    ("repository-id", "repository id"),
    ("owner-id", "owner id"),
    ("workflow", "workflow"),
    ("signer-workflow", "signing workflow"),
)


@click.group()
def signers() -> None:
    """Look after the signers that `verify --trust-first-use` remembered."""


@signers.command(name="list", epilog="Example: countermark signers list --json")
@json_option
def list_(as_json: bool) -> int:
    """List what is remembered: a name, its signer, since when."""
    output = Output(as_json=as_json)
    try:
        records = everybody()
    except CountermarkError as error:
        return output.fail(error)
    if not records:
        output.line("no signer is remembered: see `countermark verify --trust-first-use`")
    for record in records:
        signer = printable(who(record.signer, record.key))
        output.line(f"{printable(record.name)}: {signer}, since {_time(record)}")
    output.result({"signers": [_as_json(record) for record in records]})
    return 0


@signers.command(epilog="Example: countermark signers show 'app-*.tar.gz'")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> int:
    """Show whom NAME stands for, and the same as an [[artifact]] for a policy file."""
    output = Output(as_json=as_json)
    try:
        record = _known(name)
    except CountermarkError as error:
        return output.fail(error)
    output.line(printable(who(record.signer, record.key)))
    output.line(f"  since      {_time(record)}, from {printable(record.file)}")
    output.line(f"  root       {printable(record.root)}")
    if record.signer is not None:
        for number, text in record.signer.extensions:
            output.line(f"  {EXTENSION_NAMES.get(number, str(number))}: {printable(text)}")
        output.line("")
        output.line(_as_policy(record))
    output.result(_as_json(record))
    return 0


@signers.command(epilog="Example: countermark signers forget 'app-*.tar.gz'")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def forget(names: tuple[str, ...], as_json: bool) -> int:
    """Forget whom NAME stands for; damaged records too."""
    output = Output(as_json=as_json)
    forgotten: list[str] = []
    try:
        for name in names:
            if not forget_name(name):
                raise _unknown(name)
            forgotten.append(name)
            output.line(f"forgot {printable(name)}")
    except CountermarkError as error:
        return output.fail(error, partial={"forgotten": forgotten})
    output.result({"forgotten": forgotten})
    return 0


def _known(name: str) -> Remembered:
    record = find(name)
    if record is None:
        raise _unknown(name)
    return record


def _unknown(name: str) -> NotFound:
    error = NotFound(f"nobody is remembered as {name[:200]}")
    error.add_note("`countermark signers list` shows all names")
    return error


def _time(record: Remembered) -> str:
    return to_rfc3339(datetime.fromtimestamp(record.at_s, UTC))


def _as_json(record: Remembered) -> dict[str, Any]:
    tree: dict[str, Any] = {"name": record.name}
    if record.signer is not None:
        tree |= {"identity": record.signer.name, "issuer": record.signer.issuer}
        tree["certificate"] = {
            EXTENSION_NAMES.get(number, str(number)): text
            for number, text in record.signer.extensions
        }
        tree["marks"] = marks(record.signer)
    else:
        tree["key"] = to_base64(record.key)
    return tree | {"root": record.root, "file": record.file, "rememberedAt": _time(record)}


def _as_policy(record: Remembered) -> str:
    """The record as part of a policy file."""
    assert record.signer is not None
    found = marks(record.signer)
    versions = record.name == without_version(record.file) and "*" not in record.file
    glob = record.name.replace("\\", r"\\") if versions else escape(record.name)
    lines = ["[[artifact]]", f"files = {_toml(glob)}", "", "[[artifact.any]]"]
    lines.append(f"issuer = {_toml(record.signer.issuer)}")
    if "identity" in found:
        lines.append(f"identity = {_toml(record.signer.name)}")
    lines += [f"{key} = {_toml(found[what])}" for key, what in _CLAIMS if found.get(what)]
    return "\n".join(lines)


def _toml(text: str) -> str:
    # ASCII: a JSON string is a TOML string, but for halves of characters, which no name has.
    return json.dumps(text).replace("\x7f", "\\u007f")
