# SPDX-License-Identifier: Apache-2.0
"""Vulnerabilities of Sigstore clients that were: each of them tried on this one.

Those of signing and login are here too, so that the list is in one place.
"""

import json
from base64 import b64decode
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.client.certificate import obtain_credential
from countermark.client.ephemeral import EphemeralKey
from countermark.client.identity import IdentityToken
from countermark.client.oauth import _Listener
from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.bundle.legacy import from_parts, parse_cosign_bundle
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    ChainInvalid,
    CountermarkError,
    FormatError,
    IdentityMismatch,
    InclusionInvalid,
    SignatureInvalid,
    TimeUnproven,
    UpstreamDown,
    VerificationError,
)
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.policy import AllOf, CertificateExtension, Identity
from countermark.core.verify.verifier import Thresholds, verify
from tests.support.attacks import FORGE, MALLORY, ME, ROOT, STRANGER, check, with_entry, with_proof
from tests.support.forge import ARTIFACT, ISSUER, NAME, Plan, sign_content
from tests.support.issuer import LocalIssuer
from tests.support.made_certificates import NOW, fulcio, to_der, utf8
from tests.support.old_cosign import certificate_pem, old_bundle, rekor_bundle

KINDS: dict[str, dict[str, Any]] = {
    "hashedrekord 0.0.1": {},
    "hashedrekord 0.0.2": {"log": "v2"},
    "dsse 0.0.1": {"envelope": True},
    "intoto 0.0.1": {"envelope": True, "kind": "intoto 0.0.1"},
    "intoto 0.0.2": {"envelope": True, "kind": "intoto"},
    "hashedrekord 0.0.2 of an envelope": {"log": "v2", "envelope": True},
}


def read(bundle: Bundle) -> Bundle:
    return Bundle.parse(bundle.serialize())


# CVE-2022-36056, GHSA-8gw7-4j42-w388: cosign verify-blob.


def test_cve_2022_36056_a_log_promise_about_another_signature() -> None:
    mine, other = FORGE.bundle(), FORGE.bundle()
    promise = json.dumps(rekor_bundle(other)).encode()
    bundle = from_parts(mine.signature, certificate_pem(mine).encode(), promise)
    with pytest.raises(InclusionInvalid, match="another signature"):
        check(bundle)


def test_cve_2022_36056_the_identity_is_checked_beside_a_log_promise_too() -> None:
    bundle = parse_cosign_bundle(old_bundle(FORGE.bundle(name=MALLORY)))
    with pytest.raises(IdentityMismatch):
        check(bundle)


def test_cve_2022_36056_a_log_promise_that_is_none() -> None:
    made = FORGE.bundle()
    pem = certificate_pem(made).encode()
    for promise in (b"{}", b"[]", b"null", b'{"Payload":{}}', b'{"rekorBundle":{}}'):
        with pytest.raises(FormatError):
            check(from_parts(made.signature, pem, promise))
    with pytest.raises(TimeUnproven):
        check(from_parts(made.signature, pem))


def test_cve_2022_36056_an_invalid_entry_is_no_success() -> None:
    with pytest.raises(InclusionInvalid):
        check(read(with_entry(FORGE.bundle(), inclusion_promise=b"0", integrated_time=1)))


# CVE-2026-22703, GHSA-whqx-f9j3-ch6m: cosign took any valid entry.


@pytest.mark.parametrize("plan", KINDS.values(), ids=KINDS)
def test_cve_2026_22703_a_valid_entry_of_another_signature(plan: dict[str, Any]) -> None:
    mine, other = FORGE.bundle(**plan), FORGE.bundle(**plan)
    assert check(read(mine))
    with pytest.raises(InclusionInvalid):
        check(read(mine._replace(tlog_entries=other.tlog_entries)))


@pytest.mark.parametrize("plan", KINDS.values(), ids=KINDS)
def test_cve_2026_22703_a_valid_entry_of_another_key(plan: dict[str, Any]) -> None:
    """The same signature bytes and artifact, logged under a certificate of somebody else's."""
    key = ec.generate_private_key(ec.SECP256R1())
    whole = Plan(**plan)
    content, signature = sign_content(key, whole)
    mine, his = FORGE.leaf(key, whole), FORGE.leaf(key, replace(whole, name=MALLORY))
    if whole.log == "v2":
        entry = FORGE.entry_v2(whole, content, signature, his, key)
    else:
        entry = FORGE.entry_v1(whole, content, signature, his.public_bytes(Encoding.PEM))
    stamps = (FORGE.timestamp(signature, NOW),)
    with pytest.raises(InclusionInvalid):
        check(read(Bundle("0.3", (to_der(mine),), None, (entry,), stamps, content)))


