# SPDX-License-Identifier: Apache-2.0
"""Policies: whom the verifier is willing to believe.

A name alone proves nothing, since any identity provider may vouch for it: every policy about a
name also fixes who issued the identity. Patterns match whole values, never parts of them.
"""

from typing import NamedTuple, Protocol

from countermark.core.errors import IdentityMismatch, RequestRejected
from countermark.core.verify.signer import EXTENSION_NAMES, SignerIdentity

_NUMBERS = {name: number for number, name in EXTENSION_NAMES.items()}


class Policy(Protocol):
    """Decides about a certified identity."""

    def check(self, signer: SignerIdentity) -> str:
        """Say what matched, as a phrase. Raises IdentityMismatch."""
        ...


class Identity(NamedTuple):
    """Exactly this name, vouched for by exactly this issuer.

    Attributes:
        name: e-mail address or URI as the certificate has it.
        issuer: URL of the identity provider.
    """

    name: str
    issuer: str

    def check(self, signer: SignerIdentity) -> str:
        """See `Policy.check`."""
        _compare("identity", self.name, signer.name)
        _compare("issuer", self.issuer, signer.issuer)
        return f"{signer.name}, by {signer.issuer}"


class Issuer(NamedTuple):
    """Anybody that exactly this issuer vouches for: half a policy, to go with claims.

    Attributes:
        issuer: URL of the identity provider.
    """

    issuer: str

    def check(self, signer: SignerIdentity) -> str:
        """See `Policy.check`."""
        _compare("issuer", self.issuer, signer.issuer)
        return f"{signer.name}, by {signer.issuer}"


class IdentityPattern(NamedTuple):
    """A name and an issuer that match regular expressions from beginning to end.

    The language is that of `pattern.Pattern`: no name can make matching slow.

    Attributes:
        name: pattern for the name.
        issuer: pattern for the issuer.
    """

    name: str
    issuer: str

    def check(self, signer: SignerIdentity) -> str:
        """See `Policy.check`. Raises RequestRejected for a pattern that is none."""
        _match("identity", self.name, signer.name)
        _match("issuer", self.issuer, signer.issuer)
        return f"{signer.name}, by {signer.issuer}"


class CertificateExtension(NamedTuple):
    """A Fulcio extension with exactly this text, e.g. ``source-repository-uri``.

    Attributes:
        name: one of `EXTENSION_NAMES`' values.
        value: the expected text.
    """

    name: str
    value: str

    def check(self, signer: SignerIdentity) -> str:
        """See `Policy.check`. Raises RequestRejected for an unknown extension name."""
        if self.name not in _NUMBERS:
            raise RequestRejected(f"there is no certificate extension called {self.name!r}")
        _compare(self.name, self.value, signer.extension(_NUMBERS[self.name]) or "")
        return f"{self.name} {self.value}"


class AllOf(NamedTuple):
    """Every one of these policies."""

    policies: tuple[Policy, ...]

    def check(self, signer: SignerIdentity) -> str:
        """See `Policy.check`."""
        if not self.policies:
            raise RequestRejected("a policy that asks for nothing proves nothing")
        return "; ".join(policy.check(signer) for policy in self.policies)


class AnyOf(NamedTuple):
    """At least one of these policies."""

    policies: tuple[Policy, ...]

    def check(self, signer: SignerIdentity) -> str:
        """See `Policy.check`; the mismatch of all is that of the last."""
        if not self.policies:
            raise RequestRejected("a policy that asks for nothing proves nothing")
        mismatch: IdentityMismatch | None = None
        for policy in self.policies:
            try:
                return policy.check(signer)
            except IdentityMismatch as error:
                mismatch = error
        assert mismatch is not None
        raise mismatch


class UnsafeAnyIdentity(NamedTuple):
    """Anybody at all: proves only that *somebody* signed. For looking, never for deciding."""

    def check(self, signer: SignerIdentity) -> str:
        """See `Policy.check`."""
        return f"anybody was accepted; it is {signer.name}, by {signer.issuer}"


def _compare(what: str, expected: str, actual: str) -> None:
    if not expected:
        raise RequestRejected(f"the expected {what} is empty")
    if expected != actual:
        message = f"the {what} is {actual!r}, expected {expected!r}"
        raise IdentityMismatch(message, found=actual, expected=expected)


def _match(what: str, pattern: str, actual: str) -> None:
    from countermark.core.verify.pattern import Pattern  # most policies have none

    if not pattern:
        raise RequestRejected(f"the pattern for the {what} is empty")
    if not actual:  # what the certificate does not say matches nothing, ".*" included
        raise IdentityMismatch(f"the certificate names no {what}", expected=pattern)
    if not Pattern(pattern).matches(actual):
        message = f"the {what} is {actual!r}, which does not match {pattern!r}"
        raise IdentityMismatch(message, found=actual, expected=pattern)
