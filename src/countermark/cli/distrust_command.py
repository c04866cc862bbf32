# SPDX-License-Identifier: Apache-2.0
"""`countermark trust distrust`: say, signed and logged, what is not to be believed any more."""

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.exits import OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.core.distrust.document import MAX_LIST_BYTES, DistrustList, Entry
from countermark.core.distrust.subject import (
    CertificateHash,
    KeyHash,
    LoggedEntry,
    Package,
    SignerName,
    Subject,
    normal_purl,
)
from countermark.core.encoding import from_hex, from_rfc3339, to_rfc3339
from countermark.core.errors import CountermarkError, RequestRejected, SettingsError, Unavailable

# What publishing takes is imported by the commands that publish.
if TYPE_CHECKING:
    from collections.abc import Callable

    from countermark.app.data_dir import DataDir

_MAX_FILE_BYTES = 64 * 1024
_data_option = click.option("--data", metavar="DIR", default="", help="Where keys and logs are.")
_by_option = click.option("--by", metavar="NAME", default="", help="Who says so; without it, you.")
_passphrase_option = click.option(
    "--keys-passphrase", metavar="FILE", default="", help="Online keys' passphrase (or env:NAME)."
)


@click.group()
def distrust() -> None:
    """Keep the instance's distrust list: keys, identities, entries, packages that turned out bad.

    Whoever believes the instance gets the list through TUF, and verifies nothing that it names.
    The list is in the instance's own log, and nothing ever disappears from it.
    """


@distrust.command(
    epilog="Example: countermark trust distrust add --identity eve@example.org "
    "--from 2026-11-01T00:00:00Z --reason 'stolen laptop'"
)
@click.option(
    "--key",
    metavar="KEY",
    default="",
    help="A key of a signer, a log or an authority: PEM file, or sha256:HEX of its SPKI.",
)
@click.option(
    "--certificate",
    metavar="CERT",
    default="",
    help="One certificate: PEM file, or sha256:HEX of its DER.",
)
@click.option(
    "--identity", metavar="NAME", default="", help="An identity, as certificates have it."
)
@click.option(
    "--issuer",
    metavar="URL",
    default="",
    help="Who vouched for that identity; without it, whoever did.",
)
@click.option(
    "--entry",
    metavar="ENTRY",
    default="",
    help="A log entry: its UUID, or LOGID:INDEX (in hexadecimal and decimal).",
)
@click.option("--bundle", metavar="FILE", default="", help="The log entry in this bundle.")
@click.option(
    "--package", metavar="PURL", default="", help="A version of a package, e.g. pkg:npm/name@1.2.3."
)
@click.option(
    "--from",
    "start",
    metavar="TIME",
    default="",
    help="Signatures proven then or later only (RFC 3339).",
)
@click.option(
    "--until", "end", metavar="TIME", default="", help="Signatures proven then or earlier only."
)
@click.option("--reason", metavar="TEXT", required=True, help="Why; everybody sees it.")
@_by_option
@_data_option
@_passphrase_option
@json_option
def add(
    key: str,
    certificate: str,
    identity: str,
    issuer: str,
    entry: str,
    bundle: str,
    package: str,
    start: str,
    end: str,
    reason: str,
    by: str,
    data: str,
    keys_passphrase: str,
    as_json: bool,
) -> int:
    """Distrust one thing, named in one way; it takes effect at once."""
    output = Output(as_json=as_json)
    try:
        given = {
            "key": key,
            "certificate": certificate,
            "identity": identity,
            "entry": entry,
            "bundle": bundle,
            "package": package,
        }
        subject = _subject(given, issuer)
        window = [from_rfc3339(text, "time") if text else None for text in (start, end)]

        def change(old: DistrustList, now: datetime) -> DistrustList:
            return old.with_entry(subject, reason, by or _me(), now, start=window[0], end=window[1])

        return _change(change, data, keys_passphrase, output)
    except CountermarkError as error:
        return output.fail(error)


@distrust.command(
    epilog="Example: countermark trust distrust remove 3 --reason 'the key was found again'"
)
@click.argument("number", type=click.IntRange(1))
@click.option("--reason", metavar="TEXT", required=True, help="Why; everybody sees it.")
@_by_option
@_data_option
@_passphrase_option
@json_option
def remove(
    number: int, reason: str, by: str, data: str, keys_passphrase: str, as_json: bool
) -> int:
    """Lift entry NUMBER: it stays in the list, with who lifted it and why, and holds no more."""
    output = Output(as_json=as_json)
    try:
        return _change(
            lambda old, now: old.with_lifted(number, reason, by or _me(), now),
            data,
            keys_passphrase,
            output,
        )
    except CountermarkError as error:
        return output.fail(error)


@distrust.command(epilog="Example: countermark trust distrust publish")
@_data_option
@_passphrase_option
@json_option
def publish(data: str, keys_passphrase: str, as_json: bool) -> int:
    """Log and publish the list as it is, should that have failed before."""
    output = Output(as_json=as_json)
    try:
        return _change(lambda old, now: old, data, keys_passphrase, output)
    except CountermarkError as error:
        return output.fail(error)


