# SPDX-License-Identifier: Apache-2.0
"""Our errors as HTTP replies: the one table of statuses.

A service whose wire API fixes its own codes and bodies answers them itself; what it lets
through ends here.
"""

import json
from typing import Final

from starlette.types import Scope

from countermark.core.errors import (
    AlgorithmRefused,
    Conflict,
    CountermarkError,
    DuplicateEntry,
    FormatError,
    NotFound,
    PossessionUnproven,
    Pushback,
    RequestRejected,
    TokenRejected,
    Unavailable,
    VerificationError,
)
from countermark.httpkit.body import BodyTooLarge
from countermark.httpkit.replies import NO_STORE, BytesReply, json_bytes_reply

STATUS: Final[dict[type[CountermarkError], int]] = {
    FormatError: 400,
    TokenRejected: 401,
    PossessionUnproven: 403,
    AlgorithmRefused: 422,
    DuplicateEntry: 409,
    BodyTooLarge: 413,
    RequestRejected: 422,
    VerificationError: 422,
    NotFound: 404,
    Unavailable: 503,
    Conflict: 409,
    CountermarkError: 500,
}
_RETRY_AFTER_S: Final = 1


def status_of(error: CountermarkError) -> int:
    """The status of an error's class, or of the nearest class above it that has one."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def problem_reply(error: CountermarkError) -> BytesReply:
    """An error as JSON: status in `code`, our slug in `error`, one sentence in `message`.

    Faults of ours are not described to strangers.
    """
    status = status_of(error)
    message = str(error) if status != 500 else "Internal error"
    headers = {}
    if isinstance(error, Unavailable):
        wait_s = error.retry_after_s if isinstance(error, Pushback) else _RETRY_AFTER_S
        headers["retry-after"] = str(wait_s)
    return json_bytes_reply(problem_body(status, message, error.code), status, headers)


def problem_body(status: int, message: str, slug: str = "") -> bytes:
    """The JSON of a problem."""
    problem: dict[str, str | int] = {"code": status, "message": message}
    if slug:
        problem["error"] = slug
    return json.dumps(problem, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def unknown_path(scope: Scope) -> BytesReply:
    """404 for a path that nothing serves, as Rekor v1 words it."""
    message = f"path {scope['path'][:200]} was not found"
    return json_bytes_reply(problem_body(404, message), 404, NO_STORE)


def wrong_method(scope: Scope, allowed: set[str]) -> BytesReply:
    """405 for a path that other methods may use."""
    message = f"method {scope['method']} is not allowed"
    headers = {"allow": ", ".join(sorted(allowed))}
    return json_bytes_reply(problem_body(405, message), 405, headers)
