# SPDX-License-Identifier: Apache-2.0
"""What a certificate says beyond name and issuer, under names that people use.

A claim is read from all Fulcio extensions that state it: old and new ones must agree. Names of
repositories and owners may be given as the whole URL, or as its path (``octo/app``); workflows
as the whole URL with or without ``@ref``, or as the path inside their own repository.
"""

import re
from typing import NamedTuple

from countermark.core.errors import IdentityMismatch, RequestRejected
from countermark.core.verify.signer import EXTENSION_NAMES, SignerIdentity

OID_PREFIX = "1.3.6.1.4.1.57264.1."
CLAIMS: dict[str, tuple[int, ...]] = {
    "repository": (12, 5),
    "repository-id": (15,),
    "owner": (16,),
    "owner-id": (17,),
    "workflow": (18,),
    "workflow-name": (4,),
    "workflow-commit": (19,),
    "signer-workflow": (9,),
    "signer-commit": (10,),
    "ref": (14, 6),
    "commit": (13, 3),
    "trigger": (20, 2),
    "runner": (11,),
    "run": (21,),
    "visibility": (22,),
    "environment": (23,),
    "subject": (24,),
}
"""Friendly names, and the extensions that state them, the newest first."""

NAMING = frozenset(("repository", "repository-id", "owner", "owner-id", "subject"))
"""Claims that, with the issuer, say who signed; all others only narrow it down."""

_NUMBERS = {name: number for number, name in EXTENSION_NAMES.items()}
_COMMIT_REF = re.compile(r"@(?:[0-9a-f]{64}|[0-9a-f]{40})", re.ASCII)
_REPOSITORY, _REF = 12, 14


class Claim(NamedTuple):
    """A claim that must be one of some values.

    Attributes:
        name: of `CLAIMS`, of an extension, or an extension's object identifier.
        values: at least one; in those of ``ref``, ``*`` stands for any text without ``/`` and
            ``**`` for any text, since no ref can hold a star.
    """

    name: str
    values: tuple[str, ...]

    def check(self, signer: SignerIdentity) -> str:
        """See `Policy.check`. Raises RequestRejected for an unknown name or an empty value."""
        if not self.values or not all(self.values):
            raise RequestRejected(f"the expected {self.name} is empty")
        said = stated(signer, self.name)
        for number, text in said:
            if not any(_fits(number, text, value, signer) for value in self.values):
                expected = " or ".join(self.values)
                raise IdentityMismatch(
                    f"the {self.name} is {text!r}, expected {expected!r}",
                    found=text,
                    expected=expected,
                )
        return f"{self.name} {said[0][1]}"


class ClaimPattern(NamedTuple):
    """A claim that must match a regular expression from beginning to end, as it is stated.

    Attributes:
        name: as in `Claim`.
        pattern: in the language of `pattern.Pattern`.
    """

    name: str
    pattern: str

    def check(self, signer: SignerIdentity) -> str:
        """See `Policy.check`. Raises RequestRejected for an unknown name or a bad pattern."""
        from countermark.core.verify.pattern import Pattern

        if not self.pattern:
            raise RequestRejected(f"the pattern for the {self.name} is empty")
        said, pattern = stated(signer, self.name), Pattern(self.pattern)
        _, text = said[0]
        if not pattern.matches(text):
            raise IdentityMismatch(
                f"the {self.name} is {text!r}, which does not match {self.pattern!r}",
                found=text,
                expected=self.pattern,
            )
        return f"{self.name} {text}"


def extensions_of(name: str) -> tuple[int, ...]:
    """The numbers of the extensions that a claim's name means. Raises RequestRejected."""
    if name in CLAIMS:
        return CLAIMS[name]
    if name in _NUMBERS:
        return (_NUMBERS[name],)
    number = name.removeprefix(OID_PREFIX)
    if number != name and number.isdecimal() and number.isascii():
        for known in EXTENSION_NAMES:
            if str(known) == number:
                return (known,)
    raise RequestRejected(f"there is no certificate extension called {name[:80]!r}")


def stated(signer: SignerIdentity, name: str) -> tuple[tuple[int, str], ...]:
    """What the certificate says of a claim, as (extension, text), the newest extension first.

    Raises IdentityMismatch if it says nothing, RequestRejected for an unknown name.
    """
    said = tuple(
        (number, text)
        for number in extensions_of(name)
        if (text := signer.extension(number)) is not None
    )
    if not said:
        raise IdentityMismatch(f"the certificate names no {name}", expected=name)
    return said


def without_ref(uri: str, ref: str | None = None) -> str:
    """A workflow's address without the ref or commit at its end.

    Args:
        uri: e.g. ``https://github.com/octo/app/.github/workflows/x.yml@refs/tags/v1``.
        ref: the ref that it is likely to end with.

    One in which more than one place may be that end is left as it is, so that it is equal to
    nothing that was meant: refs and files may have such names on purpose.
    """
    if ref and uri.endswith(f"@{ref}"):
        return uri.removesuffix(f"@{ref}")
    if uri.count("@refs/") == 1:
        return uri.partition("@refs/")[0]
    path, at, end = uri.rpartition("@")
    if at and "@" not in path and _COMMIT_REF.fullmatch(at + end):
        return path
    return uri


def in_repository(uri: str, repository: str | None) -> str:
    """A workflow's path inside `repository`; the whole address if it is of another one."""
    if repository and uri.startswith(f"{repository}/"):
        return uri.removeprefix(repository).lstrip("/")
    return uri


def _fits(number: int, text: str, value: str, signer: SignerIdentity) -> bool:
    if value == text:
        return True
    if number in (12, 16):
        return "://" not in value and value == _path(text)
    if number == 5:  # GitHub's, and without a host, which the newer one decides about
        has_host = signer.extension(_REPOSITORY) is not None
        return _path(value) == text and (has_host or value.startswith("https://github.com/"))
    if number in (9, 18):
        bare = without_ref(text, signer.extension(_REF))
        repository = signer.extension(_REPOSITORY)
        return value in (bare, in_repository(bare, repository), in_repository(text, repository))
    if number in (6, 14) and "*" in value:
        from countermark.core.verify.glob import matches

        return matches(value, text)
    return False


def _path(url: str) -> str:
    return url.partition("://")[2].partition("/")[2]
