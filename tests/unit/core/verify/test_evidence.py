# SPDX-License-Identifier: Apache-2.0
"""Evidence: every check says what was compared and why it holds, every refusal what was found."""

import json
import pickle
from datetime import datetime, timedelta
from typing import Any

import pytest

from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TrustedRoot, Validity
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    InclusionInvalid,
    SignatureInvalid,
    TimeUnproven,
    VerificationError,
)
from countermark.core.intoto.envelope import Envelope
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Check, Evidence
from countermark.core.verify.managed_key import ManagedKey
from countermark.core.verify.policy import AllOf, AnyOf, Identity, UnsafeAnyIdentity
from countermark.core.verify.verifier import Expected, Thresholds, describe, verify
from tests.support.attacks import FORGE, ME, ROOT, STRANGER, with_entry, with_proof
from tests.support.every_key import bundle_of, kind_of
from tests.support.forge import ARTIFACT, ISSUER, NAME, Plan
from tests.support.made_certificates import NOW

KIND = kind_of("PKIX_ECDSA_P256_SHA_256")
PLANS: dict[str, dict[str, Any]] = {
    "v1": {},
    "v2": {"log": "v2"},
    "v1 dsse": {"envelope": True},
    "intoto 0.0.1": {"envelope": True, "kind": "intoto 0.0.1"},
    "intoto 0.0.2": {"envelope": True, "kind": "intoto"},
    "v2 dsse": {"log": "v2", "envelope": True},
}


def check(
    bundle: Bundle,
    policy: Expected = ME,
    root: TrustedRoot = ROOT,
    artifact: bytes = ARTIFACT,
    thresholds: Thresholds | None = None,
) -> Evidence:
    return verify(
        bundle, BytesArtifact(artifact), root, policy, thresholds=thresholds or Thresholds()
    )


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_check_says_what_it_compared_and_why_it_holds(plan: dict[str, Any]) -> None:
    checks = check(FORGE.bundle(**plan)).checks
    assert {item.step for item in checks} == set(range(1, 8))
    for item in checks:
        assert all((item.name, item.detail, item.found, item.expected, item.why)), item
        assert list(item.to_json()) == ["check", "step", "detail", "found", "expected", "why"]
    # Inclusion and entry alternate where there are several; else the steps are in order.
    assert [item.step for item in checks] == sorted(item.step for item in checks)


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {item.name: item for item in checks}


def test_what_is_compared_is_what_it_is_about() -> None:
    checks = by_name(check(FORGE.bundle()).checks)
    assert NAME in checks["identity"].found
    assert checks["identity"].expected == f"name {NAME}, issuer {ISSUER}"
    assert FORGE.ct_id.hex() in checks["sct"].found
    assert BytesArtifact(ARTIFACT).digest("sha256").hex() in checks["signature"].found
    proof = FORGE.bundle().tlog_entries[0].inclusion_proof
    assert proof is not None
    assert "https://log.example.org" in checks["inclusion"].expected
    assert "2026-03-04 05:06:07 UTC" in checks["timestamp"].found
    assert "from 2025-03-04 05:06:07 UTC on" in checks["timestamp"].expected


def test_a_managed_key_is_compared_too() -> None:
    evidence = check(bundle_of(FORGE, KIND, log="v2"), KIND.key)
    last = evidence.checks[-1]
    assert (last.name, last.step) == ("key", 7)
    assert KIND.key.key_id.hex() in last.found
    assert last.expected == "that key, in use at any time"


def test_evidence_survives_a_process() -> None:
    evidence = check(FORGE.bundle())
    assert pickle.loads(pickle.dumps(evidence)) == evidence
    assert json.loads(json.dumps(evidence.to_json()))["checks"][0]["why"]


def window(start: datetime, end: datetime) -> TrustedRoot:
    logs = tuple(log._replace(validity=Validity(start, end)) for log in ROOT.tlogs)
    return ROOT._replace(tlogs=logs)


def refusals() -> dict[str, tuple[dict[str, Any], str, str]]:
    """What is checked, and what its refusal must name as found and as expected."""
    other = FORGE.bundle()
    good = FORGE.bundle()
    sha256 = BytesArtifact(b"tampered").digest("sha256").hex()
    signed = BytesArtifact(ARTIFACT).digest("sha256").hex()
    late = NOW + timedelta(minutes=11)
    key = PublicKey.from_spki(kind_of("PKIX_ED25519").spki)
    another = FORGE.bundle(envelope=True)
    return {
        "identity": ({"policy": Identity("you@example.org", ISSUER)}, NAME, "you@example.org"),
        "issuer": ({"policy": Identity(NAME, "https://i.example")}, ISSUER, "https://i.example"),
        "key for an identity": ({"policy": key}, "a certificate", key.key_id.hex()),
        "artifact": ({"artifact": b"tampered"}, sha256, signed),
        "artifact of a statement": (
            {"bundle": another, "artifact": b"tampered"}, sha256, signed,
        ),
        "log": (
            {"bundle": STRANGER.bundle(timestamp=False)},
            STRANGER.log_id.hex(), "https://log.example.org",
        ),
        "time of the log": (
            {"root": window(NOW - timedelta(9), NOW - timedelta(1))},
            "2026-03-04 05:06:07", "to 2026-03-03 05:06:07",
        ),
        "time of the certificate": (
            {"bundle": FORGE.bundle(integrated_at=late)},
            "2026-03-04 05:17:07", "2026-03-04 05:16:07",
        ),
        "no time": (
            {"bundle": FORGE.bundle(promise=False, timestamp=False)}, "no proven time", "1 of ",
        ),
        "signature in the entry": (
            {"bundle": good._replace(tlog_entries=other.tlog_entries, timestamps=())},
            "in the entry", "signature ",
        ),
        "v2 entry": (
            {
                "bundle": FORGE.bundle(log="v2")._replace(
                    tlog_entries=FORGE.bundle(log="v2").tlog_entries
                )
            },
            "in the entry", "signature ",
        ),
        "proof": ({"bundle": with_proof(good, root_hash=bytes(32))}, "computed", "00" * 32),
        "kind": (
            {"bundle": with_entry(FORGE.bundle(promise=False), kind="rekord")},
            "rekord 0.0.1", "hashedrekord 0.0.1 or hashedrekord 0.0.2",
        ),
        "certificate authority": (
            {"root": ROOT._replace(certificate_authorities=())}, "CN=ca", "no authorities at all",
        ),
        "certificate logs": (
            {"root": ROOT._replace(ctlogs=())}, FORGE.ct_id.hex()[:16], "no logs at all",
        ),
        "timestamp": (
            {"bundle": FORGE.bundle()._replace(timestamps=STRANGER.bundle().timestamps)},
            "a token of 2026-03-04 05:06:07 UTC", "https://tsa.example.org from",
        ),
        "number of logs": (
            {"thresholds": Thresholds(logs=2)}, "https://log.example.org", "2 of ",
        ),
    }  # fmt: skip


