# SPDX-License-Identifier: Apache-2.0
"""Endorsing: what was verified under somebody else's trust root, vouched for under one's own.

The result is a verification summary (SLSA VSA) about the artifact, signed and logged by one's
own instance. Whoever verifies it needs that instance's root only.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

from countermark.client.sign import Signed, Signer
from countermark.client.verify import Root
from countermark.core.bundle.bundle import Bundle
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import RequestRejected
from countermark.core.intoto.statement import Subject
from countermark.core.intoto.verification_summary import (
    InputAttestation,
    VerificationSummary,
    summary_statement,
)
from countermark.core.verify.artifact import Artifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Policy
from countermark.core.verify.signer import EXTENSION_NAMES
from countermark.core.verify.verifier import ONE_OF_EACH, Thresholds

_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_KEPT_CLAIMS = (
    "source-repository-uri",
    "source-repository-digest",
    "source-repository-ref",
    "build-signer-uri",
    "build-trigger",
    "runner-environment",
)


class Expectation(NamedTuple):
    """Whom to expect outside, and how that is written down.

    Attributes:
        policy: who must have signed, or with which key.
        description: the same for people and programs: plain JSON values.
        thresholds: how much agreement is asked for.
    """

    policy: Policy | PublicKey
    description: Mapping[str, object]
    thresholds: Thresholds = ONE_OF_EACH


class Endorsed(NamedTuple):
    """An endorsement, and what it is about.

    Attributes:
        signed: the summary's own bundle, already verified.
        outside: what was found out about the original.
        statement: the summary as it was signed.
    """

    signed: Signed
    outside: Evidence
    statement: bytes


def endorse(
    signer: Signer,
    artifact: Artifact,
    bundle_json: bytes,
    root: Root,
    expectation: Expectation,
    *,
    name: str,
    verifier_id: str,
    now: datetime,
    resource_uri: str = "",
) -> Endorsed:
    """Verify a bundle outside; only if it holds, sign and log that it did.

    Args:
        signer: who vouches, with which instance.
        artifact: what the bundle is about; its SHA-256 must be at hand.
        bundle_json: the bundle as it came.
        root: whom to believe outside.
        expectation: whom to expect outside.
        name: of the artifact.
        verifier_id: URI of whoever vouches.
        now: the time of this verification.
        resource_uri: what the artifact is; by default a generic package URL of its name.

    Raises VerificationError if the original does not hold, and what signing raises.
    """
    if ":" not in verifier_id:
        raise RequestRejected(f"the verifier's id {verifier_id[:200]!r} is not a URI")
    bundle = Bundle.parse(bundle_json)
    outside = root.verify(bundle, artifact, expectation.policy, expectation.thresholds)
    rules = json.dumps(
        {**expectation.description, "thresholds": _thresholds(expectation.thresholds)},
        separators=(",", ":"),
        sort_keys=True,
        ensure_ascii=False,
    ).encode("utf-8")
    evidence = InputAttestation(
        f"{name}.sigstore.json", sha256(bundle_json).digest(), _BUNDLE_TYPE, annotations(outside)
    )
    summary = VerificationSummary(
        verifier_id=verifier_id,
        time_verified=now,
        resource_uri=resource_uri or f"pkg:generic/{quote(name, safe='')}",
        policy_uri=f"data:application/json,{quote(rules, safe='')}",
        policy_sha256=sha256(rules).digest(),
        inputs=(evidence,),
    )
    subject = Subject(name, {"sha256": artifact.digest("sha256")})
    statement = summary_statement(summary, (subject,))
    return Endorsed(signer.sign_statement(statement), outside, statement)


def annotations(evidence: Evidence) -> dict[str, str]:
    """What was found out about a signature, as short texts."""
    found: dict[str, str] = {"trustedRoot": evidence.root}
    if evidence.signer is not None:
        found["signer"], found["issuer"] = evidence.signer.name, evidence.signer.issuer
        for number, claim in EXTENSION_NAMES.items():
            value = evidence.signer.extension(number)
            if claim in _KEPT_CLAIMS and value:
                found[claim] = value
    else:
        found["key"] = f"sha256:{evidence.key.key_id.hex()}"
    if evidence.times:
        found["signedAt"] = to_rfc3339(evidence.times[0].time)
    for number, record in enumerate(evidence.records):
        found["logged" if number == 0 else f"logged{number + 1}"] = (
            f"{record.log}, index {record.log_index}"
        )
    if evidence.statement is not None:
        found["predicateType"] = evidence.statement.predicate_type
    return found


def _thresholds(thresholds: Thresholds) -> dict[str, int | bool]:
    return dict(thresholds._asdict())
