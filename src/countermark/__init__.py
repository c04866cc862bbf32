# SPDX-License-Identifier: Apache-2.0
"""Countermark: a whole Sigstore in one program. This is its library for signing and verifying.

Verify, offline::

    from countermark import Identity, Verifier
    evidence = Verifier().verify(
        Path("app.tar.gz"),
        Path("app.tar.gz.sigstore.json").read_bytes(),
        Identity("me@example.org", "https://accounts.example.org"),
    )  # raises VerificationError, or says who, when, which log, which checks

Sign::

    from countermark import Signer
    signed = Signer.create().sign(Path("app.tar.gz"))
    Path("app.tar.gz.sigstore.json").write_bytes(signed.bundle.serialize())

Names are imported when they are first used, so that each costs only what it needs.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from countermark.client.batch import Item, Outcome
    from countermark.client.policy_file import PolicyFile
    from countermark.client.sign import Signed, Signer
    from countermark.client.verify import Verifier
    from countermark.core.bundle.bundle import Bundle
    from countermark.core.bundle.signing_config import SigningConfig
    from countermark.core.bundle.trusted_root import TrustedRoot
    from countermark.core.crypto.keys import PublicKey
    from countermark.core.errors import (
        CountermarkError,
        FormatError,
        RequestRejected,
        SettingsError,
        Unavailable,
        VerificationError,
    )
    from countermark.core.verify.artifact import DigestArtifact
    from countermark.core.verify.claims import Claim, ClaimPattern
    from countermark.core.verify.evidence import Evidence
    from countermark.core.verify.managed_key import ManagedKey
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
    from countermark.core.verify.verifier import Thresholds
    from countermark.core.verify.witness import WitnessPolicy

_ERRORS, _POLICY = "countermark.core.errors", "countermark.core.verify.policy"
_HOMES = {
    "AllOf": _POLICY,
    "AnyOf": _POLICY,
    "Bundle": "countermark.core.bundle.bundle",
    "CertificateExtension": _POLICY,
    "Claim": "countermark.core.verify.claims",
    "ClaimPattern": "countermark.core.verify.claims",
    "CountermarkError": _ERRORS,
    "DigestArtifact": "countermark.core.verify.artifact",
    "Evidence": "countermark.core.verify.evidence",
    "FormatError": _ERRORS,
    "Identity": _POLICY,
    "IdentityPattern": _POLICY,
    "Issuer": _POLICY,
    "ManagedKey": "countermark.core.verify.managed_key",
    "Policy": _POLICY,
    "PolicyFile": "countermark.client.policy_file",
    "Item": "countermark.client.batch",
    "Outcome": "countermark.client.batch",
    "PublicKey": "countermark.core.crypto.keys",
    "RequestRejected": _ERRORS,
    "SettingsError": _ERRORS,
    "Signed": "countermark.client.sign",
    "Signer": "countermark.client.sign",
    "SigningConfig": "countermark.core.bundle.signing_config",
    "Thresholds": "countermark.core.verify.verifier",
    "TrustedRoot": "countermark.core.bundle.trusted_root",
    "Unavailable": _ERRORS,
    "UnsafeAnyIdentity": _POLICY,
    "VerificationError": _ERRORS,
    "Verifier": "countermark.client.verify",
    "WitnessPolicy": "countermark.core.verify.witness",
}

__all__ = (
    "AllOf",
    "AnyOf",
    "Bundle",
    "CertificateExtension",
    "Claim",
    "ClaimPattern",
    "CountermarkError",
    "DigestArtifact",
    "Evidence",
    "FormatError",
    "Identity",
    "IdentityPattern",
    "Issuer",
    "Item",
    "ManagedKey",
    "Outcome",
    "Policy",
    "PolicyFile",
    "PublicKey",
    "RequestRejected",
    "SettingsError",
    "Signed",
    "Signer",
    "SigningConfig",
    "Thresholds",
    "TrustedRoot",
    "Unavailable",
    "UnsafeAnyIdentity",
    "VerificationError",
    "Verifier",
    "WitnessPolicy",
)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted((*globals(), *__all__))
