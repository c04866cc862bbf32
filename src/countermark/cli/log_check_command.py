# SPDX-License-Identifier: Apache-2.0
"""`countermark log check` and `log forget`: what logs signed before, and whether they hold it."""

from collections.abc import Sequence

import click

from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.client.last_seen import SeenLog, everything_seen, forget_seen
from countermark.core.errors import CountermarkError, NotFound


@click.command(
    epilog="Example: countermark log check https://rekor.sigstore.dev"
    " (what shows that a log lied is kept in a file, for others to check)"
)
@click.argument("logs", metavar="[LOG...]", nargs=-1)
@json_option
def check(logs: tuple[str, ...], as_json: bool) -> int:
    """Have logs prove that they still hold all that they signed before.

    Verifying and signing remember the newest checkpoint of every log. This asks each LOG, by
    address or origin (all of them without), for its newest one, and for proof that it extends
    those. A log that took entries back, rewrote its history or gives no proof is refused (1).
    """
    output = Output(as_json=as_json)
    try:
        chosen = _chosen(logs)
    except CountermarkError as error:
        return output.fail(error)
    if not chosen:
        output.line("no log was met yet: verify or sign something first")
    from countermark.cli.logs_online import ask_logs

    rows, code = ask_logs([(seen, ()) for seen in chosen], output)
    output.result({"logs": rows})
    return code


@click.command(epilog="Example: countermark log forget http://localhost:7446")
@click.argument("logs", metavar="LOG...", nargs=-1, required=True)
@json_option
def forget(logs: tuple[str, ...], as_json: bool) -> int:
    """Forget what LOG (its address or origin) signed before.

    For logs that are gone. One that lied can do so again once it is forgotten.
    """
    output = Output(as_json=as_json)
    try:
        chosen = _chosen(logs)
        for seen in chosen:
            forget_seen(seen)
            output.line(f"forgot {seen.base_url} ({seen.origin})")
    except CountermarkError as error:
        return output.fail(error)
    output.result({"forgotten": [{"log": one.base_url, "origin": one.origin} for one in chosen]})
    return 0


def _chosen(wanted: Sequence[str]) -> list[SeenLog]:
    logs = everything_seen()
    if not wanted:
        return logs
    for name in wanted:
        if not any(name.rstrip("/") in (seen.base_url.rstrip("/"), seen.origin) for seen in logs):
            error = NotFound(f"no log {name} was met yet")
            error.add_note("`countermark log check` without a LOG lists and checks all")
            raise error
    names = {name.rstrip("/") for name in wanted}
    return [seen for seen in logs if names & {seen.base_url.rstrip("/"), seen.origin}]
