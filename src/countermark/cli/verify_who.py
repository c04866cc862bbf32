# SPDX-License-Identifier: Apache-2.0
"""Who must have signed, where `countermark verify` was not told one identity or key.

A policy file says it for each file; or nobody does, and then the signer is told to the user, and
compared with whom was remembered for that file before. Imported for these only.
"""

import os
import time
from typing import Any, Protocol

from countermark.cli.arguments import Arguments, printable
from countermark.client.remembered import Remembered, find, remember
from countermark.client.verify import Root, bundle_path, choose_root, read_bundle
from countermark.core.bundle.bundle import Bundle
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    Conflict,
    IdentityMismatch,
    RequestRejected,
    SignerChanged,
    SignerUnknown,
)
from countermark.core.policy.same_signer import Difference, compare, marks
from countermark.core.policy.versions import without_version
from countermark.core.verify.artifact import Artifact
from countermark.core.verify.claims import CLAIMS, stated
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Policy, UnsafeAnyIdentity
from countermark.core.verify.signer import SignerIdentity
from countermark.core.verify.verifier import Expected

_SHOWN = ("repository", "workflow", "ref", "trigger", "runner")


class Under(Protocol):
    """Verifies a bundle under one root, with all else that was asked for."""

    def __call__(
        self, root: Root, bundle: Bundle, artifact: Artifact, policy: Expected
    ) -> Evidence:
        """See `Root.verify`."""
        ...


class Judge(Protocol):
    """Decides about one file after another.

    Attributes:
        facts: what is to be told to programs of each file, by its name as it was given.
        remarks: likewise to people, for files that were verified.
    """

    facts: dict[str, dict[str, Any]]
    remarks: dict[str, str]

    def root(self) -> Root | None:
        """The root that must be believed; None to leave it to the caller."""
        ...

    def verify(
        self, name: str, bundle: Bundle, artifact: Artifact, root: Root, under: Under
    ) -> Evidence:
        """Verify a file, or raise what `Root.verify` raises."""
        ...

    def settle(self, name: str) -> None:
        """Told that everything else about a file holds too. May still raise."""
        ...


class ByPolicy:
    """Asks a policy file."""

    def __init__(self, arguments: Arguments, root: Root | None, root_flags: bool) -> None:
        """Read the policy, and check its signature if it is said who must have signed it.

        Args:
            arguments: the command line.
            root: the root that it, or the environment, names.
            root_flags: whether the command line does.
        """
        from countermark.client.policy_file import PolicyFile

        self.facts: dict[str, dict[str, Any]] = {}
        self.remarks: dict[str, str] = {}
        self._as = arguments.one("as")
        path, lists = arguments.one("policy"), arguments.all("distrust")
        self._distrust: tuple[bytes, ...] = ()
        try:
            self._file = PolicyFile.read(path)
            if lists:
                from countermark.client.distrust import read_lists

                self._distrust = read_lists(lists)
        except OSError as error:
            named = error.filename or path
            raise RequestRejected(f"{named} cannot be read: {error.strerror}") from error
        self._signer = _policy_signer(arguments)
        if self._signer is not None:
            believed = root or choose_root(read_bundle(bundle_path(path)))
            if limit := arguments.one("max-trust-age"):
                from countermark.client.trust.age import age_note, read_limit

                age_note(believed, time.time(), limit_days=read_limit(limit))
            self._file.check_signature(self._signer, believed, distrust=self._distrust)
        elif root_flags and self._file.document.root is not None:
            raise _usage("the policy says whom to believe, and so does a flag", "say it once")

    def root(self) -> Root | None:
        """See `Judge.root`."""
        return self._file.root

    def verify(
        self, name: str, bundle: Bundle, artifact: Artifact, root: Root, under: Under
    ) -> Evidence:
        """See `Judge.verify`."""
        called = self._as or _base_name(name)
        evidence = self._file.verify(called, bundle, artifact, root, distrust=self._distrust)
        self.facts[name] = {"policy": self._file.path, "policySigned": self._signer is not None}
        return evidence

    def settle(self, name: str) -> None:
        """See `Judge.settle`; nothing is left to do."""