@distrust.command("list", epilog="Example: countermark trust distrust list --json")
@click.argument("file", required=False)
@_data_option
@json_option
def list_(file: str | None, data: str, as_json: bool) -> int:
    """Show the list of the instance, or one in FILE, with all that was lifted."""
    output = Output(as_json=as_json)
    try:
        from countermark.client.verify import read_file

        path = file or str(_data_dir(data).trust / "distrust.json")
        found = DistrustList.parse(read_file(path, MAX_LIST_BYTES))
    except CountermarkError as error:
        return output.fail(error)
    except OSError as error:
        return output.fail(SettingsError(f"the list cannot be read: {error.strerror}"))
    _report(found, output, {})
    return OK


def _change(
    change: "Callable[[DistrustList, datetime], DistrustList]",
    data: str,
    keys_passphrase: str,
    output: Output,
) -> int:
    from countermark.app import bring_up
    from countermark.app.hands import Secrets, hands_on
    from countermark.app.instance import load_instance
    from countermark.app.secrets import resolve_passphrase
    from countermark.app.trust_files import (
        distrust_is_logged,
        read_distrust,
        write_distrust,
        write_distrust_bundle,
    )
    from countermark.drivers.system import SystemClock, SystemEntropy

    data_dir = _data_dir(data)
    secrets = Secrets(online=resolve_passphrase(keys_passphrase))
    index = None
    try:
        with hands_on(data_dir, SystemClock(), SystemEntropy(), secrets, _say) as hands:
            config = load_instance(data_dir.instance_file)
            old = read_distrust(data_dir, config)
            new = change(old, datetime.now(UTC).replace(microsecond=0))
            if new != old:
                write_distrust(data_dir, new)
            try:
                if not distrust_is_logged(data_dir):
                    logged = hands.log_statement(new.serialize())
                    write_distrust_bundle(data_dir, logged.bundle)
                    index = logged.log_index
            finally:  # logged or not, nobody is to believe what is in it
                hands.publish()
                bring_up.record_anew(data_dir, config)
    except Unavailable as error:
        error.add_note("run countermark trust distrust publish when the instance is well again")
        raise
    except OSError as error:
        raise SettingsError(f"{data_dir.path} cannot be changed: {error.strerror}") from error
    _report(new, output, {"logged": True} if index is None else {"logged": True, "logIndex": index})
    return OK


def _subject(given: dict[str, str], issuer: str) -> Subject:
    named = {way: text for way, text in given.items() if text}
    if len(named) != 1:
        raise _usage("it must be said, in one way, what is distrusted", "see --help")
    if issuer and "identity" not in named:
        raise _usage("--issuer goes with --identity", "leave it out")
    ((way, text),) = named.items()
    if way == "identity":
        return SignerName(text, issuer)
    if way == "package":
        return Package(normal_purl(text))
    if way == "entry":
        return _entry(text)
    if way == "bundle":
        return _entry_of_bundle(text)
    if text.startswith("sha256:"):
        sha256 = from_hex(text.removeprefix("sha256:").lower(), way, length=32)
    else:
        sha256 = _sha256_of(way, text)
    return KeyHash(sha256) if way == "key" else CertificateHash(sha256)


def _sha256_of(way: str, path: str) -> bytes:
    import hashlib

    from countermark.client.keys.reference import public_key
    from countermark.client.verify import read_file
    from countermark.core.crypto.certificate import parse_pem_certificates

    if way == "key":
        return public_key(path).key_id
    text = read_file(path, _MAX_FILE_BYTES).decode("ascii", "replace")
    return hashlib.sha256(parse_pem_certificates(text, path)[0].der).digest()


def _entry(text: str) -> LoggedEntry:
    from countermark.core.encoding import from_decimal
    from countermark.core.rekor.shard import EntryID

    log_id, colon, index = text.partition(":")
    if not colon:
        return LoggedEntry(b"", None, EntryID.parse(text).leaf_hash)
    return LoggedEntry(
        from_hex(log_id.lower(), "log id", length=32), from_decimal(index, "index"), b""
    )


def _entry_of_bundle(path: str) -> LoggedEntry:
    from countermark.client.verify import read_bundle
    from countermark.core.tlog.merkle import leaf_hash

    entries = read_bundle(path).tlog_entries
    if len(entries) != 1:
        raise _usage(f"{path} has {len(entries)} log entries", "name one with --entry UUID")
    return LoggedEntry(b"", None, leaf_hash(entries[0].canonicalized_body))


def _report(found: DistrustList, output: Output, extra: dict[str, Any]) -> None:
    output.line(f"{found.source}: version {found.version}, {to_rfc3339(found.updated)}")
    for entry in found.entries:
        output.line(f"  {entry.number}  {_words(entry)}")
        if entry.lifted is not None:
            at, reason, by = entry.lifted
            output.line(f"     lifted {to_rfc3339(at)} by {by}: {reason}")
    import json

    output.result({**json.loads(found.serialize()), **extra})


def _words(entry: Entry) -> str:
    start = f" from {to_rfc3339(entry.start)}" if entry.start else ""
    end = f" until {to_rfc3339(entry.end)}" if entry.end else ""
    return f"{entry.subject}{start}{end}: {entry.reason} ({entry.by}, {to_rfc3339(entry.added)})"


def _data_dir(data: str) -> "DataDir":
    from countermark.app import bring_up
    from countermark.app.settings import Settings

    return bring_up.data_dir_of(Settings(data=data))


def _me() -> str:
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return f"user {os.getuid()}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _usage(what: str, advice: str) -> RequestRejected:
    error = RequestRejected(what)
    error.add_note(advice)
    return error
