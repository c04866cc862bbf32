# SPDX-License-Identifier: Apache-2.0
"""The command group: one table of commands, each loaded when it is used.

A new command is a line in `COMMANDS`. What it does lives in a module of its own.
"""

import importlib
import importlib.util
from typing import NamedTuple

import click

from countermark.cli.exits import OK, USAGE
from countermark.cli.output import Output
from countermark.core.errors import CountermarkError, RequestRejected, SettingsError


class Entry(NamedTuple):
    """A command of the table.

    Attributes:
        section: the heading under which `--help` lists it.
        target: ``module:attribute`` of a click command, or of a ``run(argv) -> int``.
        help: one line for the list.
    """

    section: str
    target: str
    help: str


_SIGN, _RUN = "Sign and verify", "Run an instance"
COMMANDS: dict[str, Entry] = {
    "sign": Entry(_SIGN, "countermark.cli.sign_command:sign", "Sign files as yourself."),
    "attest": Entry(
        _SIGN, "countermark.cli.attest_command:attest", "Sign a statement about files."
    ),
    "spool": Entry(
        _SIGN, "countermark.cli.spool_command:spool", "Look after signatures that wait for a log."
    ),
    "verify": Entry(
        _SIGN, "countermark.cli.verify_command:run", "Check who signed files, offline."
    ),
    "inspect": Entry(
        _SIGN, "countermark.cli.inspect_command:run", "Show what a bundle holds, unjudged."
    ),
    "endorse": Entry(
        _SIGN, "countermark.cli.endorse_command:endorse", "Vouch for what others signed."
    ),
    "git": Entry(_SIGN, "countermark.cli.git_command:git", "Sign and check commits and tags."),
    "login": Entry(_SIGN, "countermark.cli.login_command:login", "Say who you are."),
    "trust": Entry(
        _SIGN, "countermark.cli.trust_command:trust", "Say whom you trust; keep it up to date."
    ),
    "log": Entry(_SIGN, "countermark.cli.log_group:log", "Check logs, and look into your own."),
    "signers": Entry(
        _SIGN, "countermark.cli.signers_command:signers", "Look after remembered signers."
    ),
    "continuity": Entry(
        _SIGN, "countermark.cli.continuity_command:continuity", "Compare who signed releases."
    ),
    "policy": Entry(_SIGN, "countermark.cli.policy_command:policy", "Check policy files."),
    "key": Entry(_SIGN, "countermark.cli.key_command:key", "Make and show keys of your own."),
    "demo": Entry(
        _RUN, "countermark.cli.demo_command:demo", "Sign and verify a file, start to end."
    ),
    "up": Entry(_RUN, "countermark.cli.serve_commands:up", "Bring up an instance, and keep it."),
    "init": Entry(_RUN, "countermark.cli.serve_commands:init", "Create an instance's data only."),
    "status": Entry(
        _RUN, "countermark.cli.serve_commands:status", "Show whether an instance is well."
    ),
    "backup": Entry(
        _RUN, "countermark.cli.backup_commands:backup", "Copy an instance, running or not."
    ),
    "restore": Entry(
        _RUN, "countermark.cli.backup_commands:restore", "Make an instance out of a backup."
    ),
}
_SERVER_MODULES = frozenset(
    (
        "httptools",
        "jinja2",
        "jwt",
        "rocksdict",
        "securesystemslib",
        "starlette",
        "uvicorn",
        "uvloop",
    )
)


class CommandTable(click.Group):
    """A group that imports a command only when it runs, and lists all without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command. Raises SettingsError if it needs a server that is not installed."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module_name, attribute = entry.target.split(":")
        if entry.section == _RUN:
            check_server()
        loaded = getattr(importlib.import_module(module_name), attribute)
        assert isinstance(loaded, click.Command), f"{entry.target} is no click command"
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list by section, from the table alone."""
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [
                        (name, entry.help)
                        for name, entry in COMMANDS.items()
                        if entry.section == section
                    ]
                )


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="countermark", message="countermark %(version)s")
def cli() -> None:
    """A whole Sigstore in one program: sign, certify, log, timestamp and verify."""


def run(arguments: list[str]) -> int:
    """Run a command line without its program name; returns the exit code."""
    try:
        result = cli.main(arguments, prog_name="countermark", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return USAGE if arguments else OK
    except click.UsageError as error:
        return _usage(error, arguments)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CountermarkError as error:
        return Output(as_json="--json" in arguments).fail(error)
    return result if isinstance(result, int) else OK


def check_server() -> None:
    """Before `up` has made anything: its parts live in other processes, which would fail late."""
    if not all(importlib.util.find_spec(name) for name in _SERVER_MODULES):
        missing = SettingsError("this needs the server, and only the client is installed")
        missing.add_note("pip install 'countermark[server]'")
        raise missing


def _usage(error: click.UsageError, arguments: list[str]) -> int:
    """One sentence and where to read on, as for every other error."""
    message = error.format_message().rstrip(".")
    command = f" {arguments[0]}" if arguments and arguments[0] in COMMANDS else ""
    refusal = RequestRejected(f"{message[:1].lower()}{message[1:]}")
    refusal.add_note(f"see `countermark{command} --help`")
    return Output(as_json="--json" in arguments).fail(refusal)
