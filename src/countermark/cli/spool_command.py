# SPDX-License-Identifier: Apache-2.0
"""`countermark spool …`: signatures that wait for the log, as `sign --spool` leaves them."""

import click

from countermark.cli.arguments import printable
from countermark.cli.exits import OK, TRY_AGAIN, exit_code
from countermark.cli.options import choice_from, instance_options, json_option
from countermark.cli.output import Output, describe
from countermark.cli.signing import read_timeout, signed_row, who
from countermark.client.deadline import Deadline
from countermark.client.sign import DEFAULT_TIMEOUT_S
from countermark.client.spool import Spool
from countermark.client.transport import Transport
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import (
    Conflict,
    CountermarkError,
    NotFound,
    RequestRejected,
    Unavailable,
)


@click.group(epilog="Example: countermark sign --spool app.tar.gz; countermark spool flush")
def spool() -> None:
    """Look after signatures that wait for the log.

    `countermark sign --spool` leaves a signature here if the log does not answer: made and
    timestamped, and good as soon as the log has it.
    """


@spool.command("list")
@json_option
def show(as_json: bool) -> int:
    """Show what waits, the oldest first."""
    output, kept = Output(as_json=as_json), Spool()
    rows, code = [], OK
    for number in kept.numbers():
        try:
            waiting = kept.get(number)
        except NotFound:  # flushed meanwhile
            continue
        except CountermarkError as error:
            code = code or output.fail(error) if not as_json else exit_code(error)
            rows.append({"number": number, "error": {"code": error.code, "message": str(error)}})
            continue
        since = to_rfc3339(waiting.since)
        rows.append(
            {
                "number": number,
                "file": waiting.file,
                "bundle": waiting.target,
                "instance": waiting.instance_name,
                "since": since,
            }
        )
        output.line(printable(f"{number}  {since}  {waiting.file} → {waiting.target}"))
    output.result({"waiting": rows})
    if not rows:
        output.line("nothing waits")
    return code


@spool.command(epilog="Example: countermark spool flush --timeout 5m")
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1)
@click.option(
    "--timeout",
    metavar="TIME",
    default=f"{DEFAULT_TIMEOUT_S:.0f}s",
    show_default=True,
    callback=read_timeout,
    help="How long the log may take for one signature, all tries together.",
)
@instance_options
@json_option
def flush(numbers: tuple[str, ...], timeout: float, as_json: bool, **instance: str) -> int:
    """Log what waits, verify it, write the bundles.

    A bundle that does not verify is not written, and its signature stays. Running it again, or
    twice at the same time, does no harm. Another instance than the one that was signed with can
    be named, for instance when its log has moved.
    """
    output, kept, transport = Output(as_json=as_json), Spool(), Transport()
    choice = choice_from(instance)
    done, failed, code, away = [], [], OK, False
    for number in dict.fromkeys(numbers or kept.numbers()):
        try:
            budgeted = transport.until(Deadline.after(timeout))
            waiting = kept.get(number)
            signed = kept.flush(number, budgeted, choice=choice)
        except CountermarkError as error:
            if not numbers and isinstance(error, NotFound | Conflict):
                continue  # another process had it
            message, hint = describe(error)
            failed.append(
                {"number": number, "error": {"code": error.code, "message": message, "hint": hint}}
            )
            if not as_json:
                output.fail(error)
            away = isinstance(error, Unavailable)
            code = code or (TRY_AGAIN if away else exit_code(error))
            if away:
                break  # the log will not answer the others either
            continue
        done.append(signed_row(waiting.file, waiting.target, signed))
        output.line(
            f"{output.good('signed')} {printable(waiting.file)} as"
            f" {output.strong(printable(who(signed)))}"
            f" (log index {done[-1]['logIndex']}) → {printable(waiting.target)}"
        )
    left = len(kept.numbers())
    output.result({"signed": done, "failed": failed, "waiting": left})
    if away:
        output.line(f"the log is still away; {left} signatures wait")
    elif not done and not failed:
        output.line("nothing waits")
    return code


@spool.command()
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Forget all that waits.")
@json_option
def drop(numbers: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Forget signatures; they will never be logged. Sign the files again if they matter."""
    output, kept = Output(as_json=as_json), Spool()
    dropped: list[str] = []
    try:
        if bool(numbers) == everything:
            raise RequestRejected("say which ones, by number, or --all")
        for number in kept.numbers() if everything else dict.fromkeys(numbers):
            kept.drop(number)
            dropped.append(number)
            output.line(f"dropped {number}")
    except CountermarkError as error:
        return output.fail(error, partial={"dropped": dropped})
    output.result({"dropped": dropped})
    return OK