@pytest.mark.parametrize("log", ["v1", "v2"])
def test_cve_2026_22703_a_valid_entry_of_another_digest(log: str) -> None:
    """The log has this signature and certificate, beside the digest of something harmless."""
    key = ec.generate_private_key(ec.SECP256R1())
    plan = Plan(log=log)
    content, signature = sign_content(key, plan)
    leaf, harmless = FORGE.leaf(key, plan), replace(plan, artifact=b"harmless")
    if log == "v2":
        entry = FORGE.entry_v2(harmless, content, signature, leaf, key)
    else:
        entry = FORGE.entry_v1(harmless, content, signature, leaf.public_bytes(Encoding.PEM))
    stamps = (FORGE.timestamp(signature, NOW),)
    bundle = read(Bundle("0.3", (to_der(leaf),), None, (entry,), stamps, content))
    with pytest.raises(InclusionInvalid):
        check(bundle)
    with pytest.raises((SignatureInvalid, InclusionInvalid)):
        check(bundle, artifact=b"harmless")


# sigstore-java before 1.1, 1.2 and 2.1.


def test_sigstore_java_a_checkpoint_that_nobody_signed() -> None:
    """The proof leads to its own root; who says that this is the log's was not looked at."""
    for log in ("v1", "v2"):
        bundle = FORGE.bundle(log=log, promise=False)
        proof = bundle.tlog_entries[0].inclusion_proof
        assert proof is not None
        stranger = STRANGER.checkpoint(proof.root_hash, proof.tree_size, log)
        with pytest.raises(InclusionInvalid):
            check(read(with_proof(bundle, checkpoint=stranger)))
        text = proof.checkpoint.partition("\n\n")[0]
        with pytest.raises(CountermarkError):
            check(read(with_proof(bundle, checkpoint=f"{text}\n\n")))


def test_sigstore_java_a_promise_that_is_there_is_not_passed_over() -> None:
    """A good proof and timestamp do not excuse a promise that the log never made."""
    bundle = FORGE.bundle()
    promise = STRANGER.bundle().tlog_entries[0].inclusion_promise
    with pytest.raises(InclusionInvalid, match="promise was not signed"):
        check(read(with_entry(bundle, inclusion_promise=promise)))


def test_sigstore_java_the_entry_is_of_the_artifact_that_is_verified() -> None:
    bundle = FORGE.bundle()
    silent = bundle._replace(content=MessageSignature(bundle.signature, "", b""))
    with pytest.raises(InclusionInvalid, match="another artifact"):
        check(read(silent), artifact=b"another")


# sigstore-js before 3.1.1.


def test_sigstore_js_extensions_that_the_policy_asks_for_are_enforced() -> None:
    certified = ((fulcio(12, utf8("https://github.com/me/app")), False),)
    bundle = read(FORGE.bundle(extensions=certified))
    artifact = BytesArtifact(ARTIFACT)

    def policy(name: str, value: str) -> AllOf:
        return AllOf((ME, CertificateExtension(name, value)))

    right = policy("source-repository-uri", "https://github.com/me/app")
    assert verify(bundle, artifact, ROOT, right)
    for name, value in (
        ("source-repository-uri", "https://github.com/me/app2"),
        ("source-repository-uri", "https://github.com/me"),
        ("source-repository-ref", "refs/heads/main"),
    ):
        with pytest.raises(IdentityMismatch):
            verify(bundle, artifact, ROOT, policy(name, value))


def test_sigstore_js_an_integrated_time_that_nobody_signed_is_no_time() -> None:
    seconds = int(NOW.timestamp())
    for log in ("v1", "v2"):
        bare = FORGE.bundle(log=log, promise=False, timestamp=False)
        with pytest.raises(TimeUnproven):
            check(read(with_entry(bare, integrated_time=seconds)))
    late = FORGE.bundle(promise=False, stamped_at=NOW + timedelta(minutes=11))
    with pytest.raises(ChainInvalid):
        check(read(with_entry(late, integrated_time=seconds)))


