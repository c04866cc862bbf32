# SPDX-License-Identifier: Apache-2.0
"""`countermark log`: what a user can ask of logs, and what an operator can do with their own.

A group that imports a command only when it runs; an operator's need the server's parts.
"""

import importlib

import click

_CLIENT = {
    "check": ("countermark.cli.log_check_command:check", "Have logs prove that they are honest."),
    "evidence": (
        "countermark.cli.log_check_command:evidence",
        "Judge what somebody kept against a log.",
    ),
    "forget": ("countermark.cli.log_check_command:forget", "Forget what a log signed."),
}
_SERVER = {
    "info": ("countermark.cli.log_commands:info", "Show where each log of an instance stands."),
    "fsck": ("countermark.cli.log_commands:fsck", "Re-derive an instance's logs and compare."),
    "shard": ("countermark.cli.shard_command:shard", "Freeze logs and open the next ones."),
}
COMMANDS = {**_CLIENT, **_SERVER}


class LogTable(click.Group):
    """Loads what is used, and lists all without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command. Raises SettingsError if it needs a server that is not installed."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in _SERVER:
            from countermark.cli.main import check_server

            check_server()
        module_name, attribute = COMMANDS[cmd_name][0].split(":")
        loaded = getattr(importlib.import_module(module_name), attribute)
        assert isinstance(loaded, click.Command), f"{cmd_name} is no click command"
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list, from the table alone."""
        for heading, table in (("Any log that you met", _CLIENT), ("An instance's own", _SERVER)):
            with formatter.section(heading):
                formatter.write_dl([(name, text) for name, (_, text) in table.items()])


@click.group(cls=LogTable)
def log() -> None:
    """Check logs that you met, and look into those of an instance of this machine."""
