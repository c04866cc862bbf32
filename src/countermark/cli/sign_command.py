# SPDX-License-Identifier: Apache-2.0
"""`countermark sign FILE…`: one certificate, one bundle per file."""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from countermark.cli.options import choice_from
from countermark.cli.output import Output
from countermark.cli.signing import (
    SUFFIX,
    Advance,
    Job,
    Signing,
    check_targets,
    keyless_signer,
    signing_options,
)
from countermark.client.checksums import listed_name, serialize_checksums
from countermark.client.choice import choose_instance
from countermark.client.files import write_whole
from countermark.client.finish import Prepared
from countermark.client.sign import Signer
from countermark.client.verify import FileArtifact
from countermark.core.errors import CountermarkError, NotFound, RequestRejected, SettingsError

STDIN = "-"


@click.command(
    epilog="The bundle FILE.sigstore.json holds all that `countermark verify` needs, for ever."
    " Example: countermark sign app.tar.gz"
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--bundle", metavar="PATH", default="", help="Where to write the bundle (for one FILE)."
)
@click.option(
    "--checksums",
    metavar="LIST",
    default="",
    help="Write the FILEs' checksums to LIST, and sign that instead of them.",
)
@signing_options
def sign(
    files: tuple[str, ...],
    bundle: str,
    checksums: str,
    email: str,
    identity_token_file: str,
    overwrite: bool,
    spooling: bool,
    timeout: float,
    no_browser: bool,
    device: bool,
    as_json: bool,
    **instance: str,
) -> int:
    """Sign files as yourself, with a key that is thrown away; or with --key, as that key.

    Who you are comes from --identity-token-file or COUNTERMARK_IDENTITY_TOKEN, --email, the CI
    system this runs in, the address of `countermark login` if the instance is your own, or a
    browser, in this order. With which instance: the options below, COUNTERMARK_URL and the like,
    your config.toml, or the one that `countermark up` started last. FILE may be '-' for what
    comes in on stdin, with --bundle.
    """
    output = Output(as_json=as_json)
    result: dict[str, Any] = {"instance": None, "signed": [], "spooled": []}
    try:
        if STDIN in files and identity_token_file == STDIN:
            raise RequestRejected("stdin can't be both the file and the identity token")
        if checksums:
            jobs = [listing_job(files, checksums, bundle, overwrite=overwrite)]
        else:
            jobs = file_jobs(files, bundle)
        check_targets(jobs, overwrite=overwrite)
        chosen = choose_instance(choice_from(instance))
        result["instance"] = chosen.name
        signer = keyless_signer(
            chosen,
            token_file=identity_token_file,
            email=email,
            no_browser=no_browser,
            device=device,
            timeout_s=timeout,
        )
        Signing(chosen, signer, output, spooling=spooling, overwrite=overwrite).run(jobs, result)
    except CountermarkError as error:
        return output.fail(error, partial=result)
    output.result(result)
    _advise(output, result)
    return 0


def file_jobs(files: Sequence[str], bundle: str) -> list[Job]:
    """What to do for each file; raises for those that can't be read."""
    if bundle and len(files) > 1:
        raise RequestRejected("--bundle names one file, but several are to be signed")
    jobs = []
    for name in dict.fromkeys(files):
        if name == STDIN:
            if not bundle:
                error = RequestRejected("what comes in on stdin has no name to put a bundle beside")
                error.add_note("say with --bundle PATH where it goes")
                raise error
            jobs.append(Job(name, Path(bundle), 0, _prepare_stdin))
            continue
        file = Path(name)
        check_readable(file)
        size = file.stat().st_size
        prepare = partial(_prepare_file, file)
        jobs.append(Job(name, Path(bundle or name + SUFFIX), size, prepare))
    return jobs


def listing_job(files: Sequence[str], listing: str, bundle: str, *, overwrite: bool) -> Job:
    """What to do for a checksum file that is to speak for `files`."""
    if STDIN in files or listing == STDIN:
        raise RequestRejected("what has no name cannot be listed")
    if os.path.exists(listing) and not overwrite:
        error = RequestRejected(f"{listing} exists already")
        error.add_note("use --overwrite to replace it")
        raise error
    names = {listed_name(name, listing): Path(name) for name in dict.fromkeys(files)}
    for path in names.values():
        check_readable(path)

    def prepare(signer: Signer, advance: Advance) -> Prepared:
        digests = [(name, FileArtifact(path, advance)) for name, path in names.items()]
        data = serialize_checksums((name, item.digest("sha256")) for name, item in digests)
        prepared = signer.prepare(data)
        write_whole(listing, data)
        return prepared

    size = sum(path.stat().st_size for path in names.values())
    return Job(listing, Path(bundle or listing + SUFFIX), size, prepare)


def check_readable(file: Path) -> None:
    """Raises NotFound or SettingsError for a file that can't be signed."""
    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    if not os.access(file, os.R_OK):
        raise SettingsError(f"{file} cannot be read: permission denied")


def _prepare_file(file: Path, signer: Signer, advance: Advance) -> Prepared:
    return signer.prepare(file, progress=advance)


def _prepare_stdin(signer: Signer, advance: Advance) -> Prepared:
    return signer.prepare(sys.stdin.buffer, progress=advance)


def _advise(output: Output, result: dict[str, Any]) -> None:
    if result["spooled"]:
        output.advice("when the log is back: countermark spool flush")
    for row in result["signed"][:1]:
        if row["file"] != STDIN:
            who = "--key PUBLIC-KEY"
            if "identity" in row:
                who = f"--identity {row['identity']} --issuer {row['issuer']}"
            output.advice(f"now try: countermark verify {row['file']} {who}")
