# SPDX-License-Identifier: Apache-2.0
"""`countermark trust ceremony`: the next TUF root, signed by several people, each on their own."""

import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.arguments import printable
from countermark.cli.exits import OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.cli.passphrases import asking, passphrase_option
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError, RequestRejected, SettingsError

# python-tuf and the server's parts are imported by the commands that need them.
if TYPE_CHECKING:
    from securesystemslib.signer import Key  # type: ignore[attr-defined]

    from countermark.trust.ceremony import Ceremony

_MAX_HOLDER = 100


@click.group()
def ceremony() -> None:
    """Change who signs the TUF root, m of n of them, away from the instance.

    `start` writes one file; every holder looks at it (`show`) and signs it (`sign`), on any
    machine, without a network; `finish` checks it all and publishes. Copies may be signed side by
    side, and finished together.

    \b
    countermark trust ceremony start next.json --add-root-key ada=ada.pub --root-threshold 2
    countermark trust ceremony sign next.json --key ada.key
    countermark trust ceremony finish next.json
    """


@ceremony.command(epilog="Example: countermark trust ceremony start next.json --root-threshold 2")
@click.argument("file")
@click.option("--data", metavar="DIR", default="", help="Where keys and logs are.")
@click.option(
    "--add-root-key",
    "add",
    metavar="[HOLDER=]KEY",
    multiple=True,
    help="One more key that signs roots: a public key file, or a device's reference.",
)
@click.option(
    "--remove-root-key",
    "remove",
    metavar="ID",
    multiple=True,
    help="A key that signs roots no more, by the start of its id.",
)
@click.option(
    "--root-threshold",
    "threshold",
    type=click.IntRange(1, 64),
    metavar="M",
    help="How many root keys must sign; without it, as many as now.",
)
@click.option(
    "--targets-key",
    "targets",
    metavar="[HOLDER=]KEY",
    multiple=True,
    help="Have targets signed offline, by these keys.",
)
@click.option(
    "--targets-threshold",
    type=click.IntRange(1, 64),
    metavar="M",
    default=1,
    show_default=True,
    help="How many of those must sign.",
)
@click.option("--targets-online", is_flag=True, help="Have targets signed by the instance again.")
@click.option(
    "--targets",
    "only_targets",
    is_flag=True,
    help="Only the targets, where they are signed offline.",
)
@click.option(
    "--expires",
    "days",
    type=click.IntRange(1, 36525),
    metavar="DAYS",
    default=3652,
    show_default=True,
    help="Lifetime of the root.",
)
@passphrase_option
@json_option
def start(
    file: str,
    data: str,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    threshold: int | None,
    targets: tuple[str, ...],
    targets_threshold: int,
    targets_online: bool,
    only_targets: bool,
    days: int,
    passphrase_file: str,
    as_json: bool,
) -> int:
    """Begin: write FILE, which then goes from holder to holder.

    Without an option, the next root says what the newest one does, for another DAYS. It always
    names the online keys that the instance uses, and in a rotation those that it will use.
    """
    output = Output(as_json=as_json)
    try:
        from countermark.app import bring_up
        from countermark.app.ceremonies import Change
        from countermark.app.ceremonies import start as begin
        from countermark.app.settings import Settings

        if os.path.exists(file):
            raise _usage(f"{file} exists already", "name another file")
        if only_targets and (add or remove or threshold or targets or targets_online):
            raise _usage("--targets leaves the root as it is", "leave it or the others out")
        if targets and targets_online:
            raise _usage("targets are signed offline or online", "say one of them")
        data_dir = bring_up.data_dir_of(Settings(data=data))
        change = Change(
            add=_keys(add, passphrase_file),
            remove=remove,
            threshold=threshold,
            targets=_keys(targets, passphrase_file),
            targets_threshold=targets_threshold,
            targets_online=targets_online,
            only_targets=only_targets,
            lifetime=timedelta(days=days),
        )
        begun = begin(data_dir, change, datetime.now(UTC))
        _write(file, begun)
    except CountermarkError as error:
        return output.fail(error)
    _report(begun, output)
    return OK


@ceremony.command(epilog="Example: countermark trust ceremony sign next.json --key ada.key")
@click.argument("file")
@click.option(
    "--key",
    "reference",
    metavar="KEY",
    required=True,
    help="Your key: a file, pkcs11:…, or the URI of a key service.",
)
@click.option(
    "--previous-root",
    metavar="FILE",
    default="",
    help="The newest root that you know, from elsewhere: the ceremony must follow it.",
)
@passphrase_option
@json_option
def sign(file: str, reference: str, previous_root: str, passphrase_file: str, as_json: bool) -> int:
    """Sign FILE with your key. What it changes is shown; look at it with `show` before.

    Signatures that are there are checked first: a file that was changed after somebody signed it
    is refused. Needs no instance and no network, unless the key does.
    """
    output = Output(as_json=as_json)
    try:
        from countermark.client.keys.reference import open_key
        from countermark.trust.root_keys import PortSigner

        read = _read(file)
        if previous_root:
            _check_follows(read, previous_root)
        signed = read.signed_by(PortSigner(open_key(reference, asking(passphrase_file))))
        _write(file, signed)
    except CountermarkError as error:
        return output.fail(error)
    _report(signed, output)
    return OK


