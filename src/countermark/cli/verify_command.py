# SPDX-License-Identifier: Apache-2.0
"""`countermark verify`: check who signed files, offline.

The lean path: what is imported here is most of the time a verification takes. A test holds the
list of modules.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from countermark.cli.arguments import Arguments, parse_arguments, printable
from countermark.cli.exits import NO_SIGNATURE, OK, exit_code
from countermark.cli.output import Output, describe
from countermark.client.verify import (
    FileArtifact,
    Root,
    bundle_path,
    choose_root,
    named_root,
    read_bundle,
    read_file,
    root_from_file,
)
from countermark.core.bundle.bundle import Bundle
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_utf8
from countermark.core.errors import CountermarkError, NotFound, RequestRejected
from countermark.core.verify.artifact import Artifact, DigestArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import (
    AllOf,
    AnyOf,
    CertificateExtension,
    Identity,
    IdentityPattern,
    Policy,
    UnsafeAnyIdentity,
)

HELP = """\
Usage: countermark verify [OPTIONS] FILE…

  Check who signed files, offline. The signature of FILE is FILE.sigstore.json (or
  FILE.sigstore). Instead of a file, a digest can be given: sha256:<64 hex digits>;
  a file of such a name is ./sha256:….

Who must have signed:
  --identity NAME          e-mail address or URI in the certificate; repeat for several
  --issuer URL             identity provider that vouched for it
  --identity-regex RE      instead of --identity: pattern for the whole name
  --issuer-regex RE        instead of --issuer: pattern for the whole URL
  --extension NAME=VALUE   what else the certificate must say, e.g. source-repository-uri=…
  --key FILE               instead of all these: PEM public key of a managed key
  --unsafe-any-identity    accept anybody; proves only that somebody signed

Whom to believe (default: the root that knows the bundle's log, of the user's own instances,
for identities of their own login only, and the public one):
  --instance NAME          public, staging, or the URL of an instance you trust
  --url URL                the same, for an instance
  --trusted-root FILE      a trusted root file
  --trust-config FILE      a client trust config file

  --bundle FILE            the signature, if it is not beside the file
  --json                   the result for programs
  -h, --help               this text

