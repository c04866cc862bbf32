# SPDX-License-Identifier: Apache-2.0
"""`countermark verify`: check who signed files, offline.

The lean path: what is imported here is most of the time a verification takes. A test holds the
list of modules.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from countermark.cli import expected
from countermark.cli.arguments import Arguments, parse_arguments, printable
from countermark.cli.exits import NO_SIGNATURE, OK, exit_code
from countermark.cli.expected import ROOTS, judge_of, policies_of, usage
from countermark.cli.output import Output, describe
from countermark.client.last_seen import LastSeen
from countermark.client.verify import (
    PUBLIC,
    STAGING,
    FileArtifact,
    Root,
    RootChooser,
    bundle_path,
    named_root,
    read_file,
    root_from_file,
)
from countermark.core.bundle.bundle import MAX_BUNDLE_BYTES, Bundle
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    NoneMatches,
    NotFound,
    RequestRejected,
    SettingsError,
    VerificationError,
)
from countermark.core.verify.artifact import Artifact, DigestArtifact
from countermark.core.verify.evidence import Check, Evidence
from countermark.core.verify.verifier import ONE_OF_EACH, Expected

if TYPE_CHECKING:
    from countermark.cli.verify_asked import Asked
    from countermark.cli.verify_who import Judge

HELP = """\
Usage: countermark verify [OPTIONS] FILE…

  Check who signed files, offline. The signature of FILE is FILE.sigstore.json (or
  FILE.sigstore). Instead of a file, a digest can be given: sha256:<64 hex digits>;
  a file of such a name is ./sha256:….

  With no word on who must have signed, it says who did, and compares with whom you
  chose to remember: verified (0) if it is the same signer, else not (1).

Who must have signed:
  --identity NAME          e-mail address or URI in the certificate; repeat for several
  --issuer URL             identity provider that vouched for it
  --identity-regex RE      instead of --identity: pattern for the whole name
  --issuer-regex RE        instead of --issuer: pattern for the whole URL
  --repository NAME        the source repository, octo/app or its whole URL; with --issuer
                           it may stand instead of --identity
  --workflow PATH          its workflow, e.g. .github/workflows/release.yml
  --ref REF                branch or tag, e.g. 'refs/tags/v*'
  --trigger EVENT          what started it, e.g. push
  --runner KIND            where it ran, e.g. github-hosted
  --extension NAME=VALUE   what else the certificate must say: repository-id, owner, commit,
                           environment, visibility, …, any extension or its number
  --key REF                instead of all these: a managed key, as a PEM file, pkcs11:… or a
                           key service's URI; repeat for several, one of which must have signed
  --policy FILE            a policy file that says all of this for each file, and more
  --policy-identity NAME   who must have signed the policy itself, with …
  --policy-issuer URL      … the provider that vouched for it
  --trust-first-use        remember the signer, for all versions of FILE
  --as NAME                what to remember FILE as, or to look up in the policy
  --unsafe-any-identity    accept anybody; proves only that somebody signed

Whom to believe (default: the root that knows the bundle's log, of the user's own instances,
for identities of their own login only, and the public one):
  --instance NAME          public, staging, or the URL of an instance you trust
  --url URL                the same, for an instance
  --trusted-root FILE      a trusted root file
  --distrust FILE          a distrust list to heed besides that of the instance
  --trust-config FILE      a client trust config file
  --max-trust-age DAYS     refuse a root that was not refreshed for DAYS, is expired, or does
                           not hold when its TUF metadata is checked again

  --bundle FILE            the signature, if it is not beside the file: a bundle, several in
                           JSON Lines (one must hold), or cosign's first format
  --signature FILE         instead: a detached signature, with …
  --certificate FILE       … its certificate (PEM, or base64 of it), …
  --rekor-bundle FILE      … the log's promise, as JSON, …
  --rfc3161-timestamp FILE … a timestamp, …
  --sct FILE               … and the certificate log's promise, as JSON

How much proof (default: one of each):
  --threshold-times N      operators that say when; --threshold-logs and --threshold-scts:
  --threshold-logs N       logs that record the signature,
  --threshold-scts N       certificate logs that vouch for the certificate
  --witness-policy FILE    who must have cosigned the log's checkpoint (C2SP tlog-policy)
  --without-log            accept what no log records; a certificate still needs a timestamp
  --key-valid-from TIME    when the managed key came into use, and …
  --key-valid-until TIME   … until when its signatures count (RFC 3339)

  --type TYPE              verify the statement of that type about FILE (slsaprovenance1,
                           spdxjson, cyclonedx, openvex, vuln, custom, a URI, …)
  --print-predicate        print what such a statement says, byte for byte, and nothing else
  --checksums LIST         verify LIST (SHA256SUMS, GNU or BSD style), then each FILE by what
                           it lists; without FILE, all that are listed
  --ignore-missing         pass over listed files that are not there
  --online                 also have the logs prove that they still hold all that they
                           signed before; nothing else ever asks the network
  --workers N              spread many FILEs over N processes; says the same, sooner
  --explain                every check: what was compared, with what, and why it holds
  --json                   the result for programs, explained
  -h, --help               this text

