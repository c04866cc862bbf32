# SPDX-License-Identifier: Apache-2.0
"""Who must have signed, as the options of `countermark verify` say it. On its lean path."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from countermark.cli.arguments import Arguments
from countermark.client.verify import Root, read_file
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_utf8
from countermark.core.errors import RequestRejected
from countermark.core.verify.policy import (
    AllOf,
    AnyOf,
    CertificateExtension,
    Identity,
    IdentityPattern,
    Issuer,
    Policy,
    UnsafeAnyIdentity,
)
from countermark.core.verify.signer import EXTENSION_NAMES
from countermark.core.verify.verifier import Expected

if TYPE_CHECKING:
    from countermark.cli.verify_who import Judge
    from countermark.core.verify.claims import Claim

CLAIM_OPTIONS = ("repository", "workflow", "ref", "trigger", "runner")
OPTIONS = (
    "identity",
    "issuer",
    "identity-regex",
    "issuer-regex",
    *CLAIM_OPTIONS,
    "extension",
    "key",
    "policy",
    "policy-identity",
    "policy-issuer",
    "as",
)
FLAGS = ("trust-first-use", "unsafe-any-identity")
ROOTS = ("instance", "url", "trusted-root", "trust-config")
LEFT_TO_POLICY = (
    "threshold-times",
    "threshold-logs",
    "threshold-scts",
    "witness-policy",
    "key-valid-from",
    "key-valid-until",
    "without-log",
)
"""What a policy file says instead of the command line."""
_MAX_KEY_BYTES = 64 * 1024


def policies_of(arguments: Arguments) -> tuple[Expected, ...]:
    """Who may have signed: one policy, or keys of which one must fit; empty for nobody.

    Raises RequestRejected, and what reading a key raises.
    """
    keys = arguments.all("key")
    names, pattern = arguments.all("identity"), arguments.one("identity-regex")
    issuer, issuer_pattern = arguments.one("issuer"), arguments.one("issuer-regex")
    anybody = arguments.flag("unsafe-any-identity")
    extensions = (*_claims(arguments), *map(_extension, arguments.all("extension")))
    ways = sum((bool(names), bool(pattern), bool(keys), anybody))
    by_claims = not ways and bool(issuer or issuer_pattern) and _name_somebody(extensions)
    if not ways and not (issuer or issuer_pattern or extensions):
        return ()
    if ways != 1 and not by_claims:
        raise usage(
            "it must be said, in one way, who is to have signed",
            "use --identity NAME with --issuer URL, or --key REF",
        )
    if keys:
        if issuer or issuer_pattern or extensions:
            raise usage("a managed key has no issuer and no certificate", "give --key alone")
        return tuple(map(_key, keys))
    who: Policy = UnsafeAnyIdentity()
    if anybody:
        if issuer or issuer_pattern:
            raise usage("an issuer alone names nobody", "say with --identity-regex who")
    else:
        if bool(issuer) == bool(issuer_pattern):
            raise usage(
                "a name proves nothing without the provider that vouched for it",
                "say with --issuer URL (or --issuer-regex) which one",
            )
        if issuer and by_claims:
            who = Issuer(issuer)
        elif issuer and names:
            who = AnyOf(tuple(Identity(name, issuer) for name in names))
        else:
            import re

            patterns = tuple(map(re.escape, names)) or (pattern or r"(?:.|\n)+",)
            by = issuer_pattern or re.escape(issuer)
            who = AnyOf(tuple(IdentityPattern(item, by) for item in patterns))
    return (AllOf((who, *extensions)),)


def judge_of(
    arguments: Arguments, policies: tuple[Expected, ...], root: Root | None
) -> "Judge | None":
    """Who decides if it is not one policy for all files."""
    policy_file, trust = arguments.one("policy"), arguments.flag("trust-first-use")
    if policies and not policy_file and not trust:
        if arguments.one("as"):
            raise usage("--as names what is remembered", "use it with --trust-first-use")
        return None
    from countermark.cli.verify_who import ByPolicy, Remembering

    if not policy_file:
        if any(map(arguments.flag, ("policy-identity", "policy-issuer"))):
            raise usage("there is no policy that somebody could have signed", "name it: --policy")
        return Remembering(arguments, policies, root is not None)
    said = [name for name in (*LEFT_TO_POLICY, "trust-first-use") if arguments.flag(name)]
    if policies or said:
        raise usage("the policy says who must have signed, and how much proof", "use it alone")
    return ByPolicy(arguments, root, any(map(arguments.flag, ROOTS)))


def _key(reference: str) -> PublicKey:
    if not reference:
        raise usage("--key was given without a value", "name a key")
    if "://" not in reference and not reference.startswith("pkcs11:"):
        data = from_utf8(read_file(reference, _MAX_KEY_BYTES), reference)
        if "PRIVATE KEY-----" not in data:
            return PublicKey.from_pem(data, reference, registry=True)
    from countermark.cli.passphrases import asking
    from countermark.client.keys.reference import public_key

    return public_key(reference, asking(""))


def _claims(arguments: Arguments) -> "list[Claim]":
    """What flags of their own ask for; any of the values of one that is repeated."""
    given = [name for name in CLAIM_OPTIONS if arguments.flag(name)]
    if not given:
        return []
    from countermark.core.verify.claims import Claim

    return [Claim(name, arguments.all(name)) for name in given]


def _extension(text: str) -> "CertificateExtension | Claim":
    name, equals, value = text.partition("=")
    if not equals:
        raise usage(f"--extension {text} names no value", "write it as NAME=VALUE")
    if name in EXTENSION_NAMES.values():
        return CertificateExtension(name, value)
    from countermark.core.verify.claims import Claim, extensions_of

    extensions_of(name)
    return Claim(name, (value,))


def _name_somebody(claims: "Sequence[CertificateExtension | Claim]") -> bool:
    """Whether claims, with an issuer, say who signed, and do not only narrow it down."""
    if not claims:
        return False
    from countermark.core.verify.claims import NAMING

    return any(claim.name in NAMING for claim in claims)


def usage(what: str, advice: str) -> RequestRejected:
    """The error for a command line that cannot be carried out."""
    error = RequestRejected(what)
    error.add_note(advice)
    return error
