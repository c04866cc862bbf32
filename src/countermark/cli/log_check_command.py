# SPDX-License-Identifier: Apache-2.0
"""`countermark log check` and `log forget`: what logs signed before, and whether they hold it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from countermark.cli.arguments import printable
from countermark.cli.exits import NOT_PROVEN, OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.client.last_seen import SeenLog, everything_seen, forget_seen
from countermark.core.errors import (
    ConsistencyInvalid,
    CountermarkError,
    NotFound,
    RequestRejected,
)

if TYPE_CHECKING:
    from countermark.client.evidence_check import Judgement

_NO_PROOF = "no-proof"


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


@click.command(epilog="Example: countermark log evidence log-1a2b3c4d-0123456789abcdef.json")
@click.argument("file", metavar="FILE")
@click.option(
    "--online", is_flag=True, help="If only the log can show that the trees go together, ask it."
)
@click.option("--trusted-root", metavar="FILE", default="", help="Believe this root, not yours.")
@json_option
def evidence(file: str, online: bool, trusted_root: str, as_json: bool) -> int:
    """Judge evidence against a log that `log check`, `sign` or `verify` wrote, here or elsewhere.

    It counts if a log that one of your trusted roots knows signed both checkpoints, and they are
    two trees of one size, or (--online) the log cannot prove that one extends the other. The exit
    code is 0 if the log lied, 1 if that is not shown.
    """
    from countermark.client.evidence_check import MAX_EVIDENCE_BYTES, OPEN, TWO_TREES, judge
    from countermark.client.verify import read_file, root_from_file

    output = Output(as_json=as_json)
    try:
        root = root_from_file(trusted_root) if trusted_root else None
        found = judge(read_file(file, MAX_EVIDENCE_BYTES), root)
        verdict, why = found.verdict, found.why
        if verdict == OPEN and online:
            verdict, why = _ask(found)
    except CountermarkError as error:
        return output.fail(error)
    except OSError as error:
        return output.fail(RequestRejected(f"{file} cannot be read: {error.strerror}"))
    shown = verdict in (TWO_TREES, _NO_PROOF)
    output.line(f"{'the log lied' if shown else 'nothing is shown'}: {printable(why)}")
    output.line(
        f"  log        {printable(found.log.base_url)}, by the root {printable(found.root)}"
    )
    output.result(
        {
            "shown": shown,
            "verdict": verdict,
            "why": why,
            "log": found.log.base_url,
            "origin": found.log.origin,
            "keyId": found.log.key.public_key.key_id.hex(),
            "root": found.root,
        }
    )
    return OK if shown else NOT_PROVEN


def _ask(found: "Judgement") -> tuple[str, str]:
    """Have the log prove that the larger tree of the evidence extends the smaller one."""
    from countermark.client.evidence_check import NOTHING
    from countermark.client.log_check import prove_extends
    from countermark.client.transport import Transport

    transport = Transport()
    try:
        prove_extends(transport, found.log, found.log.notes[0], found.other)
    except ConsistencyInvalid as error:
        return _NO_PROOF, str(error)
    finally:
        transport.close()
    return NOTHING, "the log proves that one tree extends the other"


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
