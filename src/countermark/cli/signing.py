# SPDX-License-Identifier: Apache-2.0
"""What the commands that sign have in common: who signs, side by side, spooled if need be."""

import os
import re
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
from typing import Any, NamedTuple, TypeAlias, TypeVar

import click

from countermark.cli.arguments import printable
from countermark.cli.options import (
    device_option,
    instance_options,
    json_option,
    no_browser_option,
    prompts,
    read_token,
)
from countermark.cli.output import Output
from countermark.client.choice import Instance
from countermark.client.files import write_whole
from countermark.client.finish import Prepared, Signed
from countermark.client.identity import find_identity
from countermark.client.sign import DEFAULT_TIMEOUT_S, Signer
from countermark.client.spool import Spool, Waiting
from countermark.client.transport import Transport
from countermark.core.bundle.bundle import Bundle
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import (
    CountermarkError,
    RequestRejected,
    SettingsError,
    Unavailable,
)

SUFFIX = ".sigstore.json"
_WORKERS = 8
_SLICE_S = 0.2
_LOG_TIMEOUT_S = 5
_SECONDS = re.compile(r"([0-9]{1,6})(s|m|h)?", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600}
PERSON_OPTIONS = (
    click.option(
        "--email", metavar="ADDRESS", default="", help="Sign as ADDRESS; own instance only."
    ),
    click.option(
        "--identity-token-file",
        metavar="FILE",
        default="",
        help="Sign as whom this token names; '-' for stdin.",
    ),
)
F = TypeVar("F", bound=Callable[..., Any])
Advance: TypeAlias = Callable[[int], None]


class Job(NamedTuple):
    """One thing to sign.

    Attributes:
        name: what to call it; the file's name.
        target: where its bundle goes.
        size: how many bytes are to be read; 0 if nobody knows.
        prepare: signs and timestamps it, reporting bytes read.
    """

    name: str
    target: Path
    size: int
    prepare: Callable[[Signer, Advance], Prepared]


class Done(NamedTuple):
    """How a job ended: signed, or waiting for the log."""

    signed: Signed | None
    waiting: Waiting | None


