# SPDX-License-Identifier: Apache-2.0
"""Each step of the verifier: what it accepts, and every lie it must see through."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.bundle.trusted_root import TrustedRoot, Validity
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    ChainInvalid,
    CountermarkError,
    IdentityMismatch,
    InclusionInvalid,
    RequestRejected,
    SCTInvalid,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.intoto.envelope import Envelope
from countermark.core.verify.artifact import BytesArtifact, DigestArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Identity
from countermark.core.verify.verifier import Thresholds, verify
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge, Plan, statement
from tests.support.made_certificates import NOW, authority, spki, to_der

FORGE = Forge()
ROOT = FORGE.trusted_root()
ME = Identity(NAME, ISSUER)
LATE = NOW + timedelta(minutes=11)


def check(bundle: Bundle, root: TrustedRoot = ROOT, artifact: bytes = ARTIFACT) -> Evidence:
    return verify(bundle, BytesArtifact(artifact), root, ME)


PLANS: dict[str, dict[str, Any]] = {
    "v1": {},
    "v1 without timestamp": {"timestamp": False},
    "v1 without promise": {"promise": False},
    "v1 dsse": {"envelope": True},
    "v1 intoto": {"envelope": True, "kind": "intoto"},
    "v2": {"log": "v2"},
    "v2 dsse": {"log": "v2", "envelope": True},
    "P-384": {"curve": ec.SECP384R1()},
    "P-521 in v2": {"curve": ec.SECP521R1(), "log": "v2"},
    "two SCTs": {"scts": 2},
    "first leaf of many": {"leaf_index": 0, "tree_size": 300},
    "only leaf": {"leaf_index": 0, "tree_size": 1},
    "last second of the certificate": {"stamped_at": NOW + timedelta(minutes=10)},
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_accepts(plan: dict[str, Any]) -> None:
    bundle = FORGE.bundle(**plan)
    evidence = check(Bundle.parse(bundle.serialize()))
    assert evidence.signer is not None
    assert (evidence.signer.name, evidence.signer.issuer) == (NAME, ISSUER)
    assert evidence.records[0].tree_size == plan.get("tree_size", 7)
    assert {item.source for item in evidence.times} == {
        source
        for source, there in (
            ("timestamp", plan.get("timestamp", True)),
            ("log", plan.get("promise", True) and plan.get("log") != "v2"),
        )
        if there
    }
    assert evidence.to_json()["identity"] == NAME
    assert (evidence.statement is not None) == plan.get("envelope", False)


def test_accepts_a_managed_key() -> None:
    for log in ("v1", "v2"):
        for envelope in (False, True):
            bundle = FORGE.bundle(certificate=False, log=log, envelope=envelope, timestamp=False)
            key = key_of(bundle)
            evidence = verify(bundle, BytesArtifact(ARTIFACT), ROOT, key)
            assert evidence.signer is None
            assert evidence.key == key
            assert evidence.to_json()["keyId"] == key.key_id.hex()


def key_of(bundle: Bundle) -> PublicKey:
    """The key in a bundle's log entry."""
    spec = json.loads(bundle.tlog_entries[0].canonicalized_body)["spec"]
    if "hashedRekordV002" in spec:
        raw = spec["hashedRekordV002"]["signature"]["verifier"]["publicKey"]["rawBytes"]
        return PublicKey.from_spki(b64decode(raw))
    if "signatures" in spec:
        return PublicKey.from_pem(b64decode(spec["signatures"][0]["verifier"]).decode())
    return PublicKey.from_pem(b64decode(spec["signature"]["publicKey"]["content"]).decode())


def test_a_managed_key_must_be_the_one() -> None:
    bundle = FORGE.bundle(certificate=False)
    other = PublicKey.from_spki(spki(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(InclusionInvalid, match="another signer"):
        verify(bundle, BytesArtifact(ARTIFACT), ROOT, other)
    with pytest.raises(IdentityMismatch, match="managed key"):
        check(bundle)
    with pytest.raises(IdentityMismatch, match="not by a key"):
        verify(FORGE.bundle(), BytesArtifact(ARTIFACT), ROOT, other)


def test_an_envelope_may_not_name_another_key() -> None:
    bundle = FORGE.bundle(certificate=False, envelope=True)
    assert isinstance(bundle.content, Envelope)
    signature = bundle.content.signatures[0]._replace(keyid="another")
    bundle = bundle._replace(content=bundle.content._replace(signatures=(signature,)))
    with pytest.raises(SignatureInvalid, match="two different keys"):
        verify(bundle, BytesArtifact(ARTIFACT), ROOT, key_of(FORGE.bundle(certificate=False)))


LIES: dict[str, tuple[dict[str, Any], type[CountermarkError], str]] = {
    "timestamp after the certificate": ({"stamped_at": LATE}, ChainInvalid, "not valid at"),
    "timestamp before it": (
        {"stamped_at": NOW - timedelta(seconds=1)}, ChainInvalid, "not valid at",
    ),
    "promise outside, timestamp inside": ({"integrated_at": LATE}, ChainInvalid, "not valid at"),
    "no time at all": ({"promise": False, "timestamp": False}, TimeUnproven, "0 trusted parties"),
    "v2 without timestamp": ({"log": "v2", "timestamp": False}, TimeUnproven, "0 trusted"),
    "no SCT": ({"scts": 0}, SCTInvalid, "no SCT"),
    "SCT before the CT log's time": (
        {"sct_at": NOW - timedelta(days=400)}, SCTInvalid, "0 trusted certificate logs",
    ),
    "critical extension": (
        {"extensions": ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"x"), True),)},
        ChainInvalid, "1.2.3 is not understood",
    ),
    "key not for signing": ({"signing_usage": False}, ChainInvalid, "not for signing"),
    "key usage not said": ({"signing_usage": None}, ChainInvalid, "not for signing"),
    "certificate of a CA": (
        {"extensions": ((x509.BasicConstraints(True, None), True),)}, ChainInvalid, "authority's",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("plan", "error", "why"), LIES.values(), ids=LIES)
