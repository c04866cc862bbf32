# SPDX-License-Identifier: Apache-2.0
"""`countermark demo [FILE]`: a whole Sigstore comes up, signs, verifies, and goes away.

Nothing is staged: the instance is `countermark up` in a temporary directory, and what verifies
is `countermark verify`, in a process that can open no socket.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from countermark.cli.demo_instance import DemoInstance
from countermark.cli.exits import INTERNAL, OK
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.client.choice import InstanceChoice, choose_instance
from countermark.client.identity import IdentityToken, local_token
from countermark.client.instances import load_instances
from countermark.client.sign import Signed, Signer
from countermark.client.transport import Transport
from countermark.core.errors import CountermarkError, InvariantBroken, NotFound, SettingsError

_WHO = "demo@example.org"
_SOMEBODY_ELSE = "somebody-else@example.org"
_TEXT = "A file that `countermark demo` signed and verified.\n"
_SMALL = 16 * 1024 * 1024
_VERIFY_TIMEOUT_S = 600


@click.command()
@click.argument("file", metavar="[FILE]", required=False, type=click.Path())
@json_option
def demo(file: str | None, as_json: bool) -> int:
    """Sign and verify FILE against an instance made for the purpose.

    A certificate authority, transparency logs, a timestamp authority and a login come up in a
    temporary directory on a free port; FILE (or one made for you) is signed with a throw-away
    key, and verified in a process that can open no socket. All of it is deleted at the end, and
    FILE is only read.
    """
    output = Output(as_json=as_json)
    try:
        with _scratch() as folder:
            result = _run(folder, _chosen(file, folder), output)
    except CountermarkError as error:
        return output.fail(error)
    output.result(result)
    return OK


def _run(folder: Path, file: Path, output: Output) -> dict[str, Any]:
    os.environ["COUNTERMARK_HOME"] = str(folder / "home")  # the user's registry is left alone
    started = time.monotonic()
    with DemoInstance(folder) as instance:
        ready_s = time.monotonic() - started
        output.line(f"{output.good('up')}        {instance.url}, ready in {ready_s:.1f} s")
        root = folder / "trusted_root.json"
        root.write_bytes(load_instances()[0].trusted_root_json)
        output.line("          CA, CT log, transparency log, timestamps, login; root pinned")
        signed, token = _sign(instance.url, file, output)
    bundle = folder / "bundle.sigstore.json"
    bundle.write_bytes(signed.bundle.serialize())
    output.line(f"{output.good('down')}      the instance is gone; bundle and root remain")

    policy = ["--bundle", str(bundle), "--trusted-root", str(root), "--issuer", token.issuer]
    verdict = _verify([str(file), *policy, "--identity", _WHO])
    if not verdict["verified"]:
        raise InvariantBroken(f"the bundle does not verify: {verdict['error']['message']}")
    _show(verdict, output)
    refused = _refusals(folder, file, policy, output)
    output.line(output.good("all is well") + ": signed, logged, timestamped, verified offline")
    return {"ready_s": round(ready_s, 3), "verified": verdict, "refused": refused}


def _sign(url: str, file: Path, output: Output) -> tuple[Signed, IdentityToken]:
    transport = Transport()
    chosen = choose_instance(InstanceChoice(url=url))
    token = IdentityToken.parse(local_token(chosen, transport, _WHO))
    output.line(f"{output.good('token')}     the instance's own login says: {token.subject}")
    started = time.monotonic()
    signed = Signer(chosen, token, transport=transport).sign(file)
    transport.close()
    spent_ms = (time.monotonic() - started) * 1000
    record = signed.evidence.records[0]
    output.line(f"{output.good('signed')}    {file.name}, certified, timestamped, logged")
    output.line(f"          log index {record.log_index}, {spent_ms:.0f} ms; the key is gone")
    return signed, token


def _show(verdict: dict[str, Any], output: Output) -> None:
    output.line(f"{output.good('verified')}  in a process that can open no socket")
    output.line(f"  identity    {output.strong(verdict['identity'])}")
    output.line(f"  issuer      {verdict['issuer']}")
    output.line(f"  time        {verdict['times'][0]['time']}")
    output.line(f"  log index   {verdict['log'][0]['logIndex']}")
    for check in verdict["checks"]:
        output.line(f"  {output.good('✓')} {check['check']:<11} {check['detail']}")


def _refusals(folder: Path, file: Path, policy: list[str], output: Output) -> list[dict[str, Any]]:
    """What must not verify: another person, and (if it can be copied quickly) a changed file."""
    attempts = {"another identity": [str(file), *policy, "--identity", _SOMEBODY_ELSE]}
    if file.stat().st_size <= _SMALL:
        changed = folder / "changed" / file.name
        changed.parent.mkdir()
        changed.write_bytes(file.read_bytes() + b"!")
        attempts["a changed file"] = [str(changed), *policy, "--identity", _WHO]
    refused = []
    for what, arguments in attempts.items():
        verdict = _verify(arguments)
        if verdict["verified"]:
            raise InvariantBroken(f"{what} was not refused")
        reason = verdict["error"]["message"]
        output.line(f"{output.good('refused')}   {what}: {reason}")
        refused.append({"what": what, "why": reason})
    return refused


def _verify(arguments: list[str]) -> dict[str, Any]:
    """The result of `countermark verify` for one file, run without sockets."""
    module = "countermark.cli.offline"
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", module, "verify", "--json", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=_VERIFY_TIMEOUT_S,
        check=False,
    )
    try:
        (result,) = json.loads(done.stdout)["results"]
    except (ValueError, KeyError) as error:
        raise InvariantBroken("`countermark verify` gave no result") from error
    verdict: dict[str, Any] = result
    if verdict["verified"] != (done.returncode == OK) or done.returncode == INTERNAL:
        raise InvariantBroken("`countermark verify` contradicts its exit code")
    return verdict


def _chosen(file: str | None, folder: Path) -> Path:
    if file is None:
        made = folder / "demo.txt"
        made.write_text(_TEXT, encoding="utf-8")
        return made
    path = Path(file)
    if not path.is_file():
        raise NotFound(f"there is no file {file}")
    if not os.access(path, os.R_OK):
        raise SettingsError(f"{file} cannot be read: permission denied")
    return path


@contextmanager
def _scratch() -> Iterator[Path]:
    """A private temporary directory, deleted even if the terminal goes away."""

    def stop(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    folder = Path(tempfile.mkdtemp(prefix="countermark-demo-"))
    try:
        yield folder
    finally:
        # A second Ctrl-C must not leave half of it behind.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGINT, previous)
        for number, handler in before.items():
            signal.signal(number, handler)
