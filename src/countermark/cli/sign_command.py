# SPDX-License-Identifier: Apache-2.0
"""`countermark sign FILE…`: one certificate, one bundle per file."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    wait,
)
from pathlib import Path
from typing import Any

import click

from countermark.cli.options import (
    choice_from,
    instance_options,
    json_option,
    no_browser_option,
    prompts,
    read_token,
)
from countermark.cli.output import Output
from countermark.client.choice import choose_instance
from countermark.client.identity import find_identity
from countermark.client.sign import Signed, Signer
from countermark.client.transport import Transport
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError, NotFound, RequestRejected, SettingsError

_WORKERS = 8
_SLICE_S = 0.2
_SUFFIX = ".sigstore.json"


@click.command(
    epilog="The bundle FILE.sigstore.json holds all that `countermark verify` needs, for ever."
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--email", metavar="ADDRESS", default="", help="Sign as ADDRESS; own instance only.")
@click.option(
    "--identity-token-file",
    metavar="FILE",
    default="",
    help="Sign as whom this token names; '-' for stdin.",
)
@click.option(
    "--bundle", metavar="PATH", default="", help="Where to write the bundle (for one FILE)."
)
@click.option("--overwrite", is_flag=True, help="Replace bundles that exist.")
@no_browser_option
@instance_options
@json_option
def sign(
    files: tuple[str, ...],
    email: str,
    identity_token_file: str,
    bundle: str,
    overwrite: bool,
    no_browser: bool,
    as_json: bool,
    **instance: str,
) -> int:
    """Sign files as yourself, with a key that is thrown away.

    Who you are comes from --identity-token-file or COUNTERMARK_IDENTITY_TOKEN, --email, the CI
    system this runs in, the address of `countermark login` if the instance is your own, or a
    browser, in this order. With which instance: the options below, COUNTERMARK_URL and the like,
    your config.toml, or the one that `countermark up` started last.
    """
    output = Output(as_json=as_json)
    result: dict[str, Any] = {"instance": None, "signed": []}
    done = result["signed"]
    try:
        targets = _targets(files, bundle, overwrite=overwrite)
        chosen = choose_instance(choice_from(instance))
        result["instance"] = chosen.name
        transport = Transport()
        token = read_token(identity_token_file) if identity_token_file else ""
        identity = find_identity(
            chosen, transport, token=token, email=email, prompts=prompts(no_browser=no_browser)
        )
        signer = Signer(chosen, identity, transport=transport)
        _sign_all(signer, targets, output, done)
    except CountermarkError as error:
        return output.fail(error, partial=result)
    output.result(result)
    first = done[0]
    output.advice(
        f"now try: countermark verify {files[0]}"
        f" --identity {first['identity']} --issuer {first['issuer']}"
    )
    return 0


def _targets(files: Sequence[str], bundle: str, *, overwrite: bool) -> list[tuple[Path, Path]]:
    """Files with the bundles to write; everything that can be wrong is found out beforehand."""
    if bundle and len(files) > 1:
        raise RequestRejected("--bundle names one file, but several are to be signed")
    targets = [(Path(name), Path(bundle or name + _SUFFIX)) for name in dict.fromkeys(files)]
    for file, target in targets:
        if not file.is_file():
            raise NotFound(f"there is no file {file}")
        if not os.access(file, os.R_OK):
            raise SettingsError(f"{file} cannot be read: permission denied")
        if target.exists() and not overwrite:
            error = RequestRejected(f"{target} exists already")
            error.add_note("use --overwrite to replace it")
            raise error
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise SettingsError(f"{target.parent} is no folder that can be written to")
    return targets


def _sign_all(
    signer: Signer,
    targets: Sequence[tuple[Path, Path]],
    output: Output,
    done: list[dict[str, Any]],
) -> None:
    """Sign side by side, report in order; the first failure stops what has not begun."""
    total = sum(file.stat().st_size for file, _ in targets)
    what = f"signing {targets[0][0].name}" if len(targets) == 1 else f"signing {len(targets)} files"
    stop = threading.Event()
    with (
        output.progress(what, total) as ticker,
        ThreadPoolExecutor(min(_WORKERS, len(targets))) as pool,
    ):

        def advance(count: int) -> None:
            if stop.is_set():
                raise CancelledError
            ticker.advance(count)

        jobs = [pool.submit(_sign_one, signer, file, target, advance) for file, target in targets]
        try:
            # In slices: a signal that another thread took does not end a wait without timeout.
            pending, failed = set(jobs), False
            while pending and not failed:
                finished, pending = wait(pending, timeout=_SLICE_S, return_when=FIRST_EXCEPTION)
                failed = any(job.exception() for job in finished)
        except KeyboardInterrupt:
            stop.set()  # hashing a large file would keep us for long
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    _report(targets, jobs, output, done)


def _report(
    targets: Sequence[tuple[Path, Path]],
    jobs: Sequence["Future[Signed]"],
    output: Output,
    done: list[dict[str, Any]],
) -> None:
    failure: CountermarkError | None = None
    for (file, target), job in zip(targets, jobs, strict=True):
        if job.cancelled():
            continue
        error = job.exception()
        if isinstance(error, CountermarkError):
            failure = failure or error
            continue
        row = _row(file, target, job.result())
        done.append(row)
        output.line(
            f"{output.good('signed')} {file} as {output.strong(row['identity'])}"
            f" (log index {row['logIndex']}) → {target}"
        )
    if failure is not None:
        raise failure


def _sign_one(signer: Signer, file: Path, target: Path, advance: Callable[[int], None]) -> Signed:
    try:
        signed = signer.sign(file, progress=advance)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    _write(target, signed.bundle.serialize())
    return signed


def _write(target: Path, data: bytes) -> None:
    """Whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data + b"\n")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SettingsError(f"{target} cannot be written: {error.strerror}") from error


def _row(file: Path, target: Path, signed: Signed) -> dict[str, Any]:
    evidence = signed.evidence
    assert evidence.signer is not None
    return {
        "file": str(file),
        "bundle": str(target),
        "identity": evidence.signer.name,
        "issuer": evidence.signer.issuer,
        "log": evidence.records[0].log,
        "logIndex": evidence.records[0].log_index,
        "time": to_rfc3339(evidence.times[0].time),
    }
