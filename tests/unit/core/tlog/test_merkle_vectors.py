# SPDX-License-Identifier: Apache-2.0
"""Published proofs, good and bad, through the proof checks (transparency-dev/merkle)."""

import json
from base64 import b64decode
from typing import Any

import pytest

from countermark.core.errors import ConsistencyInvalid, InclusionInvalid
from countermark.core.tlog.merkle import verify_consistency, verify_inclusion
from tests.support.vectors import vectors

pytestmark = pytest.mark.vectors


def _cases(kind: str) -> list[tuple[str, dict[str, Any]]]:
    folder = vectors("merkle", kind)
    cases = [
        (str(path.relative_to(folder)), json.loads(path.read_text()))
        for path in sorted(folder.rglob("*.json"))
    ]
    assert len(cases) > 80
    return cases


def _bytes(text: str | None) -> bytes:
    return b64decode(text or "")


def _inclusion_holds(case: dict[str, Any]) -> bool:
    proof = [_bytes(item) for item in case["proof"] or ()]
    try:
        verify_inclusion(
            _bytes(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, _bytes(case["root"])
        )
    except InclusionInvalid:
        return False
    return True


def _consistency_holds(case: dict[str, Any]) -> bool:
    proof = [_bytes(item) for item in case["proof"] or ()]
    try:
        verify_consistency(
            case["size1"], case["size2"], _bytes(case["root1"]), _bytes(case["root2"]), proof
        )
    except ConsistencyInvalid:
        return False
    return True


def test_inclusion_proofs() -> None:
    for name, case in _cases("inclusion"):
        assert _inclusion_holds(case) != case["wantErr"], name


def test_consistency_proofs() -> None:
    for name, case in _cases("consistency"):
        assert _consistency_holds(case) != case["wantErr"], name