# sigstore-js before 4.1.1.


def test_sigstore_js_duplicates_do_not_reach_a_threshold() -> None:
    bundle = FORGE.bundle()
    (entry,), (stamp,) = bundle.tlog_entries, bundle.timestamps
    for twice in (
        bundle._replace(tlog_entries=(entry, entry)),
        bundle._replace(tlog_entries=(entry, entry._replace(inclusion_promise=b""))),
        bundle._replace(timestamps=(stamp, stamp)),
    ):
        with pytest.raises(FormatError, match="twice"):
            twice.serialize()
        for thresholds in (Thresholds(logs=2), Thresholds(times=3)):
            with pytest.raises(VerificationError):  # nor if it did not come as a file
                check(twice, thresholds=thresholds)


# sigstore-js before 4.1.2, sigstore-python #1826, cosign #4649 to #4653, sigstore-go before 1.3.

CHECKPOINTS = (
    "", "\n", "\n\n", "\n\n\n", "a", "a\nb\nc", "a\n1\n", "\n1\nAAAA\n\n— a AAAA\n",
    "log.example.org - 1234\n7\n\n\n— log.example.org AAAA\n", "— \n\n— \n",
    "log.example.org - 1234\n-7\nAAAA\n\n— log.example.org AAAAAAAA\n",
    "log.example.org - 1234\n99999999999999999999999\nAAAA\n\n— log.example.org AAAAAAAA\n",
    "log.example.org - 1234\n7\nAAAA\n\n— log.example.org\n", "\x00" * 40, "— " * 5000,
    "log.example.org - 1234\n7\n" + "A" * 44 + "\n\n— log.example.org AAAA\n",
    "log.example.org - 1234\n7\n" + "A" * 43 + "=\n\n" + "— log.example.org AAAAAAAA\n" * 200,
)  # fmt: skip


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=range(len(CHECKPOINTS)))
@pytest.mark.parametrize("log", ["v1", "v2"])
def test_malformed_checkpoints_are_errors_and_no_crash(log: str, checkpoint: str) -> None:
    bundle = with_proof(FORGE.bundle(log=log, promise=False), checkpoint=checkpoint)
    with pytest.raises((FormatError, InclusionInvalid)):
        check(bundle)


def holes(tree: Any) -> list[Any]:
    """The tree with one of its values at a time gone, null, empty or of another type."""
    found: list[Any] = []
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        changes: tuple[Any, ...] = (None, {}, [], "", 0, [None], {"x": [{}]})
        for instead in changes:
            copy = dict(tree) if isinstance(tree, dict) else list(tree)
            copy[key] = instead
            found.append(copy)
        if isinstance(tree[key], dict | list):
            for hole in holes(tree[key]):
                copy = dict(tree) if isinstance(tree, dict) else list(tree)
                copy[key] = hole
                found.append(copy)
    return found


@pytest.mark.parametrize("log", ["v1", "v2"])
def test_malformed_bundles_are_errors_and_no_crash(log: str) -> None:
    whole = json.loads(FORGE.bundle(log=log).serialize())
    made = holes(whole)
    accepted = 0  # what may be missing is unsigned, or proven otherwise; see test_mutations
    for tree in made:
        with suppress(FormatError, VerificationError):
            check(Bundle.parse(json.dumps(tree).encode()))
            accepted += 1
    assert 0 < accepted < len(made) / 4


def test_bodies_that_are_none_are_errors_and_no_crash() -> None:
    """The log has them, proof, promise and all: it is the body that is no entry."""
    key = ec.generate_private_key(ec.SECP256R1())
    for plan in KINDS.values():
        whole = Plan(**plan)
        content, signature = sign_content(key, whole)
        leaf = FORGE.leaf(key, whole)
        pem = leaf.public_bytes(Encoding.PEM)
        entry = FORGE.entry_v1(whole, content, signature, pem)
        if whole.log == "v2":
            entry = FORGE.entry_v2(whole, content, signature, leaf, key)
        stamps = (FORGE.timestamp(signature, NOW),)
        for body in (b"", b"{}", b"null", b"[]", b'{"kind":[]}', b"\xff", b"[" * 9999,
                     b'{"kind":"%b","apiVersion":"%b","spec":[]}'
                     % (entry.kind.encode(), entry.version.encode()),
                     b'{"kind":"%b","apiVersion":"%b","spec":{"signature":{},"content":{}}}'
                     % (entry.kind.encode(), entry.version.encode())):  # fmt: skip
            lying = entry._replace(
                canonicalized_body=body,
                inclusion_proof=FORGE.proof(body, whole, whole.log),
                inclusion_promise=b"",
            )
            bundle = Bundle("0.3", (to_der(leaf),), None, (lying,), stamps, content)
            with pytest.raises((FormatError, InclusionInvalid)):
                check(bundle)


