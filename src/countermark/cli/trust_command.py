# SPDX-License-Identifier: Apache-2.0
"""`countermark trust`: whom this user trusts, and the trust root of an instance of one's own.

A group that imports a command only when it runs. A new one is a line in `COMMANDS`.
"""

import importlib
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """A command below `countermark trust`.

    Attributes:
        section: the heading under which `--help` lists it.
        target: ``module:attribute`` of a click command.
        help: one line for the list.
    """

    section: str
    target: str
    help: str


_CLIENT = "Whom to trust"
_OWN = "An instance of your own"
COMMANDS: dict[str, Entry] = {
    "fetch": Entry(
        _CLIENT, "countermark.cli.trust_fetch:fetch", "Learn whom to trust; keep it up to date."
    ),
    "show": Entry(_CLIENT, "countermark.cli.trust_show:show", "Show who is trusted, key by key."),
    "export": Entry(
        _CLIENT, "countermark.cli.trust_export:export", "Write trust into files, for any client."
    ),
    "merge": Entry(
        _CLIENT, "countermark.cli.trust_export:merge", "Put several trusted roots into one file."
    ),
    "install": Entry(
        _CLIENT, "countermark.cli.trust_install:install", "Set another client up for an instance."
    ),
    "uninstall": Entry(_CLIENT, "countermark.cli.trust_install:uninstall", "Undo exactly that."),
    "doctor": Entry(
        _CLIENT, "countermark.cli.trust_doctor:doctor", "Say what is wrong, and what to do."
    ),
    "forget": Entry(_CLIENT, "countermark.cli.trust_fetch:forget", "Trust an instance no longer."),
    "ceremony": Entry(
        _OWN, "countermark.cli.ceremony_command:ceremony", "Sign the next TUF root, m of n people."
    ),
    "distrust": Entry(
        _OWN, "countermark.cli.distrust_command:distrust", "Say what is not to be believed."
    ),
    "rotate": Entry(
        _OWN, "countermark.cli.rotate_command:rotate", "Change a service's key, without a gap."
    ),
}


class TrustTable(click.Group):
    """Loads what is used, and lists all without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module_name, attribute = entry.target.split(":")
        loaded = getattr(importlib.import_module(module_name), attribute)
        assert isinstance(loaded, click.Command), f"{entry.target} is no click command"
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list by section, from the table alone."""
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                rows = [(n, e.help) for n, e in COMMANDS.items() if e.section == section]
                formatter.write_dl(rows)


@click.group(cls=TrustTable)
def trust() -> None:
    """Say whom you trust, keep that up to date, and hand it to other clients."""