@pytest.mark.parametrize(("how", "found", "expected"), refusals().values(), ids=refusals())
def test_a_refusal_names_what_was_found_beside_what_was_expected(
    how: dict[str, Any], found: str, expected: str
) -> None:
    how = {"bundle": FORGE.bundle(), **how}
    with pytest.raises(VerificationError) as raised:
        check(**how)
    error = raised.value
    assert found in error.found
    assert expected in error.expected
    again = pickle.loads(pickle.dumps(error))
    assert (again.found, again.expected) == (error.found, error.expected)


def test_a_refusal_keeps_what_had_passed() -> None:
    with pytest.raises(SignatureInvalid) as first:
        check(FORGE.bundle(), artifact=b"tampered")
    assert first.value.passed == ()
    with pytest.raises(VerificationError) as last:
        check(FORGE.bundle(), Identity("you@example.org", ISSUER))
    names = [item.name for item in last.value.passed if isinstance(item, Check)]
    assert names[0] == "timestamp"
    assert names[-1] == "signature"


def test_policies_are_described() -> None:
    assert describe(ME) == f"name {NAME}, issuer {ISSUER}"
    both = AllOf((AnyOf((ME, Identity("b", "c"))), UnsafeAnyIdentity()))
    expected = f"((name {NAME}, issuer {ISSUER} or name b, issuer c) and UnsafeAnyIdentity)"
    assert describe(both) == expected


PERIODS: dict[str, tuple[datetime | None, datetime | None, bool]] = {
    "ever": (None, None, True),
    "to the second": (NOW, NOW, True),
    "since": (NOW, None, True),
    "until": (None, NOW, True),
    "later": (NOW + timedelta(seconds=1), None, False),
    "earlier": (None, NOW - timedelta(seconds=1), False),
}


@pytest.mark.parametrize(("start", "end", "good"), PERIODS.values(), ids=PERIODS)
def test_a_managed_key_counts_in_its_period_only(
    start: datetime | None, end: datetime | None, good: bool
) -> None:
    bundle = bundle_of(FORGE, KIND, log="v2")
    stamped = bundle._replace(timestamps=(FORGE.timestamp(bundle.signature, NOW),))
    expected = ManagedKey(KIND.key, start, end)
    if good:
        assert check(stamped, expected).checks[-1].name == "key"
        return
    with pytest.raises(TimeUnproven, match="not in use") as raised:
        check(stamped, expected)
    assert "2026-03-04 05:06:07 UTC" in raised.value.found


def test_a_key_with_a_period_needs_a_time() -> None:
    bundle = bundle_of(FORGE, KIND, log="v2")
    assert check(bundle, KIND.key)
    for period in ({"valid_from": NOW}, {"valid_until": NOW}):
        with pytest.raises(TimeUnproven, match="nothing proves"):
            check(bundle, ManagedKey(KIND.key, **period))
    for stamps in ((NOW, NOW + timedelta(days=1)), (NOW + timedelta(days=1), NOW)):
        tokens = tuple(FORGE.timestamp(bundle.signature, at) for at in stamps)
        with pytest.raises(TimeUnproven, match="not in use"):  # one good time excuses no other
            check(bundle._replace(timestamps=tokens), ManagedKey(KIND.key, None, NOW))


def test_intoto_0_0_1_is_tied_by_the_hash_of_its_envelope() -> None:
    plan = Plan(envelope=True, kind="intoto 0.0.1")
    mine, other = FORGE.bundle(plan), FORGE.bundle(plan)
    assert check(mine)
    swapped = mine._replace(tlog_entries=other.tlog_entries, timestamps=())
    with pytest.raises(InclusionInvalid, match="another signer"):
        check(swapped)
    # The same certificate and payload under another signature, or in another envelope.
    assert isinstance(mine.content, Envelope)
    assert isinstance(other.content, Envelope)
    (signature,) = mine.content.signatures
    spelt = '","sig":"AAAA"},{"keyid":"'  # would read as a second signature
    for lie in (
        other.content.signatures[0],
        signature._replace(keyid="k"),
        signature._replace(keyid=spelt),
    ):
        content = mine.content._replace(signatures=(lie,))
        with pytest.raises(InclusionInvalid, match="spelt otherwise"):
            check(mine._replace(content=content, timestamps=()))
