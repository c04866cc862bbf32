# SPDX-License-Identifier: Apache-2.0
"""Verification summaries (SLSA VSA, predicate v1): one party's signed word that it verified.

What was verified elsewhere, under roots and rules of others, can so be believed by those who
know only the verifier. Format: SLSA specification v1.0, "Verification Summary Attestation". Who
signed the original and when is told in annotations of the input attestation.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from countermark.core.encoding import from_hex, from_rfc3339, from_utf8, to_rfc3339
from countermark.core.errors import FormatError, SignatureInvalid
from countermark.core.intoto.statement import (
    MAX_STATEMENT_BYTES,
    STATEMENT_TYPES,
    VERIFICATION_SUMMARY,
    Subject,
    unique_keys,
)

PREDICATE_TYPE = VERIFICATION_SUMMARY
PASSED = "PASSED"
UNEVALUATED = "SLSA_BUILD_LEVEL_UNEVALUATED"
"""The level for a verification that did not look at how the artifact was built."""
_WHAT = "verification summary"
_SLSA_VERSION = "1.0"
_RESULTS = ("verificationResult", "verification_result")
_MAX_TEXT, _MAX_INPUTS, _MAX_ANNOTATIONS = 16 * 1024, 32, 64


class InputAttestation(NamedTuple):
    """Evidence that was looked at.

    Attributes:
        name: of its file, or whatever the verifier calls it; may be empty.
        sha256: of its bytes.
        media_type: of those bytes; may be empty.
        annotations: what it was found to say, e.g. ``signer``, ``issuer``, ``signedAt``.
    """

    name: str
    sha256: bytes
    media_type: str = ""
    annotations: Mapping[str, str] = {}


class VerificationSummary(NamedTuple):
    """What a verifier says.

    Attributes:
        verifier_id: URI of the verifier.
        time_verified: when it verified.
        resource_uri: what the artifact is, as a URI.
        policy_uri: where the rules are that it was verified by.
        policy_sha256: digest of those rules; empty if not said.
        inputs: the evidence.
        result: ``PASSED`` or ``FAILED``.
        verified_levels: SLSA levels, or `UNEVALUATED`.
    """

    verifier_id: str
    time_verified: datetime
    resource_uri: str
    policy_uri: str
    policy_sha256: bytes
    inputs: tuple[InputAttestation, ...]
    result: str = PASSED
    verified_levels: tuple[str, ...] = (UNEVALUATED,)


def summary_statement(summary: VerificationSummary, subjects: tuple[Subject, ...]) -> bytes:
    """An in-toto statement with that summary about those subjects, ready to be signed."""
    policy: dict[str, Any] = {"uri": summary.policy_uri}
    if summary.policy_sha256:
        policy["digest"] = {"sha256": summary.policy_sha256.hex()}
    tree = {
        "_type": STATEMENT_TYPES[0],
        "subject": [
            {
                "name": subject.name,
                "digest": {name: value.hex() for name, value in sorted(subject.digests.items())},
            }
            for subject in subjects
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "verifier": {"id": summary.verifier_id},
            "timeVerified": to_rfc3339(summary.time_verified),
            "resourceUri": summary.resource_uri,
            "policy": policy,
            "inputAttestations": [_input_tree(item) for item in summary.inputs],
            "verificationResult": summary.result,
            "verifiedLevels": list(summary.verified_levels),
            "slsaVersion": _SLSA_VERSION,
        },
    }
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def parse_summary(payload: bytes) -> VerificationSummary:
    """Read the predicate of a summary; its statement was parsed before. Raises FormatError."""
    tree = _tree(payload)
    if tree.get("predicateType") != PREDICATE_TYPE:
        raise FormatError(_WHAT, "is of another type")
    predicate = _object(tree, "predicate")
    policy = _object(predicate, "policy")
    inputs = predicate.get("inputAttestations", [])
    if not isinstance(inputs, list) or len(inputs) > _MAX_INPUTS:
        raise FormatError(_WHAT, f"needs at most {_MAX_INPUTS} inputAttestations")
    levels = predicate.get("verifiedLevels", [])
    if not isinstance(levels, list) or not all(isinstance(level, str) for level in levels):
        raise FormatError(_WHAT, "has verifiedLevels that are not a list of text")
    return VerificationSummary(
        verifier_id=_text(_object(predicate, "verifier"), "id"),
        time_verified=from_rfc3339(_text(predicate, "timeVerified"), "timeVerified"),
        resource_uri=_text(predicate, "resourceUri"),
        policy_uri=_text(policy, "uri", required=False),
        policy_sha256=_sha256(policy),
        inputs=tuple(map(_parse_input, inputs)),
        result=_text(predicate, "verificationResult"),
        verified_levels=tuple(level[:_MAX_TEXT] for level in levels),
    )


def check_summary(payload: bytes) -> VerificationSummary:
    """Read a summary that says that the verification passed.

    Raises SignatureInvalid for one that says anything else, FormatError.
    """
    summary = parse_summary(payload)
    _check_result(summary.result)
    return summary


def check_any_summary(payload: bytes) -> None:
    """Check that a summary of any version says that the verification passed.

    Versions before 1 spell the result differently; of later ones nothing else is known. Raises
    what `check_summary` raises.
    """
    tree = _tree(payload)
    if tree.get("predicateType") == PREDICATE_TYPE:
        check_summary(payload)
        return
    predicate = _object(tree, "predicate")
    found = [predicate[name] for name in _RESULTS if name in predicate]
    for result in found or [None]:
        _check_result(result)


def _check_result(result: object) -> None:
    if result != PASSED:
        raise SignatureInvalid(
            f"the signed summary says that the verification ended with {str(result)[:40]!r}"
        )


def _tree(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_STATEMENT_BYTES:
        raise FormatError(_WHAT, f"is larger than {MAX_STATEMENT_BYTES} bytes")
    try:
        tree = json.loads(from_utf8(payload, _WHAT), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise FormatError(_WHAT, "is not JSON, or not JSON that can be trusted") from error
    if not isinstance(tree, dict):
        raise FormatError(_WHAT, "is of another type")
    return tree


def _input_tree(item: InputAttestation) -> dict[str, Any]:
    tree: dict[str, Any] = {"digest": {"sha256": item.sha256.hex()}}
    if item.name:
        tree["name"] = item.name
    if item.media_type:
        tree["mediaType"] = item.media_type
    if item.annotations:
        tree["annotations"] = dict(item.annotations)
    return tree


def _parse_input(tree: object) -> InputAttestation:
    if not isinstance(tree, dict):
        raise FormatError(_WHAT, "has an input attestation that is no object")
    annotations = tree.get("annotations") or {}
    if not isinstance(annotations, dict) or len(annotations) > _MAX_ANNOTATIONS:
        raise FormatError(_WHAT, "has annotations that are no small object")
    return InputAttestation(
        name=_text(tree, "name", required=False),
        sha256=_sha256(tree),
        media_type=_text(tree, "mediaType", required=False),
        annotations={name: value for name, value in annotations.items() if isinstance(value, str)},
    )


def _sha256(tree: dict[str, Any]) -> bytes:
    digest = tree.get("digest", {})
    value = digest.get("sha256", "") if isinstance(digest, dict) else None
    if not isinstance(value, str):
        raise FormatError(_WHAT, "has a digest that is not text")
    return from_hex(value, _WHAT, length=32) if value else b""


def _object(tree: dict[str, Any], name: str) -> dict[str, Any]:
    value = tree.get(name)
    if not isinstance(value, dict):
        raise FormatError(_WHAT, f"has no {name}")
    return value


def _text(tree: dict[str, Any], name: str, *, required: bool = True) -> str:
    value = tree.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_TEXT or (required and not value):
        raise FormatError(_WHAT, f"has no {name} that is text of at most {_MAX_TEXT} characters")
    return value
