# SPDX-License-Identifier: Apache-2.0
"""Statements that `countermark attest` makes, verified by cosign as it verifies its own."""

import json
from pathlib import Path

import pytest

from countermark.core.intoto.predicates import PREDICATE_TYPES
from tests.support.peers import ADA, Ours, installed
from tests.support.running import Done

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("cosign")]
PREDICATES = {
    "slsaprovenance1": {"buildDefinition": {"buildType": "https://x.example"}, "runDetails": {}},
    "spdxjson": {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT"},
    "cyclonedx": {"bomFormat": "CycloneDX", "specVersion": "1.6"},
    "openvex": {"@context": "https://openvex.dev/ns/v0.2.0", "statements": []},
    "vuln": {"scanner": {"uri": "https://scanner.example"}, "metadata": {}},
    "custom": {"any": "text"},
    "https://example.org/own/v1": {"a": 1.0},
}


def verify(ours: Ours, bundle: Path, file: Path, *more: str) -> Done:
    return ours.instance.run(
        *(installed("go", "cosign"), "verify-blob-attestation", "--bundle", str(bundle)),
        *("--trusted-root", ours.trusted_root, "--certificate-identity", ADA),
        *("--certificate-oidc-issuer", ours.instance.issuer, *more, str(file)),
    )


@pytest.mark.parametrize("kind", list(PREDICATES))
def test_cosign_finds_the_type_and_the_predicate(ours: Ours, kind: str) -> None:
    file = ours.file()
    predicate = ours.file(json.dumps(PREDICATES[kind]), "predicate")
    done = ours.instance.countermark(
        *("attest", "--email", ADA, "--type", kind, "--predicate", str(predicate), str(file))
    )
    assert done.code == 0, done.err
    name = kind if kind in PREDICATE_TYPES else "attestation"
    bundle = Path(f"{file}.{name}.sigstore.json")
    assert verify(ours, bundle, file, "--type", kind).code == 0
    assert verify(ours, bundle, file, "--type", "link").code != 0
    other = ours.file("another release\n", "another")
    assert verify(ours, bundle, other, "--type", kind).code != 0
