# SPDX-License-Identifier: Apache-2.0
"""The cases of sigstore-conformance, each under its own trusted root, identity, issuer or key."""

from pathlib import Path

import pytest

from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    ChainInvalid,
    CountermarkError,
    FormatError,
    IdentityMismatch,
    InclusionInvalid,
    SCTInvalid,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.verify.artifact import Artifact, BytesArtifact, DigestArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Identity
from countermark.core.verify.verifier import verify
from tests.support.vectors import BEACON, GITHUB, case_names, vectors

pytestmark = pytest.mark.vectors

# Why a case must fail, so that none is refused for a reason of ours.
REASONS: dict[str, tuple[type[CountermarkError], str]] = {
    "bundle-empty-certificate-chain_fail": (FormatError, "x509CertificateChain: is empty"),
    "bundle-invalid-base64-signature_fail": (FormatError, "signature: is not base64"),
    "bundle-negative-log-index_fail": (FormatError, "logIndex"),
    "bundle-with-root-cert_fail": (ChainInvalid, "root certificate"),
    "checkpoint-bad-keyhint_fail": (InclusionInvalid, "no signature by"),
    "dsse-invalid-sig_fail": (InclusionInvalid, "another signature"),
    "dsse-mismatch-sig_fail": (InclusionInvalid, "another signature"),
    "inclusion-proof-corrupted-hash_fail": (InclusionInvalid, "root hash"),
    "integrated-time-in-future_fail": (ChainInvalid, "not valid at"),
    "intoto-log-entry-mismatch_fail": (InclusionInvalid, "another signature"),
    "intoto-set-outside-signing-cert-validity_fail": (ChainInvalid, "not valid at"),
    "invalid-ct-key_fail": (SCTInvalid, "0 trusted certificate logs"),
    "managed-key-no-key_fail": (IdentityMismatch, "managed key"),
    "message-digest-mismatch_fail": (SignatureInvalid, "not the one that was signed"),
    "rekor2-checkpoint-missing-log-signature_fail": (FormatError, "no signature lines"),
    "rekor2-checkpoint-missing-root-hash_fail": (FormatError, "three or more"),
    "rekor2-dsse-invalid-sig_fail": (InclusionInvalid, "does not record"),
    "rekor2-dsse-mismatch-sig_fail": (InclusionInvalid, "does not record"),
    "rekor2-no-inclusion-proof_fail": (FormatError, "inclusionProof"),
    "rekor2-timestamp-outside-trust-root-tsa-validity_fail": (TimeUnproven, "another time"),
    "rekor2-timestamp-payload-mismatch_fail": (TimeUnproven, "something else"),
    "rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail": (TimeUnproven, "not list"),
    "signature-mismatch_fail": (InclusionInvalid, "another signature"),
    "wrong-hashedrekord-artifact_fail": (InclusionInvalid, "another signature"),
    "wrong-hashedrekord-entry_fail": (InclusionInvalid, "another signature"),
}


def text(path: Path, default: str) -> str:
    return path.read_text().strip() if path.exists() else default


def verify_case(name: str, *, by_digest: bool) -> Evidence:
    case = vectors("bundle-verify", name)
    root = case / "trusted_root.json"
    if not root.exists():
        root = vectors("public-good", "production", "trusted_root.json")
    artifact_file = case / "artifact"
    if not artifact_file.exists():
        artifact_file = vectors("bundle-verify", "a.txt")
    artifact: Artifact = BytesArtifact(artifact_file.read_bytes())
    if by_digest:
        artifact = DigestArtifact("sha256", artifact.digest("sha256"))
    key = case / "key.pub"
    identity = Identity(text(case / "identity", BEACON), text(case / "issuer", GITHUB))
    return verify(
        Bundle.parse((case / "bundle.sigstore.json").read_bytes()),
        artifact,
        TrustedRoot.parse(root.read_bytes()),
        PublicKey.from_pem(key.read_text()) if key.exists() else identity,
    )


@pytest.mark.parametrize("by_digest", [False, True], ids=["file", "digest"])
@pytest.mark.parametrize("name", case_names("bundle-verify"))
def test_conformance_case(name: str, by_digest: bool) -> None:
    if not name.endswith("_fail"):
        names = [check.name for check in verify_case(name, by_digest=by_digest).checks]
        assert {"inclusion", "entry", "signature"} <= set(names)
        assert names[-1] in ("identity", "key")
        return
    error, why = REASONS.get(name, (CountermarkError, ""))
    with pytest.raises(error, match=why):
        verify_case(name, by_digest=by_digest)
