# SPDX-License-Identifier: Apache-2.0
"""What the attacks on the verifier share: one honest Sigstore, one stranger, and ways to lie."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.core.bundle.bundle import Bundle, TransparencyLogEntry
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import (
    CountermarkError,
    InclusionInvalid,
)
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Identity
from countermark.core.verify.verifier import Thresholds, verify
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge, Plan, sign_content
from tests.support.made_certificates import (
    to_der,
)

FORGE, STRANGER = Forge(), Forge()
ROOT = FORGE.trusted_root()
ME = Identity(NAME, ISSUER)
MALLORY = x509.RFC822Name("mallory@example.org")
SECOND = timedelta(seconds=1)


def check(
    bundle: Bundle,
    root: TrustedRoot = ROOT,
    artifact: bytes = ARTIFACT,
    thresholds: Thresholds | None = None,
) -> Evidence:
    return verify(bundle, BytesArtifact(artifact), root, ME, thresholds=thresholds or Thresholds())


def refused(
    why: str, bundle: Bundle, error: type[CountermarkError] = InclusionInvalid, **how: Any
) -> None:
    # As a file first: what the parser refuses need not reach the verifier.
    with pytest.raises(error, match=why):
        check(Bundle.parse(bundle.serialize()), **how)


def entry_of(bundle: Bundle) -> TransparencyLogEntry:
    return bundle.tlog_entries[0]


def with_entry(bundle: Bundle, **changes: Any) -> Bundle:
    return bundle._replace(tlog_entries=(entry_of(bundle)._replace(**changes),))


def with_proof(bundle: Bundle, **changes: Any) -> Bundle:
    proof = entry_of(bundle).inclusion_proof
    assert proof is not None
    return with_entry(bundle, inclusion_proof=proof._replace(**changes))


def signed_with(
    leaf_of: Callable[[ec.EllipticCurvePrivateKey], x509.Certificate], **plan: Any
) -> Bundle:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = leaf_of(key)
    content, signature = sign_content(key, Plan(**plan))
    entry = FORGE.entry_v1(Plan(**plan), content, signature, leaf.public_bytes(Encoding.PEM))
    return Bundle("0.3", (to_der(leaf),), None, (entry,), (), content)
