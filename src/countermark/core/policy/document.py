# SPDX-License-Identifier: Apache-2.0
"""Policy files: whom to believe, and who must have signed which files.

The format is described in docs/reference/policy-file.md. It is TOML, read strictly: whatever is
not understood is named and refused, all of it at once. Nothing that a file refers to is read here.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

from countermark.core.encoding import from_utf8
from countermark.core.errors import CountermarkError, FormatError, IdentityMismatch, RequestRejected
from countermark.core.policy.expectations import Reader
from countermark.core.verify.glob import matches
from countermark.core.verify.policy import Policy
from countermark.core.verify.verifier import ONE_OF_EACH, Thresholds

MAX_POLICY_BYTES = 64 * 1024
_VERSION = 1
_MAX_FAULTS = 8
_MAX_RULES, _MAX_FILES, _MAX_KEYS = 256, 64, 16
_MAX_THRESHOLD = 100
_MAX_DOTS = 4096  # keys with very many dots take the reader long
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class FileReference(NamedTuple):
    """Another file, by its path.

    Attributes:
        path: relative to the policy file's folder, or absolute.
        sha256: 32 bytes that its content must have; empty if the policy does not fix it.
    """

    path: str
    sha256: bytes


class RootReference(NamedTuple):
    """The root to believe: an instance's by name, or a file's. One of them is set."""

    instance: str
    file: FileReference | None


class Rule(NamedTuple):
    """Who must have signed files of some names.

    Attributes:
        files: globs of `core.verify.glob`, for names without their folder.
        policy: for certified identities; None if only keys are accepted.
        keys: public keys of which any is accepted instead.
        thresholds: how many independent parties must agree.
    """

    files: tuple[str, ...]
    policy: Policy | None
    keys: tuple[FileReference, ...]
    thresholds: Thresholds


class PolicyDocument(NamedTuple):
    """A policy file's content.

    Attributes:
        root: None to choose it as `verify` does without a policy.
        witnesses: the policy about who must have cosigned checkpoints; None for nobody.
        rules: at least one; the first one that fits a name decides.
    """

    root: RootReference | None
    witnesses: FileReference | None
    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, data: bytes, what: str = "policy") -> "PolicyDocument":
        """Read a file's bytes. Raises FormatError that lists what is wrong.

        Args:
            data: at most `MAX_POLICY_BYTES`.
            what: the file's name, for the error.
        """
        if len(data) > MAX_POLICY_BYTES:
            raise FormatError(what, f"is larger than {MAX_POLICY_BYTES} bytes")
        if data.count(b".") > _MAX_DOTS:
            raise FormatError(what, f"has more than {_MAX_DOTS} dots")
        try:
            tree = tomllib.loads(from_utf8(data, what))
        except (ValueError, RecursionError) as error:
            raise FormatError(what, f"is not TOML: {str(error)[:200]}") from error
        reader = Reader()
        document = _document(reader, tree)
        if reader.faults or document is None:
            more = len(reader.faults) - _MAX_FAULTS
            listed = "; ".join(reader.faults[:_MAX_FAULTS])
            raise FormatError(what, listed + (f"; and {more} more" if more > 0 else ""))
        return document

    def rule_for(self, name: str) -> Rule:
        """The rule for a file of that name, without folder. Raises IdentityMismatch."""
        for rule in self.rules:
            if any(matches(glob, name) for glob in rule.files):
                return rule
        error = IdentityMismatch(f"the policy says nothing about a file called {name[:300]!r}")
        error.add_note("add its name to the files of an [[artifact]], or say it with --as NAME")
        raise error

    def references(self) -> tuple[FileReference, ...]:
        """Every file that it refers to."""
        named = (self.root.file if self.root else None, self.witnesses)
        keys = (key for rule in self.rules for key in rule.keys)
        return (*(file for file in named if file is not None), *keys)


def _document(reader: Reader, tree: Mapping[str, Any]) -> PolicyDocument | None:
    version = tree.get("version")
    if type(version) is not int or version != _VERSION:
        said = "is missing" if version is None else f"is {str(version)[:40]!r}"
        reader.fault("version", f"{said}, and this program reads version {_VERSION}")
        return None  # whatever else it says may mean something else
    reader.known(tree, "", ("version", "root", "thresholds", "witnesses", "artifact"))
    root = _root(reader, tree.get("root"))
    witnesses = None
    if "witnesses" in tree:
        table = reader.table(tree["witnesses"], "witnesses")
        reader.known(table, "witnesses", ("file", "sha256"))
        witnesses = _file(reader, table, "witnesses")
    general = _thresholds(reader, tree, "thresholds", ONE_OF_EACH)
    rules = tuple(
        _rule(reader, table, where, general)
        for table, where in reader.tables(tree, "artifact", "artifact", _MAX_RULES)
    )
    if not rules:
        reader.fault("artifact", "is missing: say in an [[artifact]] who is to sign which files")
    return PolicyDocument(root, witnesses, rules)


def _root(reader: Reader, value: object) -> RootReference | None:
    if value is None:
        return None
    table = reader.table(value, "root")
    reader.known(table, "root", ("instance", "file", "sha256"))
    instance, file = reader.text(table, "instance", "root"), None
    if "file" in table or "sha256" in table:
        file = _file(reader, table, "root")
    if bool(instance) == (file is not None):
        reader.fault("root", "names neither or both of an instance and a file")
    return RootReference(instance, file)


def _file(reader: Reader, table: Mapping[str, Any], where: str) -> FileReference:
    path, digest = reader.text(table, "file", where), reader.text(table, "sha256", where)
    if not path:
        reader.fault(f"{where}.file", "is missing")
    if digest and not _SHA256.fullmatch(digest):
        reader.fault(f"{where}.sha256", "is not 64 lower-case hexadecimal digits")
        digest = ""
    return FileReference(path, bytes.fromhex(digest))


def _thresholds(
    reader: Reader, parent: Mapping[str, Any], where: str, general: Thresholds
) -> Thresholds:
    if "thresholds" not in parent:
        return general
    table = reader.table(parent["thresholds"], where)
    names = ("times", "logs", "scts")
    reader.known(table, where, (*names, "unlogged"))
    times, logs, scts = (
        _number(reader, table.get(name, getattr(general, name)), f"{where}.{name}")
        for name in names
    )
    unlogged = table.get("unlogged", general.unlogged)
    if not isinstance(unlogged, bool):
        reader.fault(f"{where}.unlogged", "is not true or false")
    return Thresholds(times, logs, scts, unlogged is True)


def _number(reader: Reader, value: object, where: str) -> int:
    if type(value) is int and 1 <= value <= _MAX_THRESHOLD:
        return value
    reader.fault(where, f"is not a number from 1 to {_MAX_THRESHOLD}")
    return 1


def _rule(reader: Reader, table: Mapping[str, Any], where: str, general: Thresholds) -> Rule:
    reader.known(table, where, ("files", "any", "all", "keys", "thresholds"))
    files = reader.texts(table, "files", where, _MAX_FILES)
    for number, glob in enumerate(files, 1):
        try:
            matches(glob, "")
        except RequestRejected as error:
            reader.fault(f"{where}.files[{number}]", str(error))
        if "/" in glob:
            reader.fault(f"{where}.files[{number}]", "holds a slash, and is about names alone")
    if not files:
        reader.fault(f"{where}.files", "is missing: name the files that it is about")
    keys: list[FileReference] = []
    for item, place in reader.tables(table, "keys", f"{where}.keys", _MAX_KEYS):
        reader.known(item, place, ("file", "sha256"))
        keys.append(_file(reader, item, place))
    try:
        policy = reader.group(table, where)
    except CountermarkError as error:
        reader.fault(where, str(error))
        policy = None
    if policy is None and not keys:
        reader.fault(where, "accepts nobody: say who signs in any, all or keys")
    return Rule(
        files, policy, tuple(keys), _thresholds(reader, table, f"{where}.thresholds", general)
    )
