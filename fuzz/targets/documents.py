# SPDX-License-Identifier: Apache-2.0
"""Bundles, trusted roots, signing configs, statements, names and patterns."""

from countermark.client.signatures import parse_signatures
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.legacy import from_parts
from countermark.core.bundle.signing_config import SigningConfig, parse_trust_config
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import (
    AlgorithmRefused,
    FormatError,
    RequestRejected,
    VerificationError,
)
from countermark.core.identity.uri import printed_uri
from countermark.core.intoto.statement import parse_statement
from countermark.core.policy.document import PolicyDocument
from countermark.core.verify.artifact import BytesArtifact, DigestArtifact
from countermark.core.verify.pattern import Pattern
from countermark.core.verify.policy import UnsafeAnyIdentity
from countermark.core.verify.signer import SignerIdentity
from countermark.core.verify.verifier import verify
from countermark.core.verify.witness import WitnessPolicy
from countermark.oidc.keeper import check_email
from fuzz.context import trusted_root
from fuzz.target import Refusals, Target

ARTIFACT = b"what was signed\n"
_WORKFLOW = "https://github.com/octo/app/.github/workflows/release.yml@refs/tags/v1"
_SIGNERS = (
    SignerIdentity("email", "release@example.org", "https://accounts.example.org", ()),
    SignerIdentity(
        "uri",
        _WORKFLOW,
        "https://token.actions.githubusercontent.com",
        ((12, "https://github.com/octo/app"), (14, "refs/tags/v1"), (15, "1"), (18, _WORKFLOW)),
    ),
)
_EXAMPLES = ("", "me@example.org", "https://github.com/octo/x/.github/workflows/a.yml@refs/heads/b")


def _bundle(data: bytes) -> bool:
    with Refusals(FormatError):
        bundle = Bundle.parse(data)
        again = Bundle.parse(bundle.serialize())
        assert Bundle.parse(again.serialize()) == again
        with Refusals(FormatError, VerificationError, AlgorithmRefused):
            verify(bundle, BytesArtifact(ARTIFACT), trusted_root(), UnsafeAnyIdentity())
        return True
    return False


def _legacy(data: bytes) -> bool:
    """What came before bundles: a file, or detached parts with zeros between."""
    taken = False
    found: list[Bundle | FormatError] = []
    with Refusals(FormatError):
        found = parse_signatures(data, "x")
    with Refusals(FormatError):
        found.append(from_parts(*data.split(b"\0\0", 3)))
    for bundle in found:
        if isinstance(bundle, Bundle):
            taken = True
            with Refusals(FormatError, VerificationError, AlgorithmRefused):
                verify(bundle, BytesArtifact(ARTIFACT), trusted_root(), UnsafeAnyIdentity())
    return taken


def _witness_policy(data: bytes) -> bool:
    with Refusals(FormatError):
        policy = WitnessPolicy.parse(data)
        assert policy.satisfied(list(policy.witnesses))
        return True
    return False


def _policy_file(data: bytes) -> bool:
    """A policy file, and what its rules say of some signers."""
    with Refusals(FormatError):
        document = PolicyDocument.parse(data)
        with Refusals(VerificationError):
            document.rule_for("app-1.0.tar.gz")
        for rule in document.rules:
            for signer in _SIGNERS if rule.policy is not None else ():
                assert rule.policy is not None
                with Refusals(VerificationError):
                    rule.policy.check(signer)
        return True
    return False


def _trusted_root(data: bytes) -> bool:
    with Refusals(FormatError):
        root = TrustedRoot.parse(data)
        assert TrustedRoot.parse(root.serialize()) == root
        for log in (*root.tlogs, *root.ctlogs):
            with Refusals(FormatError, AlgorithmRefused):
                assert log.public_key
        for authority in (*root.certificate_authorities, *root.timestamp_authorities):
            with Refusals(FormatError):
                assert authority.certificates
        return True
    return False


def _signing_config(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError):
        config = SigningConfig.parse(data)
        assert SigningConfig.parse(config.serialize()) == config
        taken = True
    with Refusals(FormatError):
        parse_trust_config(data)
        taken = True
    return taken


def _statement(data: bytes) -> bool:
    with Refusals(FormatError):
        assert parse_statement(data).subjects
        return True
    return False


def _names(data: bytes) -> bool:
    """A pattern, and below it a name, an e-mail address, a path or a digest."""
    pattern, _, name = data.decode("utf-8", "replace").partition("\n")
    taken = False
    with Refusals(RequestRejected):
        compiled = Pattern(pattern)
        taken = True
        for text in (name, *_EXAMPLES):
            assert compiled.matches(text) in (True, False)
    with Refusals(RequestRejected):
        check_email(name)
        assert name.isascii()
        taken = True
    with Refusals(RequestRejected):
        printed = printed_uri("https://github.com", "/" + name)
        assert printed.isascii()
        rest = printed.removeprefix("https://github.com")
        assert printed_uri("https://github.com", rest) == printed
        taken = True
    with Refusals(FormatError, RequestRejected):
        DigestArtifact.parse(name)
    return taken


TARGETS = (
    Target("bundle", _bundle),
    Target("legacy", _legacy),
    Target("witness-policy", _witness_policy, 4096),
    Target("policy-file", _policy_file, 8192),
    Target("trusted-root", _trusted_root),
    Target("signing-config", _signing_config, 8192),
    Target("statement", _statement, 8192),
    Target("names", _names, 2048),
)
