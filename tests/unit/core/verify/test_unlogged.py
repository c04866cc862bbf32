# SPDX-License-Identifier: Apache-2.0
"""Signatures of instances that only timestamp: accepted when that was asked for, and checked."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.errors import (
    CountermarkError,
    IdentityMismatch,
    InclusionInvalid,
    SCTInvalid,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Identity
from countermark.core.verify.verifier import ONE_OF_EACH, Thresholds, verify
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge, Plan

FORGE = Forge()
EVERYTHING = FORGE.trusted_root()
# An authority and a timestamper, and no log of any kind.
ROOT = EVERYTHING._replace(tlogs=(), ctlogs=())
UNLOGGED, ME = Thresholds(unlogged=True), Identity(NAME, ISSUER)


def stamped(envelope: bool = False, **changes: Any) -> Bundle:
    plan = replace(Plan(envelope=envelope, scts=0), **changes)
    return FORGE.bundle(plan)._replace(tlog_entries=())


def check(
    bundle: Bundle,
    artifact: bytes = ARTIFACT,
    thresholds: Thresholds = UNLOGGED,
    name: str = NAME,
) -> Evidence:
    policy = Identity(name, ISSUER)
    return verify(bundle, BytesArtifact(artifact), ROOT, policy, thresholds=thresholds)


@pytest.mark.parametrize("envelope", [False, True])
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_a_timestamped_signature_is_enough_where_that_is_said(
    envelope: bool, curve: ec.EllipticCurve
) -> None:
    evidence = check(stamped(envelope, curve=curve))
    assert evidence.records == ()
    assert [time.source for time in evidence.times] == ["timestamp"]
    assert {"timestamp", "certificate", "signature", "identity"} <= {
        item.name for item in evidence.checks
    }


@pytest.mark.parametrize("envelope", [False, True])
def test_it_is_refused_where_that_is_not_said(envelope: bool) -> None:
    with pytest.raises((SCTInvalid, InclusionInvalid)):
        check(stamped(envelope), thresholds=ONE_OF_EACH)


@pytest.mark.parametrize("envelope", [False, True])
def test_the_artifact_is_still_checked(envelope: bool) -> None:
    with pytest.raises(SignatureInvalid):
        check(stamped(envelope), b"something else")


def test_the_signature_is_still_checked_when_the_bundle_keeps_silent_about_the_digest() -> None:
    bundle = stamped()
    content = bundle.content
    assert isinstance(content, MessageSignature)
    silent = bundle._replace(content=MessageSignature(content.signature, "", b""))
    check(silent)
    with pytest.raises(SignatureInvalid):
        check(silent, b"something else")


def test_the_time_is_still_proven() -> None:
    with pytest.raises(TimeUnproven):
        check(stamped()._replace(timestamps=()))


def test_the_identity_is_still_checked() -> None:
    with pytest.raises(IdentityMismatch):
        check(stamped(), name="somebody@example.org")


def test_more_certificate_logs_than_one_are_still_asked_for() -> None:
    both = UNLOGGED._replace(scts=2)
    with pytest.raises(SCTInvalid):
        check(stamped(), thresholds=both)
    bundle = stamped()._replace(certificates=FORGE.bundle(scts=2).certificates)
    with pytest.raises(SCTInvalid, match="1 trusted certificate logs"):  # two of one operator
        verify(bundle, BytesArtifact(ARTIFACT), EVERYTHING, ME, thresholds=both)


def test_an_sct_that_is_there_is_still_checked() -> None:
    lying = Forge()
    lying.ca_key, lying.ct_id = FORGE.ca_key, FORGE.ct_id  # in the log's name, by another key
    lying.tsa_key, lying.tsa = FORGE.tsa_key, FORGE.tsa
    artifact = BytesArtifact(ARTIFACT)
    for forge, good in ((FORGE, True), (lying, False)):
        bundle = forge.bundle()._replace(tlog_entries=())
        if good:
            assert verify(bundle, artifact, EVERYTHING, ME, thresholds=UNLOGGED).signer
        else:
            with pytest.raises(SCTInvalid, match="does not verify"):
                verify(bundle, artifact, EVERYTHING, ME, thresholds=UNLOGGED)


def test_an_entry_that_is_there_is_still_checked() -> None:
    other = FORGE.bundle(Plan())
    with pytest.raises(CountermarkError):
        verify(
            stamped()._replace(tlog_entries=other.tlog_entries),
            BytesArtifact(ARTIFACT),
            EVERYTHING,
            Identity(NAME, ISSUER),
            thresholds=UNLOGGED,
        )