def signing_options(command: F) -> F:
    """Add the options of who signs, with what, for how long."""
    options = (
        click.option(
            "--key",
            metavar="REF",
            default="",
            expose_value=False,
            callback=_keep,
            help="Sign with this key instead: a file, pkcs11:… or a key service's URI.",
        ),
        click.option(
            "--passphrase-file",
            metavar="FILE",
            default="",
            expose_value=False,
            callback=_keep,
            help="Its passphrase or PIN; '-' for stdin.  [else COUNTERMARK_PASSWORD, or asked]",
        ),
        *PERSON_OPTIONS,
        click.option("--overwrite", is_flag=True, help="Replace bundles that exist."),
        click.option(
            "--spool",
            "spooling",
            is_flag=True,
            help="If the log is away, keep the signature for `countermark spool flush`.",
        ),
        click.option(
            "--timeout",
            metavar="TIME",
            default=f"{DEFAULT_TIMEOUT_S:.0f}s",
            show_default=True,
            callback=read_timeout,
            help="How long the services may take for one file, all tries together.",
        ),
        no_browser_option,
        device_option,
        instance_options,
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _keep(context: click.Context, parameter: click.Parameter, text: str) -> None:
    """Leave an option to `keyless_signer`: every command that signs takes it in the same way."""
    context.meta[f"{__name__}.{parameter.name}"] = text


def _kept(name: str) -> str:
    return str(click.get_current_context().meta.get(f"{__name__}.{name}", ""))


def read_timeout(_: click.Context, __: click.Parameter, text: str) -> float:
    """Seconds out of ``90``, ``90s``, ``5m`` or ``1h``."""
    match = _SECONDS.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise click.BadParameter("write it as 60s, 5m or 1h")
    return float(int(match[1]) * _UNITS[match[2] or "s"])


def keyless_signer(
    chosen: Instance,
    *,
    token_file: str,
    email: str,
    no_browser: bool,
    device: bool,
    timeout_s: float,
) -> Signer:
    """A signer for whoever is found to be there (see `find_identity`), or with ``--key``."""
    reference, passphrase_file = _kept("key"), _kept("passphrase_file")
    if reference:
        if token_file or email:
            raise RequestRejected("--key signs as a key and as nobody: name it alone")
        from countermark.cli.passphrases import asking
        from countermark.client.key_signing import key_signer

        return key_signer(chosen, reference, asking(passphrase_file), timeout_s=timeout_s)
    if passphrase_file:
        raise RequestRejected("a passphrase is of no use without --key")
    if device and (token_file or email):
        raise RequestRejected("who signs is said in more than one way: --device asks a person")
    transport = Transport()
    token = read_token(token_file) if token_file else ""
    identity = find_identity(
        chosen,
        transport,
        token=token,
        email=email,
        prompts=prompts(no_browser=no_browser, device=device),
        timeout_s=timeout_s,
    )
    return Signer(chosen, identity, transport=transport, timeout_s=timeout_s)


def check_targets(jobs: Sequence[Job], *, overwrite: bool) -> None:
    """Find out beforehand what would keep bundles from being written."""
    if len({job.target for job in jobs}) < len(jobs):
        raise RequestRejected("two bundles would go to one file")
    for job in jobs:
        if job.target.exists() and not overwrite:
            error = RequestRejected(f"{job.target} exists already")
            error.add_note("use --overwrite to replace it")
            raise error
        if not os.access(job.target.parent, os.W_OK | os.X_OK):
            raise SettingsError(f"{job.target.parent} is no folder that can be written to")


class Signing:
    """One command's run over its jobs."""

    def __init__(
        self, instance: Instance, signer: Signer, output: Output, *, spooling: bool, overwrite: bool
    ) -> None:
        self._instance = instance
        self._signer = signer
        self._output = output
        self._spool = Spool() if spooling else None
        self._overwrite = overwrite
        self._log_is_away = threading.Event()

    def run(self, jobs: Sequence[Job], result: dict[str, Any]) -> None:
        """Sign side by side, report in order; the first failure stops what has not begun.

        Rows for programs go to ``signed`` and ``spooled`` of `result`.
        """
        total = sum(job.size for job in jobs)
        what = f"signing {Path(jobs[0].name).name if len(jobs) == 1 else f'{len(jobs)} files'}"
        stop = threading.Event()
        with (
            self._output.progress(what, total) as ticker,
            ThreadPoolExecutor(min(_WORKERS, len(jobs))) as pool,
        ):

            def advance(count: int) -> None:
                if stop.is_set():
                    raise CancelledError
                ticker.advance(count)

            futures = [pool.submit(self._do, job, advance) for job in jobs]
            try:
                # In slices: a signal that another thread took ends no wait without timeout.
                pending, failed = set(futures), False
                while pending and not failed:
                    finished, pending = wait(pending, timeout=_SLICE_S, return_when=FIRST_EXCEPTION)
                    failed = any(future.exception() for future in finished)
            except KeyboardInterrupt:
                stop.set()  # hashing a large file would keep us for long
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        self._report(jobs, futures, result)
        done = [future.result().signed for future in futures]
        compare_logs([one.bundle for one in done if one is not None], self._instance, self._output)

    def _do(self, job: Job, advance: Advance) -> Done:
        try:
            prepared = job.prepare(self._signer, advance)
        except OSError as error:
            raise SettingsError(f"{job.name} cannot be read: {error.strerror}") from error
        if self._spool is None:
            signed = self._signer.finish(prepared)
        else:
            try:
                if self._log_is_away.is_set():
                    return self._keep(self._spool, job, prepared)
                signed = self._signer.finish(prepared)
            except Unavailable:
                self._log_is_away.set()
                return self._keep(self._spool, job, prepared)
        write_whole(job.target, signed.bundle.serialize() + b"\n")
        return Done(signed, None)

    def _keep(self, spool: Spool, job: Job, prepared: Prepared) -> Done:
        waiting = spool.put(
            self._instance,
            prepared,
            file=job.name,
            target=os.fspath(job.target),
            overwrite=self._overwrite,
        )
        return Done(None, waiting)

    def _report(
        self, jobs: Sequence[Job], futures: Sequence["Future[Done]"], result: dict[str, Any]
    ) -> None:
        failure: CountermarkError | None = None
        for job, future in zip(jobs, futures, strict=True):
            if future.cancelled():
                continue
            error = future.exception()
            if isinstance(error, CountermarkError):
                failure = failure or error
                continue
            done = future.result()
            if done.signed is not None:
                self._signed(job, done.signed, result["signed"])
            elif done.waiting is not None:
                self._waiting(job, done.waiting, result["spooled"])
        if failure is not None:
            raise failure

    def _signed(self, job: Job, signed: Signed, rows: list[dict[str, Any]]) -> None:
        row = signed_row(job.name, os.fspath(job.target), signed)
        rows.append(row)
        self._output.line(
            f"{self._output.good('signed')} {printable(job.name)} as"
            f" {self._output.strong(printable(who(signed)))}"
            f" (log index {row['logIndex']}) → {printable(os.fspath(job.target))}"
        )

    def _waiting(self, job: Job, waiting: Waiting, rows: list[dict[str, Any]]) -> None:
        rows.append({"file": job.name, "bundle": waiting.target, "number": waiting.number})
        self._output.line(
            f"spooled {printable(job.name)} as {waiting.number}:"
            " signed and timestamped; the log is away"
        )


def compare_logs(bundles: Sequence[Bundle], instance: Instance, output: Output) -> None:
    """Have the logs prove that they still hold what they signed before; see `client.log_check`.

    One that does not answer now is asked another time. Raises ConsistencyInvalid, FormatError.
    """
    from countermark.client.log_check import check_signed

    transport = Transport(timeout_s=_LOG_TIMEOUT_S)
    try:
        check_signed(transport, bundles, instance.trusted_root)
    except Unavailable as error:
        output.advice(f"what the log signed before was not compared: {error}")
    except SettingsError as error:
        output.advice(f"checkpoints are not remembered: {error}")
    finally:
        transport.close()


def who(signed: Signed) -> str:
    """Whose signature it is, for people: a name, or a key."""
    evidence = signed.evidence
    if evidence.signer is not None:
        return evidence.signer.name
    return f"key sha256:{evidence.key.key_id.hex()}"


def signed_row(file: str, target: str, signed: Signed) -> dict[str, Any]:
    """One signature for programs."""
    evidence = signed.evidence
    signer = evidence.signer
    name: dict[str, Any] = {"key": f"sha256:{evidence.key.key_id.hex()}"}
    if signer is not None:
        name = {"identity": signer.name, "issuer": signer.issuer}
    return {
        "file": file,
        "bundle": target,
        **name,
        "log": evidence.records[0].log,
        "logIndex": evidence.records[0].log_index,
        "time": to_rfc3339(evidence.times[0].time) if evidence.times else None,
    }
