# SPDX-License-Identifier: Apache-2.0
"""`countermark trust export` and `trust merge`: trust in files, for other clients and machines."""

import os
import sys

import click

from countermark.cli.exits import OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.core.errors import CountermarkError, RequestRejected, SettingsError

_overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that exist.")


@click.command(
    epilog="Example: countermark trust export https://sigstore.example.org --format cosign -o DIR"
)
@click.argument("name", metavar="URL|NAME|FILE")
@click.option(
    "--format",
    "how",
    metavar="FORMAT",
    default="trusted-root",
    show_default=True,
    help="trusted-root, signing-config, trust-config, tuf, pem; or what a client reads: cosign,"
    " python, js, go, gitsign, policy-controller.",
)
@click.option(
    "-o", "--output", "target", metavar="PATH", default="", help="A file, or a folder for several."
)
@_overwrite_option
@json_option
def export(name: str, how: str, target: str, overwrite: bool, as_json: bool) -> int:
    """Write whom you trust into files.

    'tuf' is the repository as it is kept, which `trust fetch --from DIR` and other TUF clients
    read on a machine without a network. One file goes to stdout unless -o is given.
    """
    output = Output(as_json=as_json)
    from countermark.client.trust.exporting import exported
    from countermark.client.trust.sources import named_source

    try:
        source = named_source(name)
        files = exported(source, how)
        several = len(files) > 1 or how == "tuf"
        if not target:
            if several or as_json:
                raise _needs_target(how)
            sys.stdout.buffer.write(next(iter(files.values())))
            sys.stdout.buffer.flush()
            return OK
        if several or os.path.isdir(target):
            paths = {os.path.join(target, *name.split("/")): data for name, data in files.items()}
        else:
            paths = {target: next(iter(files.values()))}
        write_files(paths, overwrite=overwrite)
    except CountermarkError as error:
        return output.fail(error)
    for path in paths:
        output.line(f"wrote {path}")
    output.result({"name": source.name, "format": how, "files": list(paths)})
    return OK


@click.command(epilog="Example: countermark trust merge public https://sigstore.example.org -o F")
@click.argument("names", metavar="URL|NAME|FILE...", nargs=-1, required=True)
@click.option(
    "-o", "--output", "target", metavar="FILE", required=True, help="The trusted root to write."
)
@_overwrite_option
@json_option
def merge(names: tuple[str, ...], target: str, overwrite: bool, as_json: bool) -> int:
    """Put several trusted roots into one file that every client reads.

    FILE.sources.json beside it notes whose each part is. `countermark verify --trusted-root FILE`
    needs it to believe one part at a time and to say which; other clients believe all parts
    alike, so that one's CA may vouch for what another's log holds.
    """
    output = Output(as_json=as_json)
    from countermark.client.trust.merged import SUFFIX
    from countermark.client.trust.merged import merge as merged
    from countermark.client.trust.sources import named_source

    try:
        sources = [named_source(name) for name in names]
        data, note = merged(sources)
        write_files({f"{target}{SUFFIX}": note, target: data}, overwrite=overwrite)
    except CountermarkError as error:
        return output.fail(error)
    output.line(f"wrote {target}: {', '.join(source.name for source in sources)}")
    result = {"file": target, "sources": f"{target}{SUFFIX}"}
    output.result({**result, "parts": [source.name for source in sources]})
    return OK


def write_files(files: dict[str, bytes], *, overwrite: bool) -> None:
    """Write each whole or not at all. Raises RequestRejected for those that exist."""
    existing = [path for path in files if os.path.lexists(path)]
    if existing and not overwrite:
        error = RequestRejected(f"{existing[0]} exists already")
        error.add_note("use --overwrite to replace it")
        raise error
    for path, data in files.items():
        temporary = f"{path}.{os.getpid()}.new"
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with open(temporary, "xb") as file:
                file.write(data)
            os.replace(temporary, path)
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def _needs_target(how: str) -> RequestRejected:
    error = RequestRejected(f"{how} needs a place to go")
    error.add_note("name a file or folder with -o PATH")
    return error
