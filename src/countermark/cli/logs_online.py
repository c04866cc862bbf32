# SPDX-License-Identifier: Apache-2.0
"""Asking logs to prove that they still hold what they signed, and telling what came of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from countermark.cli.arguments import printable
from countermark.cli.exits import OK, exit_code
from countermark.cli.output import Output, describe
from countermark.client.last_seen import SeenLog
from countermark.client.log_check import Checked, check_log
from countermark.client.transport import Transport
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import ConsistencyInvalid, CountermarkError


def ask_logs(
    logs: Sequence[tuple[SeenLog, Sequence[str]]], output: Output
) -> tuple[list[dict[str, Any]], int]:
    """Ask each log about what is remembered of it and some more checkpoints.

    Gives a row for each, for programs, and the exit code: that of a log that lied, if any did.
    """
    transport = Transport()
    rows: list[dict[str, Any]] = []
    codes: list[tuple[bool, int]] = []
    for seen, also in logs:
        row: dict[str, Any] = {"log": seen.base_url, "origin": seen.origin}
        try:
            checked = check_log(transport, seen, also=also)
        except CountermarkError as error:
            message, hint = describe(error)
            code = exit_code(error)
            codes.append((isinstance(error, ConsistencyInvalid), code))
            row |= {"consistent": False if codes[-1][0] else None}
            row["error"] = {"code": error.code, "message": message, "hint": hint, "exit": code}
            output.line(f"{printable(seen.base_url)}: NOT shown to be honest: {printable(message)}")
            if hint:
                output.line(f"  {printable(hint)}")
        else:
            row |= _proven(checked)
            output.line(_told(checked))
        rows.append(row)
    transport.close()
    return rows, max(codes)[1] if codes else OK


def _proven(checked: Checked) -> dict[str, Any]:
    return {
        "consistent": True,
        "treeSize": checked.head.tree_size,
        "rootHash": checked.head.root_hash.hex(),
        "extends": list(checked.earlier),
        "at": to_rfc3339(datetime.fromtimestamp(checked.log.proven_at_s, UTC)),
    }


def _told(checked: Checked) -> str:
    sizes = ", ".join(map(str, checked.earlier))
    return (
        f"{printable(checked.log.base_url)}: {checked.head.tree_size} entries, which extend"
        f" those that it signed before ({sizes})"
    )
