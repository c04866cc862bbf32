# SPDX-License-Identifier: Apache-2.0
"""`countermark trust show`: who is trusted, key by key, and where that comes from."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.arguments import printable
from countermark.cli.exits import CONFIGURATION, OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError

if TYPE_CHECKING:
    from countermark.client.trust.sources import Source

_KINDS = {
    "log": "log",
    "certificate-authority": "CA",
    "ct-log": "CT log",
    "timestamp-authority": "timestamps",
}


@click.command(epilog="Example: countermark trust show https://sigstore.example.org --json")
@click.argument("names", metavar="[URL|FILE...]", nargs=-1)
@json_option
def show(names: tuple[str, ...], as_json: bool) -> int:
    """Show who is trusted: every CA, log, CT log and timestamp authority.

    Without names: all that `verify` chooses among, and the staging instance, which is only
    believed when it is named. What is kept of TUF repositories is checked again, without a
    network; the exit code is 78 if some of it does not hold.
    """
    output = Output(as_json=as_json)
    from countermark.client.trust.sources import all_sources, named_source

    now = datetime.now(UTC)
    try:
        sources = [named_source(name) for name in names] if names else all_sources()
        shown = [_show(output, source, now) for source in sources]
    except CountermarkError as error:
        return output.fail(error)
    output.result({"sources": shown})
    return CONFIGURATION if any(source.fault for source in sources) else OK


def _show(output: Output, source: "Source", now: datetime) -> dict[str, Any]:
    from countermark.client.trust.showing import parties

    found = parties(source.trusted_root)
    output.line(f"{output.strong(printable(source.name))}")
    output.line(f"  from        {printable(source.origin)}")
    if source.own:
        output.line("  believed    about identities of its own login, unless it is named")
    if source.fault:
        output.line(f"  NOT HELD    {printable(source.fault)}")
    for line in _metadata(source, now):
        output.line(line)
    for party in found:
        end = party.validity.end
        until = f"to {end:%Y-%m-%d}" if end is not None else "on"
        operator = f"  operator {party.operator}" if party.operator else ""
        state = "" if party.active(now) else "  (not for new signatures)"
        output.line(
            f"  {_KINDS[party.kind]:<11} {printable(party.name)}  {printable(party.key)}"
            f"  {party.key_id[:16]}  from {party.validity.start:%Y-%m-%d} {until}"
            f"{printable(operator)}{state}"
        )
    return {
        "name": source.name,
        "origin": source.origin,
        "tuf": source.tuf_url or None,
        "versions": source.versions._asdict() if source.versions else None,
        "expires": to_rfc3339(source.expires) if source.expires else None,
        "expired": source.expires is not None and source.expires <= now,
        "ownLoginOnly": source.own,
        "fault": source.fault or None,
        "parties": [party.to_json() for party in found],
    }


def _metadata(source: "Source", now: datetime) -> list[str]:
    if source.versions is None or source.expires is None:
        return []
    lines = [f"  metadata    root {source.versions.root}, timestamp {source.versions.timestamp}"]
    if source.expires <= now:
        lines.append(
            f"  EXPIRED     metadata expired on {source.expires:%Y-%m-%d}; the root is used as it"
            " was known then"
        )
    else:
        lines.append(f"  good until  {source.expires:%Y-%m-%d %H:%M} UTC")
    return lines
