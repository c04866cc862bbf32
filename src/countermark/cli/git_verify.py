# SPDX-License-Identifier: Apache-2.0
"""`countermark git verify`: check who signed commits and tags, offline.

A lean path, like `verify`: imports are most of the time that it takes.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from countermark.cli import verify_command as rules
from countermark.cli.arguments import Arguments, parse_arguments, printable
from countermark.cli.exits import NO_SIGNATURE, OK, exit_code
from countermark.cli.expected import policies_of
from countermark.cli.output import Output, describe
from countermark.client.git.objects import SignedObject, parse_object
from countermark.client.git.run import list_commits, read_object
from countermark.client.git.settings import GitSettings, chosen, load_settings
from countermark.client.git.verify import Verified, verify_signature
from countermark.client.verify import Root
from countermark.core.cms.git_signature import GitSignature
from countermark.core.errors import (
    CountermarkError,
    NotFound,
    RequestRejected,
    SignatureInvalid,
)
from countermark.core.verify.verifier import Expected

HELP = """\
Usage: countermark git verify [OPTIONS] [REF…]

  Check who signed commits and tags, offline. REF is a commit, a tag, or a range
  A..B of commits, each of which must hold; without any, HEAD.

Who must have signed (or in Git's configuration: countermark.identity, …):
  --identity NAME          e-mail address or URI in the certificate; repeat for several
  --issuer URL             identity provider that vouched for it
  --identity-regex RE      instead of --identity: pattern for the whole name
  --issuer-regex RE        instead of --issuer: pattern for the whole URL
  --extension NAME=VALUE   what else the certificate must say
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
WHO = ("identity", "issuer", "identity-regex", "issuer-regex", "extension")
ROOTS = ("instance", "url", "trusted-root", "trust-config")
_FLAGS = ("unsafe-any-identity", "json", "help")


def run(argv: Sequence[str]) -> int:
    """Run the command with its arguments; returns the exit code."""
    output = Output(as_json="--json" in argv)
    try:
        arguments = parse_arguments(argv, options=(*WHO, *ROOTS), flags=_FLAGS)
        if arguments.flag("help"):
            print(HELP, end="")
            return OK
        policy, root = expected(arguments, load_settings(), os.environ)
        names = [name for word in arguments.operands or ("HEAD",) for name in _expand(word)]
        if not names:
            raise RequestRejected("there are no commits in that range")
    except CountermarkError as error:
        return output.fail(error)
    results = [_verify(name, policy, root, output) for name in names]
    output.result({"results": [result for result, _ in results]})
    return next((code for _, code in results if code), OK)


def expected(
    arguments: Arguments, settings: GitSettings, environ: Mapping[str, str]
) -> tuple[Expected, Root | None]:
    """Who must have signed and whom to believe: as it was said here, else in Git's configuration.

    Raises RequestRejected if nobody is expected.
    """
    values = dict(arguments.values)
    if not any(name in values for name in (*WHO, "unsafe-any-identity")):
        values |= chosen(settings, WHO)
    variables = [f"COUNTERMARK_{name.upper().replace('-', '_')}" for name in ROOTS]
    if not any(name in values for name in ROOTS) and not any(map(environ.get, variables)):
        values |= chosen(settings, ROOTS)
    if not any(name in values for name in (*WHO, "unsafe-any-identity")):
        error = RequestRejected("it must be said who is to have signed")
        error.add_note(
            "use --identity NAME with --issuer URL, or have `countermark git setup` remember them"
        )
        raise error
    said = Arguments(values, ())
    (policy,) = policies_of(said)
    return policy, rules._named_root(said, environ)


def _expand(word: str) -> list[str]:
    if ".." not in word:
        return [word]
    return list_commits(word)


def _verify(
    name: str, policy: Expected, root: Root | None, output: Output
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
        verified = verify_signature(found.payload, signature, policy, root=root)
    except CountermarkError as error:
        result = code if code is not None and isinstance(error, NotFound) else exit_code(error)
        message, hint = describe(error)
        if not output.as_json:
            print(printable(f"{name}: NOT verified: {message}"), file=sys.stderr)
            if hint:
                print(f"  {printable(hint)}", file=sys.stderr)
        fault = {"code": error.code, "message": message, "hint": hint, "exit": result}
        return {"ref": name, "verified": False, "error": fault}, result
    _print(name, oid, kind, verified, output)
    result_for_programs = {"ref": name, "id": oid, "type": kind, "verified": True}
    return {**result_for_programs, **verified.evidence.to_json()}, OK


def _check_name(name: str, oid: str, found: SignedObject) -> None:
    """A tag counts under the name it was signed under only: a new one could hide an old release."""
    asked = name.removeprefix("refs/").removeprefix("tags/")
    if found.kind == "tag" and found.tag != asked and not oid.startswith(name):
        error = SignatureInvalid(f"the tag was signed as {found.tag!r}, not as {asked!r}")
        error.found, error.expected = found.tag, asked
        raise error


def _print(name: str, oid: str, kind: str, verified: Verified, output: Output) -> None:
    evidence = verified.evidence
    assert evidence.signer is not None
    shown = name if oid.startswith(name) else f"{name} ({oid[:12]})"
    who = f"{evidence.signer.name} ({evidence.signer.issuer})"
    when = f"{evidence.times[0].time:%Y-%m-%d %H:%M:%S} UTC"
    line = f"{shown}: verified, {kind} signed by {who} at {when}, root {evidence.root}"
    output.line(printable(line))
