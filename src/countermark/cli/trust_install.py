# SPDX-License-Identifier: Apache-2.0
"""`countermark trust install` and `uninstall`: set other clients up for an instance, and back."""

import os
from typing import TYPE_CHECKING

import click

from countermark.cli.arguments import printable
from countermark.cli.exits import OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.core.errors import CountermarkError, NotFound, RequestRejected, SettingsError

if TYPE_CHECKING:
    from countermark.client.trust.peers import Anchor, Surroundings
    from countermark.client.trust.sources import Source

_CLIENTS = "cosign, python, js, npm, go, gitsign or policy-controller"
_client_option = click.option("--for", "client", metavar="CLIENT", required=True, help=_CLIENTS)


@click.command(
    epilog="Example: countermark trust install --for cosign --url https://sigstore.example.org"
)
@_client_option
@click.option("--url", metavar="URL", default="", help="The instance, if you trust several.")
@click.option("--replace", is_flag=True, help="Set aside files that say something else.")
@json_option
def install(client: str, url: str, replace: bool, as_json: bool) -> int:
    """Set another Sigstore client up for an instance, or say how.

    The instance must be trusted already: brought up on this machine, or fetched. Clients that
    speak TUF get the newest root that was verified, and fetch and verify the rest themselves.
    What is written is noted, and `countermark trust uninstall` undoes exactly that.
    """
    output = Output(as_json=as_json)
    from countermark.client.trust.installing import install as carry_out
    from countermark.client.trust.peers import plan_for

    try:
        source = chosen_source(url)
        plan = plan_for(client, source, anchor_of(source), surroundings())
        done = carry_out(client, source.name, plan, replace=replace).done if plan.steps else ()
    except CountermarkError as error:
        return output.fail(error)
    written = [item.path for item in done if item.kind != "folder"]
    for path in written:
        output.line(f"wrote {path}")
    for line in plan.how:
        output.line(line if client == "policy-controller" else printable(line))
    output.result({"client": client, "url": source.name, "written": written, "how": list(plan.how)})
    return OK


@click.command(epilog="Example: countermark trust uninstall --for cosign")
@_client_option
@click.option("--url", metavar="URL", default="", help="The instance, if there are several.")
@json_option
def uninstall(client: str, url: str, as_json: bool) -> int:
    """Undo what `trust install` did, and nothing else.

    What it wrote is removed and what it set aside put back. What was changed since by somebody
    else is left as it is, and named.
    """
    output = Output(as_json=as_json)
    from countermark.client.trust.installing import uninstall as undo

    try:
        entry, left = undo(client, url.rstrip("/"))
    except CountermarkError as error:
        return output.fail(error)
    output.line(f"{client} is not set up for {entry.url} any more")
    for path in left:
        output.line(f"left as it is, since it was changed: {printable(path)}")
    output.result({"client": client, "url": entry.url, "left": left})
    return OK


def chosen_source(url: str) -> "Source":
    """The instance that is named or, without a name, the only one. Raises SettingsError."""
    from countermark.client.instances import load_instances
    from countermark.client.trust.sources import named_source

    if url:
        source = named_source(url)
        if not source.tuf_root_json:
            raise RequestRejected(f"{url} is a file, and clients are set up for instances")
        return source
    names = list(dict.fromkeys(record.url for record in load_instances()))
    if len(names) != 1:
        known = ", ".join(names) or "none; see `countermark up` and `countermark trust fetch`"
        error = SettingsError("which instance is meant?")
        error.add_note(f"name it with --url; you trust: {known}")
        raise error
    return named_source(names[0])


def anchor_of(source: "Source") -> "Anchor | None":
    """The newest root of an instance that was verified; what TUF clients start from."""
    from countermark.client.trust.chain import read_roots
    from countermark.client.trust.kept import read_kept
    from countermark.client.trust.peers import Anchor

    if not source.tuf_root_json:
        return None
    kept = read_kept(source.name) if source.versions is not None else None
    later = kept.roots if kept is not None else ()
    roots = read_roots(source.tuf_root_json, later)
    return Anchor(roots[-1].version, (source.tuf_root_json, *later)[-1])


def surroundings() -> "Surroundings":
    """This person's. Raises SettingsError for a home that is another's: under sudo, say."""
    from countermark.client.instances import home_dir
    from countermark.client.trust.peers import Surroundings

    home = os.path.expanduser("~")
    if not os.path.isabs(home) or not os.path.isdir(home):
        raise NotFound(f"there is no home folder {home}")
    if hasattr(os, "geteuid") and os.stat(home).st_uid != os.geteuid():
        error = SettingsError(f"{home} belongs to another user")
        error.add_note("run this as that user; with sudo, add -H")
        raise error
    return Surroundings(home, os.environ, os.path.join(home_dir(), "peers"))
