# SPDX-License-Identifier: Apache-2.0
"""Where commands get passphrases and PINs: a file, a variable, or the person at the terminal."""

import os
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from countermark.client.keys.asking import Asking
from countermark.core.errors import RequestRejected, SettingsError

VARIABLES: Final = ("COUNTERMARK_PASSWORD", "COSIGN_PASSWORD")
_MAX_BYTES: Final = 4096
F = TypeVar("F", bound=Callable[..., Any])


def passphrase_option(command: F) -> F:
    """Add ``--passphrase-file``."""
    return click.option(
        "--passphrase-file",
        metavar="FILE",
        default="",
        help="Passphrase or PIN in its first line; '-' for stdin.",
    )(command)


def asking(passphrase_file: str) -> Asking:
    """How to open a key that exists."""

    def passphrase(what: str) -> bytes:
        given = _given(passphrase_file)
        return _prompt(f"Passphrase of {what}") if given is None else given

    def pin(what: str) -> str:
        # Never from the variables for passphrases: a token locks itself after a few wrong PINs.
        given = _first_line(passphrase_file) if passphrase_file else _prompt(f"PIN of {what}")
        try:
            return given.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SettingsError(f"the PIN of {what} is not UTF-8") from error

    return Asking(passphrase, pin, _notice)


def new_passphrase(passphrase_file: str, what: str) -> bytes:
    """A passphrase for a key that is being made; asked twice. May be empty if a variable is."""
    given = _given(passphrase_file)
    if given is not None:
        return given
    first = _prompt(f"New passphrase of {what}")
    if not first:
        error = RequestRejected("the passphrase is empty")
        error.add_note("--no-passphrase makes a key that is not encrypted")
        raise error
    if first != _prompt("Once more"):
        raise RequestRejected("the two passphrases differ")
    return first


def _given(passphrase_file: str) -> bytes | None:
    if passphrase_file:
        return _first_line(passphrase_file)
    for name in VARIABLES:
        if name in os.environ:  # empty too, as with cosign
            return os.fsencode(os.environ[name])
    return None


def _first_line(path: str) -> bytes:
    try:
        if path == "-":
            data = sys.stdin.buffer.readline(_MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.readline(_MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    line = data.rstrip(b"\r\n")
    if not line or len(line) > _MAX_BYTES:
        raise SettingsError(f"{path} holds no passphrase in its first line")
    return line


def _prompt(question: str) -> bytes:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        error = SettingsError(f"nobody can be asked: {question}")
        error.add_note(f"use --passphrase-file, or for passphrases the variable {VARIABLES[0]}")
        raise error
    import getpass

    return getpass.getpass(f"{question}: ", sys.stderr).encode("utf-8")


def _notice(message: str) -> None:
    print(f"countermark: note: {message}", file=sys.stderr)
