# SPDX-License-Identifier: Apache-2.0
"""Exit codes of every command, and which error leads to which."""

from countermark.core.errors import (
    Conflict,
    CountermarkError,
    FormatError,
    InvariantBroken,
    NoneMatches,
    NotFound,
    Pushback,
    RequestRejected,
    SettingsError,
    Unavailable,
    VerificationError,
)

OK = 0
NOT_PROVEN = 1
USAGE = 2
NO_SIGNATURE = 10
NO_ARTIFACT = 11
NONE_MATCHES = 12
MALFORMED = 65
SERVICE_UNAVAILABLE = 69
INTERNAL = 70
TRY_AGAIN = 75
CONFIGURATION = 78

# The first class that fits decides, so a subclass stands before its base.
_CODES: tuple[tuple[type[CountermarkError], int], ...] = (
    (FormatError, MALFORMED),
    (NoneMatches, NONE_MATCHES),
    (VerificationError, NOT_PROVEN),
    (RequestRejected, USAGE),
    (NotFound, NO_ARTIFACT),
    (Pushback, TRY_AGAIN),
    (Unavailable, SERVICE_UNAVAILABLE),
    (Conflict, TRY_AGAIN),
    (InvariantBroken, INTERNAL),
    (SettingsError, CONFIGURATION),
)


def exit_code(error: CountermarkError) -> int:
    """The exit code for an error; one that nobody listed is our fault."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return INTERNAL
