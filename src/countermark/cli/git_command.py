# SPDX-License-Identifier: Apache-2.0
"""`countermark git …`: sign and verify commits and tags, and set Git up to do so."""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import BinaryIO

import click

from countermark.cli.git_expected import WHO
from countermark.cli.git_verify import HELP, run
from countermark.cli.options import F, json_option
from countermark.cli.output import Output
from countermark.core.errors import CountermarkError, SettingsError

_PROGRAM = "countermark-git"
_PATHS = ("policy", "trusted-root", "trust-config", "signing-config")
_SETTINGS = (
    ("--identity", "NAME", "Expect this signer when verifying; repeat for several.", True),
    ("--issuer", "URL", "… and this provider to have vouched for them.", False),
    ("--identity-regex", "RE", "Instead of --identity: a pattern.", False),
    ("--issuer-regex", "RE", "Instead of --issuer: a pattern.", False),
    ("--repository", "URL", "What else certificates must say: the repository …", True),
    ("--workflow", "PATH", "… the workflow, …", True),
    ("--extension", "NAME=VALUE", "… and any other claim.", True),
    ("--policy", "FILE", "A policy that says all this.", False),
    ("--instance", "NAME", "Sign with and believe 'public', 'staging' or an instance.", False),
    ("--url", "URL", "The same, for an instance that you know.", False),
    ("--trust-config", "FILE", "The same, by its ClientTrustConfig.", False),
    ("--trusted-root", "FILE", "The same, by its trusted root …", False),
    ("--signing-config", "FILE", "… and its signing config.", False),
    ("--email", "ADDRESS", "Sign as ADDRESS; own instance only.", False),
)


class _LeanVerify(click.Command):
    """`verify` has a start of its own (`entry`); here it is listed and reached all the same."""

    def get_help(self, ctx: click.Context) -> str:
        """The text that the lean command prints."""
        return HELP.rstrip("\n")


@click.group()
def git() -> None:
    """Sign commits and tags as yourself, and check who did.

    `countermark git setup` makes Git sign with countermark. Signatures carry their log entry, so
    they verify offline, for ever; gitsign reads them, and countermark reads gitsign's.
    """


_scope_option = click.option(
    "--global/--local", "everywhere", help="In your own configuration, or in this repository's."
)


def _settings(command: F) -> F:
    for name, metavar, text, multiple in reversed(_SETTINGS):
        command = click.option(name, metavar=metavar, multiple=multiple, help=text)(command)
    return command


@git.command(
    epilog="countermark git setup --identity me@example.org --issuer https://issuer.example"
)
@_scope_option
@_settings
@click.option("--timestamps", is_flag=True, help="Have signatures timestamped too.")
@click.option("--cache", is_flag=True, help="Log in once for several commits (see `git cache`).")
@click.option("--no-sign", is_flag=True, help="Verify only; do not sign commits and tags.")
@click.option("--replace", is_flag=True, help="Replace another program; `unset` puts it back.")
@json_option
def setup(
    everywhere: bool,
    timestamps: bool,
    cache: bool,
    no_sign: bool,
    replace: bool,
    as_json: bool,
    **named: str | tuple[str, ...] | None,
) -> int:
    """Make Git sign and verify with countermark, here or everywhere.

    Whom to expect is what makes `git verify-commit` say more than that somebody signed.
    """
    from countermark.client.git.setup import set_up

    output, scope = Output(as_json=as_json), _scope(everywhere)
    options: dict[str, Sequence[str]] = {}
    for field, value in named.items():
        if value:
            option = field.replace("_", "-")
            values = (value,) if isinstance(value, str) else value
            options[option] = [_absolute(option, item) for item in values]
    options |= {"timestamps": ["true"]} if timestamps else {}
    options |= {"cache": ["true"]} if cache else {}
    try:
        written = set_up(scope, _program(), options, sign=not no_sign, replace=replace)
    except CountermarkError as error:
        return output.fail(error)
    output.result({"scope": scope[2:], "written": written})
    where = "your own configuration" if everywhere else "this repository"
    does = "verifies" if no_sign else "signs and verifies"
    output.line(f"Git {does} with countermark now ({where})")
    if not any(option in options for option in WHO):
        output.advice("say whom to expect: add --identity NAME --issuer URL")
    return 0


@git.command(epilog="countermark git unset --global")
@_scope_option
@json_option
def unset(everywhere: bool, as_json: bool) -> int:
    """Undo what `setup` did, and put back what it replaced."""
    from countermark.client.git.setup import unset as undo

    output, scope = Output(as_json=as_json), _scope(everywhere)
    try:
        touched = undo(scope)
    except CountermarkError as error:
        return output.fail(error)
    output.result({"scope": scope[2:], "removed": touched})
    output.line("Git signs as before" if touched else "Git was not set up here")
    return 0


@git.command(epilog="git cat-file commit HEAD | countermark git sign")
@click.argument("file", required=False, type=click.File("rb"), default="-")
@click.option("--email", metavar="ADDRESS", default="", help="Sign as ADDRESS; own instance only.")
@json_option
def sign(file: BinaryIO, email: str, as_json: bool) -> int:
    """Print a signature of the commit or tag in FILE (default: what is read), for scripts.

    Git itself runs `countermark-git`, which does the same as Git asks for it.
    """
    from countermark.cli.git_program import read_payload
    from countermark.cli.git_sign import sign_as_configured
    from countermark.client.git.settings import load_settings

    output = Output(as_json=as_json)
    try:
        made = sign_as_configured(read_payload(file), load_settings(), email=email)
    except CountermarkError as error:
        return output.fail(error)
    output.result({"signature": made.armoured, **made.signed.evidence.to_json()})
    if not as_json:
        print(made.armoured, end="")
    return 0


@git.command(
    cls=_LeanVerify,
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def verify(words: tuple[str, ...]) -> int:
    """Check who signed commits and tags, offline."""
    return run(words)


@git.command(epilog="countermark git cache start")
@click.argument("action", type=click.Choice(["start", "status", "stop"]))
@json_option
def cache(action: str, as_json: bool) -> int:
    """Keep keys and certificates for the minutes that they live, so that one login is enough.

    A process of your own makes the keys and signs with them; they are never on a disk, and leave
    it in no other way. `git setup --cache` starts it when it is needed.
    """
    from countermark.client.credential_cache import running_cache, start_cache

    output = Output(as_json=as_json)
    try:
        if action == "start":
            start_cache()
            output.line("the credential cache runs")
            output.result({"running": True})
            return 0
        found = running_cache()
        held = found.status() if found is not None else []
        if found is not None and action == "stop":
            found.stop()
    except CountermarkError as error:
        return output.fail(error)
    if action == "stop":
        output.line("stopped" if found is not None else "no credential cache runs")
        output.result({"running": False})
        return 0
    output.result({"running": found is not None, "held": held})
    if found is None:
        output.line("no credential cache runs")
    for item in held:
        output.line(
            f"{item['identity']} ({item['issuer']}), until {item['expires']},"
            f" {item['signatures']} signatures"
        )
    if found is not None and not held:
        output.line("the credential cache runs, and holds nothing")
    return 0


def _scope(everywhere: bool) -> str:
    return "--global" if everywhere else "--local"


def _program() -> str:
    """Where `countermark-git` is. Raises SettingsError."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.executable)), _PROGRAM)
    for found in (beside, shutil.which(_PROGRAM)):
        if found and os.path.isabs(found) and os.access(found, os.X_OK):
            return found
    raise SettingsError(f"{_PROGRAM} is not installed beside countermark")


def _absolute(option: str, value: str) -> str:
    return os.path.abspath(value) if option in _PATHS else value
