# SPDX-License-Identifier: Apache-2.0
"""SLSA verification summaries: what is written is read again, and what else is refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from countermark.core.errors import FormatError, SignatureInvalid
from countermark.core.intoto.statement import Subject, parse_statement
from countermark.core.intoto.verification_summary import (
    PREDICATE_TYPE,
    InputAttestation,
    VerificationSummary,
    check_any_summary,
    check_summary,
    parse_summary,
    summary_statement,
)

SUMMARY = VerificationSummary(
    verifier_id="mailto:security@example.org",
    time_verified=datetime(2026, 11, 22, 8, 0, tzinfo=UTC),
    resource_uri="pkg:generic/tool.tar.gz",
    policy_uri="data:application/json,%7B%7D",
    policy_sha256=bytes(32),
    inputs=(InputAttestation("tool.sigstore.json", b"\x01" * 32, "text/x", {"signer": "ä"}),),
)
SUBJECTS = (Subject("tool.tar.gz", {"sha256": b"\x02" * 32, "sha512": b"\x03" * 64}),)


def changed(**fields: Any) -> bytes:
    """The statement with some fields of its predicate replaced."""
    tree = json.loads(summary_statement(SUMMARY, SUBJECTS))
    tree["predicate"].update(fields)
    return json.dumps(tree).encode()


def test_a_summary_is_a_statement_about_its_subjects() -> None:
    payload = summary_statement(SUMMARY, SUBJECTS)
    statement = parse_statement(payload)
    assert statement.predicate_type == PREDICATE_TYPE
    assert statement.subjects == SUBJECTS
    assert parse_summary(payload) == SUMMARY
    assert check_summary(payload) == SUMMARY


def test_it_has_the_fields_of_the_specification() -> None:
    predicate = json.loads(summary_statement(SUMMARY, SUBJECTS))["predicate"]
    assert predicate == {
        "verifier": {"id": "mailto:security@example.org"},
        "timeVerified": "2026-11-22T08:00:00Z",
        "resourceUri": "pkg:generic/tool.tar.gz",
        "policy": {"uri": "data:application/json,%7B%7D", "digest": {"sha256": "00" * 32}},
        "inputAttestations": [
            {
                "digest": {"sha256": "01" * 32},
                "name": "tool.sigstore.json",
                "mediaType": "text/x",
                "annotations": {"signer": "ä"},
            }
        ],
        "verificationResult": "PASSED",
        "verifiedLevels": ["SLSA_BUILD_LEVEL_UNEVALUATED"],
        "slsaVersion": "1.0",
    }


@pytest.mark.parametrize("result", ["FAILED", "passed", "PASSED "])
def test_a_verification_that_did_not_pass_vouches_for_nothing(result: str) -> None:
    with pytest.raises(SignatureInvalid, match=result):
        check_summary(changed(verificationResult=result))


@pytest.mark.parametrize(
    ("predicate", "good"),
    [
        ({"verification_result": "PASSED"}, True),
        ({"verificationResult": "PASSED"}, True),
        ({"verification_result": "FAILED"}, False),
        ({"verificationResult": "PASSED", "verification_result": "FAILED"}, False),
        ({"verificationResult": ["PASSED"]}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("version", ["v0.1", "v0.2", "v2", ""])
def test_summaries_of_other_versions(version: str, predicate: dict[str, Any], good: bool) -> None:
    tree = json.loads(summary_statement(SUMMARY, SUBJECTS))
    tree["predicateType"] = f"https://slsa.dev/verification_summary/{version}"
    payload = json.dumps(tree | {"predicate": predicate}).encode()
    if good:
        check_any_summary(payload)
        return
    with pytest.raises(SignatureInvalid, match="ended with"):
        check_any_summary(payload)


def test_any_summary_of_version_1_is_read_whole() -> None:
    check_any_summary(summary_statement(SUMMARY, SUBJECTS))
    with pytest.raises(SignatureInvalid, match="FAILED"):
        check_any_summary(changed(verificationResult="FAILED"))
    with pytest.raises(FormatError):
        check_any_summary(changed(resourceUri=""))


@pytest.mark.parametrize(
    "fields",
    [
        {"verificationResult": ""},
        {"verificationResult": None},
        {"verificationResult": ["PASSED"]},
        {"verifier": "me"},
        {"verifier": {}},
        {"verifier": {"id": 7}},
        {"timeVerified": "yesterday"},
        {"resourceUri": ""},
        {"resourceUri": "x" * 20_000},
        {"policy": None},
        {"policy": {"uri": "x", "digest": {"sha256": "00"}}},
        {"policy": {"uri": "x", "digest": []}},
        {"policy": {"uri": "x", "digest": {"sha256": 5}}},
        {"inputAttestations": {}},
        {"inputAttestations": [{}] * 33},
        {"inputAttestations": ["x"]},
        {"inputAttestations": [{"annotations": []}, {"annotations": [1]}]},
        {"verifiedLevels": "ALL"},
        {"verifiedLevels": [1]},
    ],
)
def test_what_is_no_summary_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        check_summary(changed(**fields))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"predicateType": "https://slsa.dev/verification_summary/v1"}',
        summary_statement(SUMMARY, SUBJECTS).replace(b"summary/v1", b"summary/v0.2"),
        summary_statement(SUMMARY, SUBJECTS).replace(
            b'"verificationResult"', b'"verificationResult":"PASSED","verificationResult"'
        ),
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_other_documents_are_refused(payload: bytes) -> None:
    with pytest.raises(FormatError):
        check_summary(payload)