Exit codes: 0 verified, 1 not proven, 2 wrong usage, 10 no signature, 11 no such file,
65 malformed signature.
"""
_OPTIONS = (
    "identity",
    "issuer",
    "identity-regex",
    "issuer-regex",
    "extension",
    "key",
    "instance",
    "url",
    "trusted-root",
    "trust-config",
    "bundle",
)
_FLAGS = ("unsafe-any-identity", "json", "help")
_ROOTS = ("instance", "url", "trusted-root", "trust-config")
_MAX_KEY_BYTES = 64 * 1024


def run(argv: Sequence[str]) -> int:
    """Run the command with its arguments; returns the exit code."""
    output = Output(as_json="--json" in argv)
    try:
        arguments = parse_arguments(argv, options=_OPTIONS, flags=_FLAGS)
        if arguments.flag("help"):
            print(HELP, end="")
            return OK
        policy = _policy(arguments)
        root = _named_root(arguments, os.environ)
        bundle_file = arguments.one("bundle")
        if not arguments.operands:
            raise _usage("there is nothing to verify", "name at least one FILE")
        if bundle_file and len(arguments.operands) > 1:
            raise _usage("--bundle is for one FILE", "verify the files one by one")
    except CountermarkError as error:
        return output.fail(error)
    results = [_verify(name, bundle_file, policy, root, output) for name in arguments.operands]
    output.result({"results": [result for result, _ in results]})
    return next((code for _, code in results if code), OK)


def _verify(
    name: str,
    bundle_file: str,
    policy: Policy | PublicKey,
    root: Root | None,
    output: Output,
) -> tuple[dict[str, Any], int]:
    """Verify one file; gives its result for programs and the exit code."""
    code = None
    try:
        artifact, size = _artifact(name, bundle_file)
        code = NO_SIGNATURE
        bundle = read_bundle(bundle_file or bundle_path(name))
        code = None
        chosen = root or choose_root(bundle)
        evidence = _with_progress(name, artifact, size, bundle, chosen, policy, output)
    except CountermarkError as error:
        found = code if code is not None and isinstance(error, NotFound) else exit_code(error)
        return _failed(name, error, found, output), found
    except OSError as error:
        reason = RequestRejected(f"{error.filename or name} cannot be read: {error.strerror}")
        return _failed(name, reason, exit_code(reason), output), exit_code(reason)
    _print(name, evidence, output)
    return {"file": name, "verified": True, **evidence.to_json()}, OK


def _with_progress(
    name: str,
    artifact: Artifact,
    size: int,
    bundle: Bundle,
    root: Root,
    policy: Policy | PublicKey,
    output: Output,
) -> Evidence:
    with output.progress(f"hashing {name}", size) as ticker:
        if isinstance(artifact, FileArtifact):
            artifact.progress = ticker.advance
        return root.verify(bundle, artifact, policy)


def _artifact(name: str, bundle_file: str) -> tuple[Artifact, int]:
    # Before any look at the disk: a file of that name must not stand in for what was asked about.
    if name.startswith(("sha256:", "sha384:", "sha512:")):
        if not bundle_file:
            raise _usage("a digest alone has no signature beside it", "name it with --bundle")
        return DigestArtifact.parse(name), 0
    if not os.path.exists(name):
        raise NotFound(f"there is no file {name}")
    return FileArtifact(name), os.path.getsize(name)


def _policy(arguments: Arguments) -> Policy | PublicKey:
    key_file = arguments.one("key")
    names, pattern = arguments.all("identity"), arguments.one("identity-regex")
    issuer, issuer_pattern = arguments.one("issuer"), arguments.one("issuer-regex")
    ways = (bool(names), bool(pattern), bool(key_file), arguments.flag("unsafe-any-identity"))
    if sum(ways) != 1:
        raise _usage(
            "it must be said, in one way, who is to have signed",
            "use --identity NAME with --issuer URL, or --key FILE",
        )
    extensions = tuple(map(_extension, arguments.all("extension")))
    if key_file:
        if issuer or issuer_pattern or extensions:
            raise _usage("a managed key has no issuer and no certificate", "give --key alone")
        return PublicKey.from_pem(from_utf8(read_file(key_file, _MAX_KEY_BYTES), key_file))
    who: Policy = UnsafeAnyIdentity()
    if not (names or pattern):
        if issuer or issuer_pattern:
            raise _usage("an issuer alone names nobody", "say with --identity-regex who")
    else:
        if bool(issuer) == bool(issuer_pattern):
            raise _usage(
                "a name proves nothing without the provider that vouched for it",
                "say with --issuer URL (or --issuer-regex) which one",
            )
        if issuer and names:
            who = AnyOf(tuple(Identity(name, issuer) for name in names))
        else:
            import re

            patterns = (pattern,) if pattern else tuple(map(re.escape, names))
            by = issuer_pattern or re.escape(issuer)
            who = AnyOf(tuple(IdentityPattern(item, by) for item in patterns))
    return AllOf((who, *extensions))


def _extension(text: str) -> CertificateExtension:
    name, equals, value = text.partition("=")
    if not equals:
        raise _usage(f"--extension {text} names no value", "write it as NAME=VALUE")
    return CertificateExtension(name, value)


def _named_root(arguments: Arguments, environ: Mapping[str, str]) -> Root | None:
    """The root that flags, or else the environment, ask for."""
    named = {name: arguments.one(name) for name in _ROOTS}
    if not any(named.values()):
        named = {
            name: environ.get(f"COUNTERMARK_{name.upper().replace('-', '_')}", "")
            for name in _ROOTS
        }
    chosen = {name: value for name, value in named.items() if value}
    if not chosen:
        return None
    if len(chosen) > 1:
        raise _usage("whom to believe is said in more than one way", "say it once")
    ((way, value),) = chosen.items()
    return named_root(value) if way in ("instance", "url") else root_from_file(value)


def _failed(name: str, error: CountermarkError, code: int, output: Output) -> dict[str, Any]:
    message, hint = describe(error)
    if not output.as_json:
        print(printable(f"{name}: NOT verified: {message}"), file=sys.stderr)
        if hint:
            print(f"  {printable(hint)}", file=sys.stderr)
    fault = {"code": error.code, "message": message, "hint": hint, "exit": code}
    return {"file": name, "verified": False, "error": fault}


def _print(name: str, evidence: Evidence, output: Output) -> None:
    signer, name, root = evidence.signer, printable(name), printable(evidence.root)
    if signer is not None:
        who = printable(f"{signer.name} ({signer.issuer})")
    else:
        who = f"key sha256:{evidence.key.key_id.hex()}"
    when = f" at {evidence.times[0].time:%Y-%m-%d %H:%M:%S} UTC" if evidence.times else ""
    if not (output.terminal or sys.stdout.isatty()):
        output.line(f"{name}: verified, signed by {who}{when}, root {root}")
        return
    output.line(f"{output.good('verified')} {output.strong(name)}")
    output.line(f"  signed by {who}{when}")
    output.line(f"  root       {root}")
    for check in evidence.checks:
        output.line(f"  ✓ {check.name:<11} {printable(check.detail)}")


def _usage(what: str, advice: str) -> RequestRejected:
    error = RequestRejected(what)
    error.add_note(advice)
    return error
