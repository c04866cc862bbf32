# SPDX-License-Identifier: Apache-2.0
"""Real bundles that npm's registry served: intoto 0.0.2, its long-lived key, promises alone.

They are of versions 0.1 and 0.2 and bring their root along, which the verifier refuses, as the
conformance suite asks. Without it, which proves nothing, they must hold.
"""

import json
from base64 import b64decode
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_rfc3339
from countermark.core.errors import ChainInvalid, InclusionInvalid, TimeUnproven
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.managed_key import ManagedKey
from countermark.core.verify.policy import IdentityPattern
from countermark.core.verify.verifier import Expected, verify
from tests.support.vectors import GITHUB, vectors, vectors_dir

pytestmark = pytest.mark.vectors
PUBLISH = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1"
WORKFLOW = r"https://github\.com/[\w-]+/[\w-]+/\.github/workflows/npm-publish\.yml@refs/tags/v1.*"


def tarballs() -> list[str]:
    folder = vectors_dir()
    found = sorted(path.name for path in (folder or Path()).glob("npm/*.tgz"))
    return found or ["absent"]


def attestations(tarball: str) -> list[dict[str, Any]]:
    tree = json.loads(vectors("npm", f"{tarball}.json").read_bytes())
    found: list[dict[str, Any]] = tree["attestations"]
    return found


def npm_key(hint: str) -> ManagedKey:
    """npm's key of that name, with the period that the TUF target gives it."""
    tree = json.loads(vectors("public-good", "npm-keys.json").read_bytes())
    (listed,) = [
        key["publicKey"]
        for key in tree["keys"]
        if key["keyId"] == hint and key["keyUsage"] == "npm:attestations"
    ]
    period = listed["validFor"]
    ends = [from_rfc3339(period[at], at) if at in period else None for at in ("start", "end")]
    return ManagedKey(PublicKey.from_spki(b64decode(listed["rawBytes"])), *ends)


def without_root(bundle: Bundle) -> Bundle:
    kept = [item for item in bundle.certificates if not Certificate.parse(item).is_self_issued]
    return bundle._replace(certificates=tuple(kept))


def check(bundle: Bundle, tarball: str, expected: Expected | None = None) -> Evidence:
    root = TrustedRoot.parse(vectors("public-good", "production", "trusted_root.json").read_bytes())
    who: Expected = IdentityPattern(WORKFLOW, GITHUB.replace(".", r"\."))
    if bundle.public_key_hint is not None:
        who = npm_key(bundle.public_key_hint)
    artifact = BytesArtifact(vectors("npm", tarball).read_bytes())
    return verify(without_root(bundle), artifact, root, expected or who)


@pytest.mark.parametrize("tarball", tarballs())
def test_what_npm_served(tarball: str) -> None:
    for item in attestations(tarball):
        bundle = Bundle.parse(json.dumps(item["bundle"]).encode())
        lie = "invalidsigpub" if item["predicateType"] == PUBLISH else "invalidsigprov"
        if lie in tarball:
            with pytest.raises(InclusionInvalid, match="another payload") as raised:
                check(bundle, tarball)
            assert raised.value.found != raised.value.expected
            continue
        evidence = check(bundle, tarball)
        assert evidence.statement is not None
        assert evidence.statement.predicate_type == item["predicateType"]
        names = [found.name for found in evidence.checks]
        assert names[0] == "promise"
        assert names[-1] == ("key" if item["predicateType"] == PUBLISH else "identity")
        assert all(found.why for found in evidence.checks)


def plain() -> list[str]:
    return [name for name in tarballs() if "invalid" not in name]


def test_the_root_that_they_bring_along_is_refused() -> None:
    refused = 0
    for tarball, item in [(name, item) for name in plain() for item in attestations(name)]:
        bundle = Bundle.parse(json.dumps(item["bundle"]).encode())
        if len(bundle.certificates) < 2:
            continue
        refused += 1
        artifact = BytesArtifact(vectors("npm", tarball).read_bytes())
        root = vectors("public-good", "production", "trusted_root.json").read_bytes()
        who = IdentityPattern(WORKFLOW, GITHUB.replace(".", r"\."))
        with pytest.raises(ChainInvalid, match="root certificate") as raised:
            verify(bundle, artifact, TrustedRoot.parse(root), who)
        assert "sigstore" in raised.value.found
    assert refused


def test_npms_key_counts_in_its_period_only() -> None:
    tarball = plain()[0]
    (item,) = [item for item in attestations(tarball) if item["predicateType"] == PUBLISH]
    bundle = Bundle.parse(json.dumps(item["bundle"]).encode())
    assert bundle.public_key_hint is not None
    key = npm_key(bundle.public_key_hint)
    assert key.valid_until == datetime.fromisoformat("2025-01-29T00:00:00+00:00")
    signed = check(bundle, tarball).times[0].time
    second = timedelta(seconds=1)
    assert check(bundle, tarball, key._replace(valid_from=signed, valid_until=signed))
    for wrong in (
        key._replace(valid_until=signed - second),
        key._replace(valid_from=signed + second),
    ):
        with pytest.raises(TimeUnproven, match="not in use"):
            check(bundle, tarball, wrong)