@ceremony.command(epilog="Example: countermark trust ceremony show next.json")
@click.argument("file")
@json_option
def show(file: str, as_json: bool) -> int:
    """Show what FILE would change, who has signed it, and who is missing."""
    output = Output(as_json=as_json)
    try:
        read = _read(file)
    except CountermarkError as error:
        return output.fail(error)
    _report(read, output)
    return OK


@ceremony.command(epilog="Example: countermark trust ceremony finish next.json")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--data", metavar="DIR", default="", help="Where keys and logs are.")
@click.option(
    "--keys-passphrase", metavar="FILE", default="", help="Online keys' passphrase (or env:NAME)."
)
@json_option
def finish(files: tuple[str, ...], data: str, keys_passphrase: str, as_json: bool) -> int:
    """Check FILE (and copies of it, signed by others) and publish what it holds.

    The instance may run or not. Its own newest root decides, not the one in the file.
    """
    output = Output(as_json=as_json)
    try:
        from countermark.app import bring_up
        from countermark.app.ceremonies import finish as end
        from countermark.app.hands import Secrets, hands_on
        from countermark.app.secrets import resolve_passphrase
        from countermark.app.settings import Settings
        from countermark.drivers.system import SystemClock, SystemEntropy

        read = [_read(file) for file in files]
        data_dir = bring_up.data_dir_of(Settings(data=data))
        secrets = Secrets(online=resolve_passphrase(keys_passphrase))
        with hands_on(data_dir, SystemClock(), SystemEntropy(), secrets, _say) as hands:
            done = end(data_dir, read, hands)
    except CountermarkError as error:
        return output.fail(error)
    _report(done, output, published=True)
    return OK


def _keys(sources: Iterable[str], passphrase_file: str) -> "tuple[Key, ...]":
    from countermark.client.keys.reference import public_key
    from countermark.trust.root_keys import tuf_key

    found = []
    for source in sources:
        holder, equals, reference = source.partition("=")
        if not equals or ":" in holder or "/" in holder:
            holder, reference = "", source
        if len(holder) > _MAX_HOLDER or not (holder.isprintable() and holder == holder.strip()):
            raise _usage("the holder's name is not one plain word or two", "shorten it")
        found.append(tuf_key(public_key(reference, asking(passphrase_file)).spki, holder))
    return tuple(found)


def _read(path: str) -> "Ceremony":
    from countermark.client.verify import read_file
    from countermark.trust.ceremony import MAX_CEREMONY_BYTES, Ceremony

    return Ceremony.parse(read_file(path, MAX_CEREMONY_BYTES))


def _write(path: str, ceremony: "Ceremony") -> None:
    from pathlib import Path

    from countermark.drivers.durable import PUBLIC, replace_file

    try:
        replace_file(Path(path).absolute(), ceremony.serialize(), PUBLIC)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def _check_follows(read: "Ceremony", path: str) -> None:
    from countermark.client.verify import read_file
    from countermark.trust.roots import MAX_ROOT_BYTES, parse_root

    known = parse_root(read_file(path, MAX_ROOT_BYTES))
    if known.signed_bytes != parse_root(read.previous).signed_bytes:
        raise RequestRejected(f"the ceremony does not follow the root in {path}")


def _report(ceremony: "Ceremony", output: Output, *, published: bool = False) -> None:
    from countermark.trust.ceremony import name_of

    summary = _summary(ceremony)
    versions = f"root {summary['from']} to {summary['to']}, good until {summary['expires']}"
    output.line(f"{printable(ceremony.url)}: {versions}")
    for role, keys in summary["roles"].items():
        output.line(f"  {role:<9} {keys['threshold']} of: {', '.join(keys['keys'])}")
    for text in summary["changes"]:
        output.line(f"  {output.strong('!')} {text}")
    for name, data in summary["files"].items():
        output.line(f"  file {printable(name)}  sha256:{data}")
    for party in ceremony.wanted():
        names = ", ".join(map(name_of, party.signed)) or "nobody"
        state = f"{party.needed} more must sign" if party.needed else "enough have signed"
        output.line(f"  {party.what} by {party.whose}: signed by {names}; {state}")
    if published:
        output.line(output.good("published"))
    elif ceremony.complete:
        output.advice("All have signed: countermark trust ceremony finish FILE")
    output.result({**summary, "complete": ceremony.complete, "published": published})


def _summary(ceremony: "Ceremony") -> dict[str, Any]:
    import hashlib

    from countermark.trust.ceremony import changes, name_of
    from countermark.trust.roots import role_keys

    old, new = ceremony.old_root, ceremony.new_root
    root = old if new is None else new.signed
    roles = {name: role_keys(root, name) for name in ("root", "targets", "snapshot", "timestamp")}
    return {
        "url": ceremony.url,
        "from": old.version,
        "to": root.version,
        "expires": to_rfc3339(root.expires),
        "roles": {
            name: {"threshold": role.threshold, "keys": [name_of(key) for key in role.keys]}
            for name, role in roles.items()
        },
        "changes": changes(ceremony),
        "files": {
            name: hashlib.sha256(data).hexdigest() for name, data in sorted(ceremony.files.items())
        },
        "signatures": [
            {
                "what": party.what,
                "of": party.whose,
                "signed": [name_of(key) for key in party.signed],
                "missing": [name_of(key) for key in party.missing],
                "needed": party.needed,
            }
            for party in ceremony.wanted()
        ],
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _usage(what: str, advice: str) -> RequestRejected:
    error = RequestRejected(what)
    error.add_note(advice)
    return error