class Remembering:
    """Compares with whom was remembered; remembers on demand."""

    def __init__(self, arguments: Arguments, policies: tuple[Expected, ...], named: bool) -> None:
        """Nothing is read yet.

        Args:
            arguments: the command line.
            policies: whom the user expects; empty for nobody in particular.
            named: whether the user named the root to believe.
        """
        self.facts: dict[str, dict[str, Any]] = {}
        self.remarks: dict[str, str] = {}
        self._as, self._trust = arguments.one("as"), arguments.flag("trust-first-use")
        self._policies, self._named = policies, named
        self._new: dict[str, tuple[Remembered, Evidence]] = {}
        if self._as and len(arguments.operands) > 1 and self._trust:
            raise _usage("--as is for one FILE at a time", "verify the files one by one")

    def root(self) -> Root | None:
        """See `Judge.root`."""
        return None

    def verify(
        self, name: str, bundle: Bundle, artifact: Artifact, root: Root, under: Under
    ) -> Evidence:
        """See `Judge.verify`. Raises SignerUnknown or SignerChanged as well."""
        called = self._as or without_version(_base_name(name))
        known = find(called)
        self._new.pop(name, None)
        evidence = self._any_of(self._expected(known, bundle), root, bundle, artifact, under)
        facts: dict[str, Any] = {"rememberedAs": called}
        self.facts[name] = facts
        if known is None:
            facts["arguments"] = _arguments(evidence)
            if not self._trust:
                facts["signedBy"] = evidence.to_json()
                raise _unknown(name, evidence)
            self._new[name] = (_record(called, name, evidence), evidence)
            return evidence
        self._compare(name, known, evidence)
        return evidence

    def settle(self, name: str) -> None:
        """Remember a new signer, now that nothing speaks against the signature any more.

        Raises SignerChanged if another process was first, with somebody else.
        """
        if name not in self._new:
            return
        record, evidence = self._new.pop(name)
        if remember(record):
            self.remarks[name] = f"remembered as the signer of {printable(record.name)}"
            return
        known = find(record.name)  # another process was first
        if known is None:
            raise Conflict(f"{record.name} was forgotten while it was remembered")
        self._compare(name, known, evidence)

    def _compare(self, name: str, known: Remembered, evidence: Evidence) -> None:
        facts = self.facts[name]
        changes, notes = _differences(known, evidence, named=self._named)
        facts["changes"] = [item._asdict() for item in changes]
        facts["notes"] = [item._asdict() for item in notes]
        if changes:
            facts["signedBy"] = evidence.to_json()
            raise _changed(known, evidence, changes)
        told = "".join(f"; {item}" for item in notes)
        self.remarks[name] = printable(f"same signer as before ({known.name}){told}")

    def _expected(self, known: Remembered | None, bundle: Bundle) -> tuple[Expected, ...]:
        if self._policies:
            return self._policies
        if bundle.public_key_hint is None:
            return (UnsafeAnyIdentity(),)
        if known is None or not known.key:
            error = IdentityMismatch(
                "the bundle was signed with a managed key, and nobody said which"
            )
            error.add_note("give the key with --key; --trust-first-use remembers it")
            raise error
        return (PublicKey.from_spki(known.key),)

    @staticmethod
    def _any_of(
        policies: tuple[Expected, ...], root: Root, bundle: Bundle, artifact: Artifact, under: Under
    ) -> Evidence:
        if len(policies) == 1:
            return under(root, bundle, artifact, policies[0])
        from countermark.client.keys.several import first_that_holds

        return first_that_holds(
            bundle, policies, lambda policy: under(root, bundle, artifact, policy)
        )


def _differences(
    known: Remembered, evidence: Evidence, *, named: bool
) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
    """What makes it another signer, and what is different besides."""
    changes: tuple[Difference, ...] = ()
    notes: tuple[Difference, ...] = ()
    if known.signer is not None and evidence.signer is not None:
        changes, notes = compare(known.signer, evidence.signer)
    elif known.key != evidence.key.spki or evidence.signer is not None:
        before = who(known.signer, known.key)
        changes = (Difference("signer", before, who(evidence.signer, evidence.key.spki)),)
    if evidence.root != known.root and not named:
        # Another root may vouch for the same names; which to believe is not the bundle's to say.
        changes = (*changes, Difference("trusted root", known.root, evidence.root))
    return changes, notes


def who(signer: SignerIdentity | None, key: bytes) -> str:
    """A signer in words."""
    if signer is not None:
        return f"{signer.name} ({signer.issuer})"
    return f"key sha256:{PublicKey.from_spki(key).key_id.hex()}"


def _record(called: str, name: str, evidence: Evidence) -> Remembered:
    key = b"" if evidence.signer is not None else evidence.key.spki
    file = _base_name(name)
    return Remembered(called, evidence.signer, key, evidence.root, file, int(time.time()))


def _unknown(name: str, evidence: Evidence) -> SignerUnknown:
    signer = evidence.signer
    assert signer is not None  # a key is never accepted without being named
    said = [
        f"{claim} {stated(signer, claim)[0][1]}"
        for claim in _SHOWN
        if any(signer.extension(number) for number in CLAIMS[claim])
    ]
    error = SignerUnknown(
        f"signed by {who(signer, b'')}, and nobody said who is expected", found=", ".join(said)
    )
    from shlex import join, quote

    again = join(("countermark", "verify", *_arguments(evidence)))
    error.add_note(
        f"if that is whom you expect: {again} {quote(name)}"
        " (or add --trust-first-use to remember it)"
    )
    return error


def _changed(
    known: Remembered, evidence: Evidence, changes: tuple[Difference, ...]
) -> SignerChanged:
    error = SignerChanged(
        "changed: " + "; ".join(map(str, changes)),
        found=who(evidence.signer, evidence.key.spki),
        expected=f"{who(known.signer, known.key)}, as of {known.file}",
    )
    from shlex import quote

    error.add_note(
        f"if that is meant: countermark signers forget {quote(known.name)}; if it is another"
        " project under the same file name, name it with --as"
    )
    return error


def _arguments(evidence: Evidence) -> list[str]:
    """The options that expect exactly this signer: its ids if it has any, else its name."""
    signer = evidence.signer
    if signer is None:
        return []
    found = marks(signer)
    if "identity" in found:
        return ["--identity", signer.name, "--issuer", signer.issuer]
    options = ["--issuer", signer.issuer, "--extension", f"repository-id={found['repository id']}"]
    for name, what in (
        ("owner-id", "owner id"),
        ("workflow", "workflow"),
        ("signer-workflow", "signing workflow"),
    ):
        if found[what]:
            options += ["--extension", f"{name}={found[what]}"]
    return options


def _policy_signer(arguments: Arguments) -> Policy | None:
    from countermark.core.verify.policy import AnyOf, Identity

    names, issuer = arguments.all("policy-identity"), arguments.one("policy-issuer")
    if not names and not issuer:
        return None
    if not names or not issuer:
        raise _usage(
            "a name proves nothing without the provider that vouched for it",
            "give --policy-identity and --policy-issuer together",
        )
    return AnyOf(tuple(Identity(name, issuer) for name in names))


def _base_name(name: str) -> str:
    return os.path.basename(name)


def _usage(what: str, advice: str) -> RequestRejected:
    error = RequestRejected(what)
    error.add_note(advice)
    return error
