# SPDX-License-Identifier: Apache-2.0
"""`countermark attest FILE…`: sign a statement about files."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from countermark.cli.options import choice_from
from countermark.cli.output import Output
from countermark.cli.sign_command import check_readable
from countermark.cli.signing import (
    SUFFIX,
    Advance,
    Job,
    Signing,
    check_targets,
    keyless_signer,
    signing_options,
)
from countermark.client.attestation import attestation_path
from countermark.client.choice import choose_instance
from countermark.client.finish import Prepared
from countermark.client.sign import Signer
from countermark.client.verify import FileArtifact, read_file
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError, RequestRejected, SettingsError
from countermark.core.intoto.predicates import (
    CUSTOM,
    PREDICATE_TYPES,
    NamedDigests,
    custom_predicate,
    make_statement,
    predicate_type,
    read_subject,
)
from countermark.core.intoto.statement import MAX_STATEMENT_BYTES, parse_statement


@click.command(
    epilog="Example: countermark attest app.tar.gz --type cyclonedx --predicate bom.json"
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path())
@click.option("--predicate", metavar="FILE", default="", help="What is said, a JSON object.")
@click.option(
    "--type",
    "kind",
    metavar="TYPE",
    default="",
    help=f"What kind of predicate it is: a URI, or one of {', '.join(PREDICATE_TYPES)}.",
)
@click.option(
    "--subject",
    "subjects",
    metavar="NAME@sha256:HEX",
    multiple=True,
    help="Something that is not at hand as a file; repeat for several.",
)
@click.option(
    "--statement", metavar="FILE", default="", help="A whole in-toto statement, signed as it is."
)
@click.option("--bundle", metavar="PATH", default="", help="Where to write the bundle.")
@signing_options
def attest(
    files: tuple[str, ...],
    predicate: str,
    kind: str,
    subjects: tuple[str, ...],
    statement: str,
    bundle: str,
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
    """Sign what you say about files: how they were built, what is in them, what ails them.

    One statement is made about all FILEs and subjects, with the predicate's bytes as they are
    (`--type custom` wraps any text as cosign does). The bundle is FILE.TYPE.sigstore.json, where
    `countermark verify FILE --type TYPE` finds it. Who signs, and with which instance: as for
    `countermark sign`.
    """
    output = Output(as_json=as_json)
    result: dict[str, Any] = {"instance": None, "signed": [], "spooled": []}
    try:
        if statement:
            if files or subjects or predicate or kind:
                raise RequestRejected("a whole statement has its own subjects, type and predicate")
            job = _whole_statement(statement, bundle)
        else:
            job = _about(files, subjects, predicate, kind, bundle)
        check_targets([job], overwrite=overwrite)
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
        Signing(chosen, signer, output, spooling=spooling, overwrite=overwrite).run([job], result)
    except CountermarkError as error:
        return output.fail(error, partial=result)
    output.result(result)
    return 0


def _whole_statement(path: str, bundle: str) -> Job:
    payload = _read(path)
    parse_statement(payload)  # before anybody is asked to log in
    target = Path(bundle or path + SUFFIX)
    return Job(path, target, 0, lambda signer, _: signer.prepare_statement(payload))


def _about(
    files: tuple[str, ...], subjects: tuple[str, ...], predicate: str, kind: str, bundle: str
) -> Job:
    if not predicate or not kind:
        error = RequestRejected("it must be said what is attested")
        error.add_note("name a predicate with --predicate FILE and its --type, or a --statement")
        raise error
    if not files and not subjects:
        raise RequestRejected("it must be said about what: name a FILE or a --subject")
    uri, data = predicate_type(kind), _read(predicate)
    if kind == CUSTOM:
        data = custom_predicate(data, to_rfc3339(datetime.now(tz=UTC).replace(microsecond=0)))
    named = [read_subject(text) for text in subjects]
    sample = NamedDigests("", {"sha256": hashlib.sha256().hexdigest()})
    make_statement(named or [sample], uri, data)  # what is wrong with it is found out now
    if not bundle:
        if len(files) != 1:
            raise RequestRejected("say with --bundle PATH where the bundle goes")
        bundle = attestation_path(files[0], kind)
    paths = [Path(name) for name in dict.fromkeys(files)]
    for path in paths:
        check_readable(path)

    def prepare(signer: Signer, advance: Advance) -> Prepared:
        found = [_subject(path, advance) for path in paths]
        return signer.prepare_statement(make_statement([*found, *named], uri, data))

    size = sum(path.stat().st_size for path in paths)
    return Job(files[0] if files else named[0].name, Path(bundle), size, prepare)


def _subject(path: Path, advance: Advance) -> NamedDigests:
    digest = FileArtifact(path, advance).digest("sha256")
    return NamedDigests(path.name, {"sha256": digest.hex()})


def _read(path: str) -> bytes:
    try:
        return read_file(path, MAX_STATEMENT_BYTES)
    except OSError as error:
        raise SettingsError(f"{os.fspath(path)} cannot be read: {error.strerror}") from error
