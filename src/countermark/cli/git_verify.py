# SPDX-License-Identifier: Apache-2.0
"""`countermark git verify`: check who signed commits and tags, offline.

A lean path, like `verify`: imports are most of the time that it takes.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from countermark.cli.arguments import parse_arguments, printable
from countermark.cli.exits import NO_SIGNATURE, OK, exit_code
from countermark.cli.git_expected import (
    FLAGS,
    OPTIONS,
    Expectation,
    expectation,
    name_in_policies,
)
from countermark.cli.output import Output, describe
from countermark.client.git.objects import SignedObject, parse_object
from countermark.client.git.run import list_commits, read_object
from countermark.client.git.settings import load_settings
from countermark.client.git.verify import checkable
from countermark.client.last_seen import LastSeen
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.cms.git_signature import GitSignature
from countermark.core.errors import (
    CountermarkError,
    NotFound,
    RequestRejected,
    SettingsError,
    SignatureInvalid,
    VerificationError,
)
from countermark.core.verify.evidence import Evidence

HELP = """\
Usage: countermark git verify [OPTIONS] [REF…]

  Check who signed commits and tags, offline. REF is a commit, a tag, or a range
  A..B of commits, each of which must hold; without any, HEAD.

Who must have signed (or in Git's configuration: countermark.identity, …):
  --identity NAME          e-mail address or URI in the certificate; repeat for several
  --issuer URL             identity provider that vouched for it
  --identity-regex RE      instead of --identity: pattern for the whole name
  --issuer-regex RE        instead of --issuer: pattern for the whole URL
  --repository URL, --workflow, --ref, --trigger, --runner, --extension NAME=VALUE
                           what else the certificate must say
  --policy FILE            a policy that says all this, for git-commit and git-tag-NAME
  --unsafe-any-identity    accept anybody; proves only that somebody signed

Whom to believe (default: the root that knows the log in the signature):
  --instance NAME          public, staging, or the URL of an instance you trust
  --url URL                the same, for an instance
  --trusted-root FILE      a trusted root file
  --trust-config FILE      a client trust config file

  --json                   the result for programs
  -h, --help               this text

  countermark git verify v1.2 --identity me@example.org --issuer https://issuer.example

Exit codes: 0 verified, 1 not proven, 2 wrong usage, 10 not signed, 11 no such commit or
tag, 65 malformed signature.
"""


def run(argv: Sequence[str]) -> int:
    """Run the command with its arguments; returns the exit code."""
    output = Output(as_json="--json" in argv)
    try:
        arguments = parse_arguments(argv, options=OPTIONS, flags=(*FLAGS, "json", "help"))
        if arguments.flag("help"):
            print(HELP, end="")
            return OK
        expected = expectation(arguments, load_settings(), os.environ)
        names = [name for word in arguments.operands or ("HEAD",) for name in _expand(word)]
        if not names:
            raise RequestRejected("there are no commits in that range")
    except CountermarkError as error:
        return output.fail(error)
    seen = LastSeen()
    results = [_verify(name, expected, seen, output) for name in names]
    code = _remember(seen, output)
    output.result({"results": [result for result, _ in results]})
    return next((code for _, code in results if code), code)


def _expand(word: str) -> list[str]:
    return list_commits(word) if ".." in word else [word]


def _verify(
    name: str, expected: Expectation, seen: LastSeen, output: Output
) -> tuple[dict[str, Any], int]:
    """Verify one object; gives its result for programs and the exit code."""
    code = None
    try:
        oid, kind, data = read_object(name)
        code = NO_SIGNATURE
        found = parse_object(oid, kind, data)
        code = None
        _check_name(name, oid, found)
        signature = GitSignature.parse(found.signature)
        checked = checkable(found.payload, signature, expected.root)
        evidence = expected.verify(name_in_policies(kind, found.tag), checked)
        _meet(seen, name, checked.bundle, checked.root.trusted_root)
    except CountermarkError as error:
        result = code if code is not None and isinstance(error, NotFound) else exit_code(error)
        message, hint = describe(error)
        if not output.as_json:
            print(printable(f"{name}: NOT verified: {message}"), file=sys.stderr)
            if hint:
                print(f"  {printable(hint)}", file=sys.stderr)
        fault = {"code": error.code, "message": message, "hint": hint, "exit": result}
        if isinstance(error, VerificationError):
            fault |= {"found": error.found, "expected": error.expected}
        return {"ref": name, "verified": False, "error": fault}, result
    _print(name, oid, kind, evidence, output)
    told = {"ref": name, "id": oid, "type": kind, "verified": True}
    return {**told, **evidence.to_json()}, OK


def _meet(seen: LastSeen, name: str, bundle: Bundle, root: TrustedRoot) -> None:
    try:
        seen.meet(bundle, root)
    except SettingsError as error:  # what somebody else may have written says nothing
        print(printable(f"{name}: checkpoints are not compared: {error}"), file=sys.stderr)


def _remember(seen: LastSeen, output: Output) -> int:
    """Keep the newest checkpoints; a folder that cannot be written to is no reason to fail."""
    try:
        seen.save()
    except SettingsError as error:
        output.advice(f"checkpoints are not remembered: {error}")
    except CountermarkError as error:
        return output.fail(error)
    return OK


def _check_name(name: str, oid: str, found: SignedObject) -> None:
    """A tag counts under the name it was signed under only: a new one could hide an old release."""
    asked = name.removeprefix("refs/").removeprefix("tags/")
    if found.kind == "tag" and found.tag != asked and name != oid:
        message = f"the tag was signed as {found.tag!r}, not as {asked!r}"
        raise SignatureInvalid(message, found=found.tag, expected=asked)


def _print(name: str, oid: str, kind: str, evidence: Evidence, output: Output) -> None:
    assert evidence.signer is not None
    shown = name if oid.startswith(name) else f"{name} ({oid[:12]})"
    who = f"{evidence.signer.name} ({evidence.signer.issuer})"
    when = f"{evidence.times[0].time:%Y-%m-%d %H:%M:%S} UTC"
    line = f"{shown}: verified, {kind} signed by {who} at {when}, root {evidence.root}"
    output.line(printable(line))