Exit codes: 0 verified, 1 not proven, 2 wrong usage, 10 no signature, 11 no such file,
12 several signatures and none holds, 65 malformed signature.
"""
# Read by `verify_asked`, which is imported for them only.
_ASKED = (
    "threshold-times",
    "threshold-logs",
    "threshold-scts",
    "witness-policy",
    "key-valid-from",
    "key-valid-until",
    "signature",
    "certificate",
    "rekor-bundle",
    "rfc3161-timestamp",
    "sct",
)
_OPTIONS = (
    *expected.OPTIONS,
    "instance",
    "url",
    "trusted-root",
    "trust-config",
    "max-trust-age",
    "distrust",
    "bundle",
    "workers",
    *_ASKED,
    "type",
    "checksums",
)
_FLAGS = (
    "ignore-missing",
    "explain",
    "online",
    "print-predicate",
    *expected.FLAGS,
    "without-log",
    "json",
    "help",
)


def run(argv: Sequence[str]) -> int:
    """Run the command with its arguments; returns the exit code."""
    output = Output(as_json="--json" in argv)
    try:
        arguments = parse_arguments(argv, options=_OPTIONS, flags=_FLAGS)
        if arguments.flag("help"):
            print(HELP, end="")
            return OK
        policies: tuple[Expected, ...] = policies_of(arguments)
        asked = None
        if any(map(arguments.flag, (*_ASKED, "without-log"))):
            from countermark.cli import verify_asked

            asked = verify_asked.asked(arguments)
            policies = verify_asked.limited(arguments, policies)
        root = _named_root(arguments, os.environ)
        bundle_file = arguments.one("bundle")
        listing = arguments.one("checksums")
        if not (arguments.operands or listing):
            raise usage("there is nothing to verify", "name at least one FILE")
        judge = judge_of(arguments, policies, root)
        if bundle_file and len(arguments.operands) > 1 and not listing:
            raise usage("--bundle is for one FILE", "verify the files one by one")
        if arguments.flag("print-predicate") and not arguments.one("type"):
            raise usage("a predicate means nothing without its type", "say which with --type")
        if arguments.flag("ignore-missing") and not listing:
            raise usage("only what is listed can be missing", "name a listing with --checksums")
        if listing and arguments.one("type"):
            raise usage("a listing is no statement", "leave out --type or --checksums")
        if arguments.flag("workers"):
            from countermark.cli.verify_workers import spread, workers_of

            if (workers := workers_of(arguments)) > 1:
                return spread(arguments, workers, output)
    except CountermarkError as error:
        return output.fail(error)
    task = _Task(arguments, policies, root, asked, judge, LastSeen(), output, {}, RootChooser())
    if listing:
        from countermark.cli.verify_checksums import verify_listed

        results = verify_listed(
            listing,
            arguments.operands,
            output,
            lambda held: _verify(listing, bundle_file, task, held),
            ignore_missing=arguments.flag("ignore-missing"),
        )
    else:
        results = [_verify(name, bundle_file, task) for name in arguments.operands]
    told, log_code = _logs(task)
    output.result({"results": [result for result, _ in results], **told})
    return next((code for _, code in results if code), log_code)


class _Task(NamedTuple):
    """What is the same for every file.

    `policies` are alternatives, more than one only for several keys; `asked` is there only if
    `verify_asked` had something to read, `judge` only if `policies` do not say it all.
    """

    arguments: Arguments
    policies: tuple[Expected, ...]
    root: Root | None
    asked: "Asked | None"
    judge: "Judge | None"
    seen: LastSeen
    output: Output
    ages: dict[str, str]
    choose: RootChooser

    @property
    def kind(self) -> str:
        return self.arguments.one("type")

    def facts(self, name: str) -> dict[str, Any]:
        """What the judge has to say of a file, for programs."""
        facts = {} if self.judge is None else self.judge.facts.get(name, {})
        return {**facts, "trustNote": self.ages[name]} if self.ages.get(name) else facts

    def check_age(self, name: str, root: Root) -> None:
        """Say if a root is out of date; refuse it if that was asked for."""
        limit = self.arguments.one("max-trust-age")
        if not limit and "://" not in root.name and root.name not in (PUBLIC, STAGING):
            return  # a file: nobody knows
        import time

        from countermark.client.trust.age import age_note, read_limit

        note = age_note(root, time.time(), limit_days=read_limit(limit))
        if note:
            self.ages[name] = note
            print(printable(f"{name}: {note}"), file=sys.stderr)

    def under(self, root: Root, bundle: Bundle, artifact: Artifact, policy: Expected) -> Evidence:
        """Verify with all that was asked for."""
        if self.asked is None:
            thresholds, witnesses = ONE_OF_EACH, None
        else:
            thresholds, witnesses = self.asked.thresholds, self.asked.witnesses
        paths = self.arguments.all("distrust")
        if not paths:
            return root.verify(bundle, artifact, policy, thresholds, witnesses=witnesses)
        from countermark.client.distrust import read_lists, verify_heeding  # few name any

        lists = read_lists(paths)
        return verify_heeding(
            root, lists, bundle, artifact, policy, thresholds, witnesses=witnesses
        )


def _verify(
    name: str, bundle_file: str, task: _Task, held: Artifact | None = None
) -> tuple[dict[str, Any], int]:
    """Verify one file; gives its result for programs and the exit code.

    With a type, a statement of that type about it; its predicate is printed on demand. `held` is
    what the file holds, if that was read before.
    """
    code = None
    arguments, output = task.arguments, task.output
    explain, print_it = arguments.flag("explain"), arguments.flag("print-predicate")
    try:
        artifact, size = held, 0
        if artifact is None:
            artifact, size = _artifact(name, bundle_file or arguments.one("signature"))
        code = NO_SIGNATURE
        found = _signatures(name, bundle_file, task)
        code = None
        bundle, evidence = _holding(found, name, artifact, size, task)
        if task.kind:
            from countermark.client.attestation import check_type

            check_type(evidence.statement, task.kind)
        if task.judge is not None:
            task.judge.settle(name)
        told = _told(bundle, output, print_it=print_it)
        if len(found) > 1:
            told |= {"signature": found.index(bundle) + 1, "signatures": len(found)}
    except CountermarkError as error:
        result = code if code is not None and isinstance(error, NotFound) else exit_code(error)
        failed = _failed(name, error, result, output, explain=explain)
        return {**failed, **task.facts(name)}, result
    except OSError as error:
        reason = RequestRejected(f"{error.filename or name} cannot be read: {error.strerror}")
        return _failed(name, reason, exit_code(reason), output), exit_code(reason)
    if not print_it:
        remark = task.judge.remarks.get(name, "") if task.judge is not None else ""
        _print(name, evidence, output, remark, explain=explain)
    return {"file": name, "verified": True, **evidence.to_json(), **told, **task.facts(name)}, OK


def _signatures(name: str, bundle_file: str, task: _Task) -> "list[Bundle | FormatError]":
    if task.asked is not None and any(task.asked.detached):
        return [task.asked.signature()]
    path = bundle_file or _beside(name, task.kind)
    data = read_file(path, 4 * MAX_BUNDLE_BYTES)
    try:
        return [Bundle.parse(data)]
    except FormatError:
        from countermark.client.signatures import parse_signatures  # not one bundle, then

        return parse_signatures(data, path)


def _holding(
    found: "list[Bundle | FormatError]", name: str, artifact: Artifact, size: int, task: _Task
) -> tuple[Bundle, Evidence]:
    """The first signature that holds, and what it proves; of a single one, why it does not."""
    refused: list[CountermarkError] = []
    for bundle in found:
        try:
            if isinstance(bundle, FormatError):
                raise bundle
            return bundle, _with_progress(name, artifact, size, bundle, task)
        except (FormatError, VerificationError) as error:
            if len(found) == 1:
                raise
            refused.append(error)
    from countermark.cli.verify_asked import none_holds

    raise none_holds(refused)


def _beside(name: str, kind: str) -> str:
    if not kind:
        return bundle_path(name)
    from countermark.client.attestation import find_attestation

    return find_attestation(name, kind)


def _told(bundle: Bundle, output: Output, *, print_it: bool) -> dict[str, Any]:
    """What the statement says, for programs; printed for others."""
    if not print_it:
        return {}
    from countermark.client.attestation import predicate_of

    predicate = predicate_of(bundle)
    if output.as_json:
        import json

        return {"predicate": json.loads(predicate)}
    sys.stdout.buffer.write(predicate + b"\n")
    sys.stdout.buffer.flush()
    return {}


def _with_progress(
    name: str, artifact: Artifact, size: int, bundle: Bundle, task: _Task
) -> Evidence:
    judge = task.judge
    root = (judge.root() if judge is not None else None) or task.root or task.choose(bundle)
    task.check_age(name, root)
    with task.output.progress(f"hashing {name}", size) as ticker:
        if isinstance(artifact, FileArtifact):
            artifact.progress = ticker.advance
        if judge is not None:
            evidence = judge.verify(name, bundle, artifact, root, task.under)
        elif len(task.policies) == 1:
            evidence = task.under(root, bundle, artifact, task.policies[0])
        else:
            from countermark.client.keys.several import first_that_holds

            evidence = first_that_holds(
                bundle,
                task.policies,
                lambda policy: task.under(root, bundle, artifact, policy),
            )
    try:
        task.seen.meet(bundle, root.trusted_root)
    except SettingsError as error:  # what somebody else may have written says nothing
        print(printable(f"{name}: checkpoints are not compared: {error}"), file=sys.stderr)
    return evidence


def _logs(task: _Task) -> tuple[dict[str, Any], int]:
    """Remember the logs' checkpoints, and ask the logs if that is wanted.

    Gives what is to be told to programs, and the exit code. A folder that cannot be written to
    is no reason to fail: then nothing is remembered.
    """
    online = task.arguments.flag("online")
    try:
        task.seen.save()
    except SettingsError as error:
        task.output.advice(f"checkpoints are not remembered: {error}")
    except VerificationError as error:
        if not task.output.as_json:
            return {}, task.output.fail(error)
        message, hint = describe(error)
        code = exit_code(error)
        return {"error": {"code": error.code, "message": message, "hint": hint, "exit": code}}, code
    if not online:
        return {}, OK
    from countermark.cli.logs_online import ask_logs

    rows, code = ask_logs(task.seen.logs(), task.output)
    return {"logs": rows}, code


def _artifact(name: str, bundle_file: str) -> tuple[Artifact, int]:
    # Before any look at the disk: a file of that name must not stand in for what was asked about.
    if name.startswith(("sha256:", "sha384:", "sha512:")):
        if not bundle_file:
            raise usage("a digest alone has no signature beside it", "name it with --bundle")
        return DigestArtifact.parse(name), 0
    if not os.path.exists(name):
        raise NotFound(f"there is no file {name}")
    return FileArtifact(name), os.path.getsize(name)


def _named_root(arguments: Arguments, environ: Mapping[str, str]) -> Root | None:
    """The root that flags, or else the environment, ask for."""
    named = {name: arguments.one(name) for name in ROOTS}
    if not any(named.values()):
        named = {
            name: environ.get(f"COUNTERMARK_{name.upper().replace('-', '_')}", "") for name in ROOTS
        }
    chosen = {name: value for name, value in named.items() if value}
    if not chosen:
        return None
    if len(chosen) > 1:
        raise usage("whom to believe is said in more than one way", "say it once")
    ((way, value),) = chosen.items()
    return named_root(value) if way in ("instance", "url") else root_from_file(value)


def _failed(
    name: str, error: CountermarkError, code: int, output: Output, *, explain: bool = False
) -> dict[str, Any]:
    message, hint = describe(error)
    refused = error if isinstance(error, VerificationError) else VerificationError()
    if not output.as_json:
        print(printable(f"{name}: NOT verified: {message}"), file=sys.stderr)
        for what, text in (("found", refused.found), ("expected", refused.expected)):
            if text and repr(text) not in message:
                print(f"  {what:<10} {printable(text)}", file=sys.stderr)
        if hint:
            print(f"  {printable(hint)}", file=sys.stderr)
        if explain:
            _explain(refused.passed, output)
    fault = {"code": error.code, "message": message, "hint": hint, "exit": code}
    if not isinstance(error, VerificationError):
        return {"file": name, "verified": False, "error": fault}
    fault |= {"found": error.found, "expected": error.expected}
    if isinstance(error, NoneMatches):
        fault["signatures"] = list(error.refusals)
    passed = [check.to_json() for check in error.passed if isinstance(check, Check)]
    return {"file": name, "verified": False, "error": fault, "checks": passed}


def _explain(checks: tuple[object, ...], output: Output) -> None:
    from countermark.cli.verify_asked import explained

    for line in explained(tuple(check for check in checks if isinstance(check, Check))):
        output.line(line)


def _print(
    name: str, evidence: Evidence, output: Output, remark: str = "", *, explain: bool = False
) -> None:
    signer, name, root = evidence.signer, printable(name), printable(evidence.root)
    if signer is not None:
        who = printable(f"{signer.name} ({signer.issuer})")
    else:
        who = f"key sha256:{evidence.key.key_id.hex()}"
    when = f" at {evidence.times[0].time:%Y-%m-%d %H:%M:%S} UTC" if evidence.times else ""
    if explain or not (output.terminal or sys.stdout.isatty()):
        told = f", {remark}" if remark else ""
        output.line(f"{name}: verified, signed by {who}{when}, root {root}{told}")
        if explain:
            _explain(evidence.checks, output)
        return
    output.line(f"{output.good('verified')} {output.strong(name)}")
    output.line(f"  signed by {who}{when}")
    output.line(f"  root       {root}")
    if remark:
        output.line(f"  {remark}")
    for check in evidence.checks:
        output.line(f"  ✓ {check.name:<11} {printable(check.detail)}")