def test_refuses(plan: dict[str, Any], error: type[CountermarkError], why: str) -> None:
    with pytest.raises(error, match=why):
        check(FORGE.bundle(**plan))


def test_refuses_another_artifact() -> None:
    with pytest.raises(SignatureInvalid, match="not the one that was signed"):
        check(FORGE.bundle(), artifact=b"tampered")
    with pytest.raises(SignatureInvalid, match="about other artifacts"):
        check(FORGE.bundle(envelope=True), artifact=b"tampered")
    bundle = FORGE.bundle()
    assert isinstance(bundle.content, MessageSignature)
    silent = bundle._replace(content=MessageSignature(bundle.content.signature, "", b""))
    assert check(silent)
    with pytest.raises(InclusionInvalid, match="another artifact"):
        check(silent, artifact=b"tampered")


def test_refuses_somebody_else() -> None:
    for policy in (Identity("you@example.org", ISSUER), Identity(NAME, "https://other.example")):
        with pytest.raises(IdentityMismatch):
            verify(FORGE.bundle(), BytesArtifact(ARTIFACT), ROOT, policy)


def test_refuses_an_entry_of_another_signature() -> None:
    """CVE-2022-36056: a valid entry that has nothing to do with the bundle."""
    for plan in ({}, {"log": "v2"}, {"envelope": True}, {"envelope": True, "kind": "intoto"}):
        mine, other = FORGE.bundle(timestamp=False, **plan), FORGE.bundle(**plan)
        mixed = mine._replace(tlog_entries=other.tlog_entries, timestamps=())
        if plan.get("log") == "v2":
            mixed = FORGE.bundle(**plan)._replace(tlog_entries=other.tlog_entries)
        with pytest.raises(InclusionInvalid, match=r"another signature|does not record"):
            check(mixed)


def test_a_digest_is_enough() -> None:
    artifact = BytesArtifact(ARTIFACT)
    digest = DigestArtifact("sha256", artifact.digest("sha256"))
    assert verify(FORGE.bundle(), digest, ROOT, ME).signer
    with pytest.raises(RequestRejected, match="needs the artifact's sha384"):
        verify(FORGE.bundle(curve=ec.SECP384R1()), digest, ROOT, ME)


def test_old_clients_sign_sha256_with_other_curves() -> None:
    """The entry says what was hashed; a P-384 signature over SHA-256 still counts."""
    key = ec.generate_private_key(ec.SECP384R1())
    plan = Plan(curve=ec.SECP384R1())
    leaf = FORGE.leaf(key, plan)
    signature = key.sign(ARTIFACT, ec.ECDSA(hashes.SHA256()))
    content = MessageSignature(signature, "", b"")
    pem = leaf.public_bytes(Encoding.PEM)
    entry = FORGE.entry_v1(Plan(), content, signature, pem)
    bundle = Bundle("0.3", (to_der(leaf),), None, (entry,), (), content)
    assert check(bundle).key.details == "PKIX_ECDSA_P384_SHA_384"


Windows = Callable[[Validity], TrustedRoot]
WINDOWS: dict[str, tuple[Windows, type[CountermarkError]]] = {
    "log": (
        lambda when: ROOT._replace(tlogs=tuple(log._replace(validity=when) for log in ROOT.tlogs)),
        TimeUnproven,
    ),
    "CT log": (
        lambda when: ROOT._replace(
            ctlogs=tuple(log._replace(validity=when) for log in ROOT.ctlogs)
        ),
        SCTInvalid,
    ),
    "CA": (
        lambda when: ROOT._replace(
            certificate_authorities=tuple(
                item._replace(validity=when) for item in ROOT.certificate_authorities
            )
        ),
        ChainInvalid,
    ),
    "TSA": (
        lambda when: ROOT._replace(
            timestamp_authorities=tuple(
                item._replace(validity=when) for item in ROOT.timestamp_authorities
            )
        ),
        TimeUnproven,
    ),
}


