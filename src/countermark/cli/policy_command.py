# SPDX-License-Identifier: Apache-2.0
"""`countermark policy`: check and show policy files without verifying anything."""

from typing import Any

import click

from countermark.cli.arguments import printable
from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.client.policy_file import PolicyFile
from countermark.core.errors import CountermarkError, RequestRejected
from countermark.core.policy.document import FileReference, Rule
from countermark.core.verify.claims import Claim, ClaimPattern
from countermark.core.verify.policy import (
    AllOf,
    AnyOf,
    Identity,
    IdentityPattern,
    Issuer,
    Policy,
)


@click.group()
def policy() -> None:
    """Check policy files and show what they ask for; `verify --policy` uses them."""


@policy.command(epilog="Example: countermark policy check policy.toml app-1.2.tar.gz")
@click.argument("file", metavar="POLICY")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@json_option
def check(file: str, names: tuple[str, ...], as_json: bool) -> int:
    """Check that POLICY and all that it refers to can be read, and is about files of each NAME."""
    output = Output(as_json=as_json)
    try:
        read = _read(file)
        read.check()
        for name in names:
            read.document.rule_for(name)
    except CountermarkError as error:
        return output.fail(error)
    except OSError as error:
        return output.fail(_unreadable(error, file))
    count = len(read.document.rules)
    output.line(f"{printable(file)}: good, {count} rule{'s' if count > 1 else ''}")
    output.result({"policy": file, "good": True, "rules": count})
    return 0


@policy.command(epilog="Example: countermark policy show policy.toml app-1.2.tar.gz")
@click.argument("file", metavar="POLICY")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@json_option
def show(file: str, names: tuple[str, ...], as_json: bool) -> int:
    """Show what POLICY asks for, of everything or of files of each NAME."""
    output = Output(as_json=as_json)
    try:
        document = _read(file).document
        rules = [document.rule_for(name) for name in names] or list(document.rules)
    except CountermarkError as error:
        return output.fail(error)
    except OSError as error:
        return output.fail(_unreadable(error, file))
    root = "the one that knows the log"
    if document.root is not None:
        root = document.root.instance or _file(document.root.file)
    output.line(f"root       {printable(root)}")
    if document.witnesses is not None:
        output.line(f"witnesses  {printable(_file(document.witnesses))}")
    shown = list(dict.fromkeys(rules))
    for rule in shown:
        for line in _lines(rule):
            output.line(printable(line))
    output.result({"policy": file, "root": root, "rules": [_as_json(rule) for rule in shown]})
    return 0


def _read(path: str) -> PolicyFile:
    return PolicyFile.read(path)


def _unreadable(error: OSError, path: str) -> RequestRejected:
    return RequestRejected(f"{error.filename or path} cannot be read: {error.strerror}")


def _lines(rule: Rule) -> list[str]:
    wanted = rule.thresholds
    lines = [f"files      {', '.join(rule.files)}"]
    lines.append(f"  proof    times {wanted.times}, logs {wanted.logs}, scts {wanted.scts}")
    if wanted.unlogged:
        lines[-1] += ", and what no log records is accepted"
    if rule.policy is not None:
        lines += [f"  {'  ' * depth}{text}" for depth, text in _described(rule.policy, 0)]
    lines += [f"  key      {_file(key)}" for key in rule.keys]
    return lines


def _described(asked: Policy, depth: int) -> list[tuple[int, str]]:
    if isinstance(asked, AnyOf | AllOf):
        inner = [line for part in asked.policies for line in _described(part, depth + 1)]
        if len(asked.policies) == 1:
            return _described(asked.policies[0], depth)
        return [(depth, "any of" if isinstance(asked, AnyOf) else "all of"), *inner]
    return [(depth, _in_words(asked))]


def _in_words(asked: Policy) -> str:
    match asked:
        case Identity(name, issuer):
            return f"{name}, by {issuer}"
        case IdentityPattern(name, issuer):
            return f"a name like {name}, by an issuer like {issuer}"
        case Issuer(issuer):
            return f"issuer {issuer}"
        case Claim(name, values):
            return f"{name} {' or '.join(values)}"
        case ClaimPattern(name, pattern):
            return f"{name} like {pattern}"
    raise AssertionError(f"no policy file asks for {asked!r}")


def _file(reference: FileReference | None) -> str:
    if reference is None:
        return ""
    fixed = f" (sha256 {reference.sha256.hex()})" if reference.sha256 else ""
    return f"{reference.path}{fixed}"


def _as_json(rule: Rule) -> dict[str, Any]:
    return {
        "files": list(rule.files),
        "thresholds": rule.thresholds._asdict(),
        "accepts": [text for _, text in _described(rule.policy, 0)] if rule.policy else [],
        "keys": [key.path for key in rule.keys],
    }
