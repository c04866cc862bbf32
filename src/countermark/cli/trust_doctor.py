# SPDX-License-Identifier: Apache-2.0
"""`countermark trust doctor`: what is wrong with whom one trusts, and what to do."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from countermark.cli.arguments import printable
from countermark.cli.exits import CONFIGURATION, OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.core.errors import CountermarkError, RequestRejected

if TYPE_CHECKING:
    from countermark.client.trust.doctor import Finding
    from countermark.client.trust.sources import Source


@click.command(epilog="Example: countermark trust doctor --for cosign")
@click.option(
    "--for",
    "client",
    metavar="CLIENT",
    default="",
    help="Another client's set-up: cosign, python, js, npm, go, gitsign or policy-controller.",
)
@click.option("--url", metavar="URL", default="", help="One instance; default: all you trust.")
@click.option("--offline", is_flag=True, help="Ask no server.")
@json_option
def doctor(client: str, url: str, offline: bool, as_json: bool) -> int:
    """Say what is wrong with whom you trust, and what to do about it.

    Looks at what is kept and recorded, at who may write there, at the clock, at repositories and
    services, and at what other clients were told. Changes nothing. The exit code is 78 if there is
    an error among the findings.
    """
    output = Output(as_json=as_json)
    try:
        findings = list(_findings(client, url, online=not offline))
    except CountermarkError as error:
        return output.fail(error)
    marks = {"ok": output.good("ok     "), "warning": "warning", "error": output.strong("ERROR  ")}
    for finding in findings:
        output.line(
            f"{marks[finding.grade]}  {printable(finding.about)}: {printable(finding.what)}"
        )
        if finding.todo:
            output.line(f"         → {printable(finding.todo)}")
    errors = sum(finding.grade == "error" for finding in findings)
    output.result({"findings": [finding._asdict() for finding in findings], "errors": errors})
    return CONFIGURATION if errors else OK


def _findings(client: str, url: str, *, online: bool) -> "Iterator[Finding]":
    from countermark.cli.trust_install import surroundings
    from countermark.client.instances import home_dir
    from countermark.client.trust.doctor import examine, examine_registry
    from countermark.client.trust.patients import examine_client
    from countermark.client.trust.peers import CLIENTS

    if client and client not in CLIENTS:
        raise RequestRejected(f"{client!r} is none of {', '.join(CLIENTS)}")
    now = datetime.now(UTC)
    yield from examine_registry(home_dir(), now)
    sources = _sources(url)
    for source in sources:
        # The shipped public instances are asked only if somebody uses them by name.
        ask = online and (source.recorded or bool(url))
        yield from examine(source, datetime.now(UTC), online=ask)
    if not client:
        return
    at = surroundings()
    for source in [source for source in sources if source.recorded]:
        yield from examine_client(client, source, _roots(source), at, now)


def _sources(url: str) -> "list[Source]":
    from countermark.client.trust.sources import all_sources

    sources = all_sources()
    if not url:
        return [source for source in sources if source.recorded] or sources
    wanted = [source for source in sources if source.name == url.rstrip("/")]
    if not wanted:
        raise RequestRejected(f"{url} is not an instance that you trust")
    return wanted


def _roots(source: "Source") -> list[bytes]:
    from countermark.client.trust.kept import read_kept

    kept = read_kept(source.name) if source.versions is not None else None
    return [source.tuf_root_json, *(kept.roots if kept is not None else ())]