@pytest.mark.parametrize(("window", "error"), WINDOWS.values(), ids=WINDOWS)
def test_windows_are_closed(window: Windows, error: type[CountermarkError]) -> None:
    second = timedelta(seconds=1)
    bundle = FORGE.bundle()
    assert check(bundle, window(Validity(NOW, NOW)))
    for start, end in ((NOW + second, None), (NOW - 2 * second, NOW - second)):
        with pytest.raises(error):
            check(bundle, window(Validity(start, end)))


def test_a_retired_log_vouches_for_no_later_timestamp() -> None:
    bundle = FORGE.bundle(promise=False)
    logs = tuple(
        log._replace(validity=Validity(log.validity.start, NOW - timedelta(days=1)))
        for log in ROOT.tlogs
    )
    with pytest.raises(InclusionInvalid, match="another time"):
        check(bundle, ROOT._replace(tlogs=logs))


@pytest.mark.parametrize(
    ("root", "error"),
    [
        (ROOT._replace(tlogs=()), InclusionInvalid),
        (ROOT._replace(ctlogs=()), SCTInvalid),
        (ROOT._replace(certificate_authorities=()), ChainInvalid),
        (ROOT._replace(timestamp_authorities=()), TimeUnproven),
        (Forge().trusted_root(), CountermarkError),
    ],
    ids=["no log", "no CT log", "no CA", "no TSA", "strangers"],
)
def test_trusts_nobody_who_is_not_listed(root: TrustedRoot, error: type[CountermarkError]) -> None:
    with pytest.raises(error):
        check(FORGE.bundle(promise=False), root)


def test_a_root_certificate_in_the_bundle_is_refused() -> None:
    leaf = FORGE.bundle()._replace(version="0.2")
    chain = (*leaf.certificates, to_der(FORGE.ca))
    assert check(leaf._replace(certificates=chain))
    with pytest.raises(ChainInvalid, match="root certificate"):
        check(leaf._replace(certificates=(*chain, to_der(FORGE.ca_root))))


def test_a_bundle_brings_no_issuer_of_its_own() -> None:
    """An intermediate in the bundle never leads to a trusted root's key."""
    stranger = Forge()
    signed_by_stranger = stranger.bundle(timestamp=False, promise=False)
    forged = authority("ca", stranger.ca_key, "ca root", stranger.ca_root_key)
    bundle = FORGE.bundle()._replace(
        certificates=(signed_by_stranger.certificates[0], to_der(forged))
    )
    with pytest.raises(ChainInvalid, match="not signed by its issuer"):
        check(bundle)


def test_thresholds_count_operators_once() -> None:
    bundle = FORGE.bundle()
    verify(bundle, BytesArtifact(ARTIFACT), ROOT, ME, thresholds=Thresholds(times=2))
    same = ROOT._replace(
        tlogs=tuple(log._replace(operator="one") for log in ROOT.tlogs),
        timestamp_authorities=tuple(
            item._replace(operator="one") for item in ROOT.timestamp_authorities
        ),
    )
    for thresholds, error in (
        (Thresholds(times=2), TimeUnproven),
        (Thresholds(logs=2), InclusionInvalid),
        (Thresholds(scts=2), SCTInvalid),
    ):
        with pytest.raises(error):
            verify(bundle, BytesArtifact(ARTIFACT), same, ME, thresholds=thresholds)


def test_a_statement_matches_only_with_all_its_digests() -> None:
    def about(**digests: str) -> bytes:
        tree = json.loads(statement(ARTIFACT))
        tree["subject"].append({"name": "second", "digest": digests})
        del tree["subject"][0]
        return json.dumps(tree).encode()

    sha256, sha512 = (hashlib.new(name, ARTIFACT).hexdigest() for name in ("sha256", "sha512"))
    for digests in ({"sha512": sha512}, {"sha256": sha256, "sha512": sha512, "md5": "x"}):
        evidence = check(FORGE.bundle(envelope=True, statement=about(**digests)))
        assert evidence.statement is not None
        assert evidence.statement.subjects[0].name == "second"
    for digests in ({"md5": "00"}, {"sha256": sha256, "sha512": "00" * 64}):
        with pytest.raises(SignatureInvalid, match="other artifacts"):
            check(FORGE.bundle(envelope=True, statement=about(**digests)))


def test_evidence_says_when() -> None:
    evidence = check(FORGE.bundle(stamped_at=NOW + timedelta(seconds=3)))
    times: list[datetime] = [item.time for item in evidence.times]
    assert times == [NOW, NOW + timedelta(seconds=3)]
