# SPDX-License-Identifier: Apache-2.0
"""Signatures of every algorithm in the registry, in every kind of entry that can hold them."""

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.bundle.bundle import Bundle
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import CountermarkError, SignatureInvalid
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.verifier import Thresholds, verify
from tests.support.attacks import FORGE, ROOT
from tests.support.every_key import REGISTRY, Kind, bundle_of, kind_of
from tests.support.forge import ARTIFACT

# API v1 knows PKCS#1 v1.5 only, and hashes what it logs by digest with the key's own hash.
IN_V1 = [name for name in REGISTRY if "PSS" not in name and name != "PKIX_ED25519"]
IN_V2 = [name for name in REGISTRY if name != "PKIX_ED25519"]
# Envelopes go to API v1 whole: SHA-256 whatever the curve, or pure Ed25519.
ENVELOPES_IN_V1 = [name for name in REGISTRY if "PSS" not in name and name != "PKIX_ED25519_PH"]


def check(bundle: Bundle, kind: Kind, artifact: bytes = ARTIFACT) -> Evidence:
    return verify(Bundle.parse(bundle.serialize()), BytesArtifact(artifact), ROOT, kind.key)


@pytest.mark.parametrize(
    ("log", "envelope", "details"),
    [
        *[("v1", False, name) for name in IN_V1],
        *[("v1", True, name) for name in ENVELOPES_IN_V1],
        *[("v2", envelope, name) for envelope in (False, True) for name in IN_V2],
    ],
)
def test_signs_and_is_checked(log: str, envelope: bool, details: str) -> None:
    kind = kind_of(details)
    bundle = bundle_of(FORGE, kind, log=log, envelope=envelope)
    assert check(bundle, kind).key == kind.key
    with pytest.raises(CountermarkError):
        check(bundle, kind, b"another artifact")


@pytest.mark.parametrize(
    ("log", "details"), [*[("v1", name) for name in IN_V1], *[("v2", name) for name in IN_V2]]
)
def test_a_signature_over_something_else_under_a_right_entry(log: str, details: str) -> None:
    """The entry is of this artifact, signature and key, but the log did not look at it."""
    kind = kind_of(details)
    lying = kind._replace(sign=lambda message: kind.sign(b"another message"))
    with pytest.raises(SignatureInvalid):
        check(bundle_of(FORGE, lying, log=log), kind)


@pytest.mark.parametrize(
    ("details", "claimed"),
    [
        ("PKIX_RSA_PSS_2048_SHA256", "PKIX_RSA_PKCS1V15_2048_SHA256"),
        ("PKIX_RSA_PKCS1V15_2048_SHA256", "PKIX_RSA_PSS_2048_SHA256"),
        ("PKIX_ED25519", "PKIX_ED25519_PH"),
    ],
)
def test_the_entry_says_how_it_was_signed_and_is_held_to_it(details: str, claimed: str) -> None:
    kind = kind_of(details)
    hash_name = kind_of(claimed).hash_name
    lying = kind._replace(details=claimed, hash_name=hash_name)
    with pytest.raises(SignatureInvalid):
        check(bundle_of(FORGE, lying, log="v2"), kind)


def test_pure_ed25519_cannot_be_in_a_log_that_sees_digests() -> None:
    kind = kind_of("PKIX_ED25519")
    with pytest.raises(CountermarkError, match="does not record"):
        check(bundle_of(FORGE, kind, log="v2"), kind)
    as_sha256 = kind._replace(hash_name="sha256")
    with pytest.raises(SignatureInvalid, match="does not sign sha256") as raised:
        check(bundle_of(FORGE, as_sha256, log="v1"), kind)
    assert (raised.value.found, raised.value.expected) == ("sha256", "sha512")


def ml_dsa_key() -> bytes:
    mldsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    try:
        private = mldsa.MLDSA65PrivateKey.generate()
    except UnsupportedAlgorithm:
        pytest.skip("this build of cryptography has no ML-DSA")
    data: bytes = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def test_ml_dsa_signs_no_artifact_and_that_is_said() -> None:
    key = PublicKey.from_spki(ml_dsa_key(), registry=True)
    bundle = bundle_of(FORGE, kind_of("PKIX_ECDSA_P256_SHA_256"), log="v2")
    with pytest.raises(SignatureInvalid, match="ML_DSA_65 key cannot sign entries of log API v2"):
        verify(bundle, BytesArtifact(ARTIFACT), ROOT, key)


def test_ml_dsa_signs_no_artifact_without_a_log_either() -> None:
    key = PublicKey.from_spki(ml_dsa_key(), registry=True)
    bundle = bundle_of(FORGE, kind_of("PKIX_ECDSA_P256_SHA_256"), log="v2")
    bundle = bundle._replace(tlog_entries=())
    with pytest.raises(SignatureInvalid, match="signs no digest of an artifact"):
        verify(bundle, BytesArtifact(ARTIFACT), ROOT, key, thresholds=Thresholds(unlogged=True))
