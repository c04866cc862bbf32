# SPDX-License-Identifier: Apache-2.0
"""Exit codes of errors, and the small parser of the lean commands."""

import pytest

from countermark.cli.arguments import Arguments, parse_arguments, printable
from countermark.cli.exits import exit_code
from countermark.core import errors
from countermark.core.errors import CountermarkError, RequestRejected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SignatureInvalid(""), 1),
        (errors.TokenRejected(""), 2),
        (errors.DuplicateEntry("", 1), 2),
        (errors.NotFound(""), 11),
        (errors.FormatError("", ""), 65),
        (errors.UpstreamDown(""), 69),
        (errors.OutcomeUnknown(""), 70),
        (errors.Pushback(""), 75),
        (errors.Conflict(""), 75),
        (errors.SettingsError(""), 78),
        (CountermarkError(""), 70),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_codes(error: CountermarkError, code: int) -> None:
    assert exit_code(error) == code


def parse(*argv: str) -> Arguments:
    return parse_arguments(argv, options=("to", "from"), flags=("loud", "help"))


def test_options_stand_anywhere() -> None:
    arguments = parse("a", "--to", "x", "b", "--from=y=z", "--to=w", "--loud", "--", "--to", "-x")
    assert arguments.operands == ("a", "b", "--to", "-x")
    assert arguments.all("to") == ("x", "w")
    assert arguments.one("from") == "y=z"
    assert arguments.flag("loud")
    assert not arguments.flag("help")
    assert parse("-").operands == ("-",)
    assert parse("-h").flag("help")
    assert parse("--to=--loud").one("to") == "--loud"
    assert parse().one("to") == ""


@pytest.mark.parametrize(
    "argv", [("--no",), ("-l",), ("--loud=1",), ("--to",), ("--to", "--loud"), ("--n=1",)]
)
def test_unknown_options_are_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(RequestRejected):
        parse(*argv)


def test_empty_and_repeated_values_are_refused() -> None:
    for argv in (("--to", ""), ("--to=",), ("--to=a", "--to=b")):
        with pytest.raises(RequestRejected):
            parse(*argv).one("to")


def test_printable() -> None:
    assert printable("naïve — ok") == "naïve — ok"
    assert printable("a\x1b[0m\n\u202eb") == r"a\x1b[0m\n\u202eb"
