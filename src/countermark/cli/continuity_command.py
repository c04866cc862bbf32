# SPDX-License-Identifier: Apache-2.0
"""`countermark continuity FILE…`: who signed each release, in order, and what changed between."""

import os
from typing import Any, NamedTuple

import click

from countermark.cli.arguments import printable
from countermark.cli.exits import NO_SIGNATURE, NOT_PROVEN, OK, exit_code
from countermark.cli.options import json_option
from countermark.cli.output import Output, describe
from countermark.client.verify import (
    FileArtifact,
    Root,
    bundle_path,
    choose_root,
    named_root,
    read_bundle,
    root_from_file,
)
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError, NotFound, RequestRejected
from countermark.core.policy.same_signer import Comparison, compare
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import UnsafeAnyIdentity
from countermark.core.verify.signer import SignerIdentity

# True of every set of files until packages are chained by the gateway that publishes them.
_INCOMPLETE = (
    "nothing here shows that no release was left out: these are not chained to each other,"
    " and no mirror of the log was searched"
)


class _Release(NamedTuple):
    """A file whose signature holds."""

    name: str
    evidence: Evidence
    signer: SignerIdentity


@click.command(epilog="Example: countermark continuity app-1.0.tar.gz app-1.1.tar.gz")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--instance", metavar="NAME", default="", help="Believe this instance's root.")
@click.option("--trusted-root", metavar="FILE", default="", help="Believe this root.")
@json_option
def continuity(files: tuple[str, ...], instance: str, trusted_root: str, as_json: bool) -> int:
    """Show who signed each FILE, in order of proven time, and what changed between.

    Every signature is verified first, but nobody in particular is expected. The exit code is 0
    if all hold and are by one signer, whatever was renamed, and 1 if not. Files say nothing
    about files that are not among them, and the output says so.
    """
    output = Output(as_json=as_json)
    try:
        root = _root(instance, trusted_root)
    except CountermarkError as error:
        return output.fail(error)
    releases: list[_Release] = []
    failed: list[dict[str, Any]] = []
    codes: list[int] = []
    for name in dict.fromkeys(files):
        try:
            releases.append(_verify(name, root))
        except CountermarkError as error:
            message, hint = describe(error)
            unsigned = isinstance(error, NotFound) and os.path.exists(name)
            codes.append(NO_SIGNATURE if unsigned else exit_code(error))
            failed.append({"file": name, "error": {"code": error.code, "message": message}})
            output.line(printable(f"{name}: NOT verified: {message}"))
            if hint:
                output.line(f"  {printable(hint)}")
    releases.sort(key=lambda release: (release.evidence.times[0].time, release.name))
    rows, changes = _compare(releases, output)
    if len(releases) > 1:
        output.line(
            f"the signer changed {changes} time{'s' if changes > 1 else ''}"
            if changes
            else f"one signer of all {len(releases)}"
        )
    output.line(_INCOMPLETE)
    output.result(
        {
            "releases": rows,
            "failed": failed,
            "changes": changes,
            "complete": {"shown": False, "chained": False, "mirrorSearched": False},
        }
    )
    return max(codes) if codes else NOT_PROVEN if changes else OK


def _root(instance: str, trusted_root: str) -> Root | None:
    if instance and trusted_root:
        raise RequestRejected("whom to believe is said in more than one way")
    if instance:
        return named_root(instance)
    return root_from_file(trusted_root) if trusted_root else None


def _verify(name: str, root: Root | None) -> _Release:
    if not os.path.exists(name):
        raise NotFound(f"there is no file {name}")
    try:
        bundle = read_bundle(bundle_path(name))
        chosen = root or choose_root(bundle)
        evidence = chosen.verify(bundle, FileArtifact(name), UnsafeAnyIdentity())
    except OSError as error:
        raise RequestRejected(f"{name} cannot be read: {error.strerror}") from error
    assert evidence.signer is not None  # keys are refused under this policy
    return _Release(name, evidence, evidence.signer)


def _compare(releases: list[_Release], output: Output) -> tuple[list[dict[str, Any]], int]:
    """Rows for programs, and how often the signer changed. A new root is a change as well."""
    rows: list[dict[str, Any]] = []
    changes = 0
    before: _Release | None = None
    for release in releases:
        evidence, signer = release.evidence, release.signer
        time = evidence.times[0].time
        who = f"{signer.name} ({signer.issuer})"
        row: dict[str, Any] = {"file": release.name, "time": to_rfc3339(time)}
        row |= {"identity": signer.name, "issuer": signer.issuer, "root": evidence.root}
        row["log"] = [{"log": one.log, "logIndex": one.log_index} for one in evidence.records]
        output.line(printable(f"{time:%Y-%m-%d %H:%M:%S} UTC  {release.name}  {who}"))
        if before is not None:
            found = compare(before.signer, signer)
            moved = before.evidence.root != evidence.root
            changes += moved or not found.same
            _tell(found, output)
            if moved:
                was = printable(f"trusted root was {before.evidence.root}, now {evidence.root}")
                output.line(f"  CHANGED: {was}")
            row |= {"same": found.same and not moved}
            row["changes"] = [item._asdict() for item in found.changes]
            row["notes"] = [item._asdict() for item in found.notes]
        rows.append(row)
        before = release
    return rows, changes


def _tell(found: Comparison, output: Output) -> None:
    for change in found.changes:
        output.line(printable(f"  CHANGED: {change}"))
    for note in found.notes:
        output.line(printable(f"  {note}"))
