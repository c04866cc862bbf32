# SPDX-License-Identifier: Apache-2.0
"""Verification summaries: any bytes are a summary or a typed error."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import FormatError, SignatureInvalid
from countermark.core.intoto.verification_summary import PASSED, PREDICATE_TYPE, check_summary

NAMES = st.sampled_from(
    [
        "verifier", "id", "timeVerified", "resourceUri", "policy", "uri", "digest", "sha256",
        "inputAttestations", "annotations", "name", "verificationResult", "verifiedLevels",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.sampled_from([PASSED, "2026-01-01T00:00:00Z", "00" * 32]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(st.binary(max_size=300))
def test_bytes(data: bytes) -> None:
    with suppress(FormatError, SignatureInvalid):
        check_summary(data)


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_trees(predicate: dict[str, Any]) -> None:
    data = json.dumps({"predicateType": PREDICATE_TYPE, "predicate": predicate}).encode()
    with suppress(FormatError, SignatureInvalid):
        assert check_summary(data).result == PASSED