def test_more_than_anybody_needs_is_refused_unread() -> None:
    """sigstore-go GHSA-cq38-jh5f-37mq: work without end for a bundle that is refused at last."""
    tree = json.loads(FORGE.bundle().serialize())
    material = tree["verificationMaterial"]
    material["tlogEntries"] = material["tlogEntries"] * 33
    with pytest.raises(FormatError, match="more than 32"):
        Bundle.parse(json.dumps(tree).encode())
    tree = json.loads(FORGE.bundle().serialize())
    stamps = tree["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    tree["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"] = stamps * 33
    with pytest.raises(FormatError, match="more than 32"):
        Bundle.parse(json.dumps(tree).encode())
    subject = {"digest": {"sha256": "00" * 32}}
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "x"}
    many = json.dumps({**statement, "subject": [subject] * 1025}).encode()
    with pytest.raises(FormatError, match="1 to 1024 subjects"):
        check(FORGE.bundle(envelope=True, statement=many))


# sigstore-python.


@pytest.mark.parametrize("log", ["v1", "v2"])
def test_sigstore_python_1652_the_digest_in_the_bundle_is_the_artifacts(log: str) -> None:
    bundle = FORGE.bundle(log=log)
    content = MessageSignature(bundle.signature, "SHA2_256", bytes(32))
    with pytest.raises(SignatureInvalid, match="not the one that was signed"):
        check(read(bundle._replace(content=content)))


class Recorder:
    """A `Transport` that keeps what was to be sent."""

    def post(self, url: str, what: str, body: bytes, **more: Any) -> None:
        self.url, self.body = url, json.loads(body)
        raise UpstreamDown("it is kept here")


def test_sigstore_python_1507_names_that_are_not_ascii_can_ask_for_a_certificate() -> None:
    with LocalIssuer() as issuer:
        text = issuer.token(sub="jörg@straße", email="jörg@exämple.org", email_verified=True)
    token, key, recorder = IdentityToken.parse(text), EphemeralKey(), Recorder()
    assert token.subject == "jörg@exämple.org"
    with pytest.raises(UpstreamDown):
        obtain_credential(recorder, "https://ca", token, ROOT, key)  # type: ignore[arg-type]
    asked = recorder.body["publicKeyRequest"]
    public = PublicKey.from_pem(asked["publicKey"]["content"])
    proof = b64decode(asked["proofOfPossession"])
    public.verify(proof, "jörg@exämple.org".encode())


def test_sigstore_python_a_name_that_is_not_ascii_is_compared_as_it_is() -> None:
    kind, url = x509.UniformResourceIdentifier, "https://xn--strae-oqa.example/j%C3%B6rg"
    bundle = read(FORGE.bundle(name=kind(url)))
    assert verify(bundle, BytesArtifact(ARTIFACT), ROOT, Identity(url, ISSUER))
    for other in ("https://straße.example/jörg", url.lower(), NAME):
        with pytest.raises(IdentityMismatch):
            verify(bundle, BytesArtifact(ARTIFACT), ROOT, Identity(other, ISSUER))


def test_ghsa_hm8f_75xx_w2vr_an_answer_to_somebody_elses_login_is_not_taken() -> None:
    """sigstore-python made a state for its login and did not compare it with the answer's."""
    with _Listener("our-state") as listener:
        path = "/auth/callback"
        assert listener.redirect_uri.endswith(path)
        for query in ("code=evil", "code=evil&state=", "code=evil&state=other-state",
                      "code=evil&state=other&state=our-state", "code=evil&state=%FFour-state",
                      "error=denied&state=other-state"):  # fmt: skip
            assert listener._take(f"{path}?{query}", "our-state") == ""
            assert (listener.code, listener.error) == ("", "")
        assert listener._take(f"{path}?code=good&state=our-state", "our-state")
        assert listener.code == "good"
