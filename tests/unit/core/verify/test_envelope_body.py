# SPDX-License-Identifier: Apache-2.0
"""Entries about envelopes that the log has, proof and all, but that say something else."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import InclusionInvalid, SignatureInvalid
from countermark.core.intoto.envelope import Envelope
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.verifier import Thresholds, verify
from tests.support.attacks import FORGE, ROOT, check
from tests.support.every_key import kind_of, signed_content
from tests.support.forge import ARTIFACT, Plan, sign_content, spec_v1
from tests.support.made_certificates import NOW, canonical, to_der

Change = Callable[[dict[str, Any]], None]


def recorded(kind: str, change: Change) -> Bundle:
    """A bundle whose entry's spec was changed before the log took it in."""
    plan = Plan(envelope=True, kind=kind)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = FORGE.leaf(key, plan)
    content, signature = sign_content(key, plan)
    pem = leaf.public_bytes(Encoding.PEM)
    entry = FORGE.entry_v1(plan, content, signature, pem)
    name, version, spec = spec_v1(plan, content, signature, pem)
    spec = deepcopy(spec)
    change(spec)
    body = canonical({"apiVersion": version, "kind": name, "spec": spec})
    entry = entry._replace(
        canonicalized_body=body,
        inclusion_proof=FORGE.proof(body, plan, "v1"),
        inclusion_promise=b"",
    )
    stamps = (FORGE.timestamp(signature, NOW),)
    return Bundle("0.3", (to_der(leaf),), None, (entry,), stamps, content)


def put(*path: str | int, value: Any) -> Change:
    def change(spec: Any) -> None:
        for step in path[:-1]:
            spec = spec[step]
        spec[path[-1]] = value

    return change


def twice(*path: str | int) -> Change:
    def change(spec: Any) -> None:
        for step in path:
            spec = spec[step]
        spec.append(spec[0])

    return change


OTHER = "ab" * 32
LIES: dict[str, tuple[str, Change, str]] = {
    "dsse: another payload": ("dsse", put("payloadHash", "value", value=OTHER), "another payload"),
    "dsse: another hash": (
        "dsse", put("payloadHash", "algorithm", value="sha512"), "payload with SHA-256",
    ),
    "dsse: two signatures": ("dsse", twice("signatures"), "2 signatures instead of one"),
    "dsse: none": ("dsse", put("signatures", value=[]), "0 signatures instead of one"),
    "dsse: another signature": (
        "dsse", put("signatures", 0, "signature", value="AAAA"), "another signature",
    ),
    "intoto 0.0.2: another payload": (
        "intoto", put("content", "payloadHash", "value", value=OTHER), "another payload",
    ),
    "intoto 0.0.2: another hash": (
        "intoto", put("content", "payloadHash", "algorithm", value="md5"), "payload with SHA-256",
    ),
    "intoto 0.0.2: another type": (
        "intoto", put("content", "envelope", "payloadType", value="text/plain"), "another type",
    ),
    "intoto 0.0.2: two signatures": (
        "intoto", twice("content", "envelope", "signatures"), "2 signatures instead of one",
    ),
    "intoto 0.0.2: signature in base64 once": (
        "intoto", put("content", "envelope", "signatures", 0, "sig", value="AAAA"),
        "another signature",
    ),
    "intoto 0.0.1: another payload": (
        "intoto 0.0.1", put("content", "payloadHash", "value", value=OTHER), "another payload",
    ),
    "intoto 0.0.1: another envelope": (
        "intoto 0.0.1", put("content", "hash", "value", value=OTHER), "spelt otherwise",
    ),
    "intoto 0.0.1: another hash": (
        "intoto 0.0.1", put("content", "hash", "algorithm", value="sha384"),
        "envelope with SHA-256",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "why"), LIES.values(), ids=LIES)
def test_an_entry_that_differs_in_one_field(kind: str, change: Change, why: str) -> None:
    with pytest.raises(InclusionInvalid, match=why):
        check(recorded(kind, change))


@pytest.mark.parametrize("kind", ["dsse", "intoto", "intoto 0.0.1"])
def test_they_are_good_otherwise(kind: str) -> None:
    assert check(recorded(kind, lambda spec: None))


def test_what_json_would_have_to_escape_is_spelt_in_no_way() -> None:
    """Bare quotes in a key id or type would let one envelope be written as another."""
    made = recorded("intoto 0.0.1", lambda spec: None)
    assert isinstance(made.content, Envelope)
    (signature,) = made.content.signatures
    for content in (
        made.content._replace(signatures=(signature._replace(keyid='"'),)),
        made.content._replace(payload_type='application/vnd.in-toto+json"'),
    ):
        with pytest.raises(InclusionInvalid, match="spelt otherwise"):
            check(made._replace(content=content))


def test_keys_that_sign_no_digest_sign_no_artifact_without_a_log_either() -> None:
    key = kind_of("PKIX_ED25519")
    bundle = Bundle("0.3", (), "", (), (), signed_content(key, envelope=False))
    with pytest.raises(SignatureInvalid, match="does not verify"):  # it was not prehashed
        verify(
            bundle,
            BytesArtifact(ARTIFACT),
            ROOT,
            key.key,
            thresholds=Thresholds(unlogged=True),
        )
    enveloped = Bundle("0.3", (), "", (), (), signed_content(key, envelope=True))
    thresholds = Thresholds(unlogged=True)
    assert verify(enveloped, BytesArtifact(ARTIFACT), ROOT, key.key, thresholds=thresholds)
