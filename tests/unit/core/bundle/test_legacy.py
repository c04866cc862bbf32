# SPDX-License-Identifier: Apache-2.0
"""What cosign wrote before bundles, read and judged by the same verifier."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.bundle.legacy import from_parts, is_cosign_bundle, parse_cosign_bundle
from countermark.core.crypto.keys import encode_pem
from countermark.core.ct.sct import SignedCertificateTimestamp, sct_message_x509
from countermark.core.errors import (
    ChainInvalid,
    FormatError,
    IdentityMismatch,
    InclusionInvalid,
    SCTInvalid,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.intoto.envelope import Envelope
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Identity
from countermark.core.verify.verifier import Thresholds, verify
from tests.support.attacks import FORGE, ME, ROOT, STRANGER
from tests.support.every_key import bundle_of, kind_of
from tests.support.forge import ARTIFACT, ISSUER, Forge, go_envelope
from tests.support.made_certificates import NOW, b64, canonical, to_der
from tests.support.old_cosign import certificate_pem, old_bundle, rekor_bundle, signature_of

PLANS: dict[str, dict[str, Any]] = {
    "blob": {},
    "attestation in dsse": {"envelope": True},
    "attestation in intoto": {"envelope": True, "kind": "intoto 0.0.1"},
}


def check(bundle: Bundle, artifact: bytes = ARTIFACT) -> Evidence:
    return verify(bundle, BytesArtifact(artifact), ROOT, ME)


def promise(bundle: Bundle) -> bytes:
    return json.dumps(rekor_bundle(bundle)).encode()


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_first_bundle_format(plan: dict[str, Any]) -> None:
    made = FORGE.bundle(**plan)
    data = old_bundle(made)
    assert is_cosign_bundle(data)
    assert not is_cosign_bundle(made.serialize())
    bundle = parse_cosign_bundle(data)
    evidence = check(bundle)
    assert (bundle.version, evidence.records[0].tree_size) == ("legacy", 0)
    assert evidence.records[0].log_index == made.tlog_entries[0].log_index
    assert [time.source for time in evidence.times] == ["log"]
    with pytest.raises(SignatureInvalid if "envelope" in plan else InclusionInvalid):
        check(bundle, b"tampered")


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_detached_files_in_every_spelling(plan: dict[str, Any]) -> None:
    made = FORGE.bundle(**plan)
    signature, pem = signature_of(made), certificate_pem(made).encode()
    for spelt in (signature, b64(signature).encode(), b64(signature).encode() + b"\n"):
        for certificate in (pem, b64(pem).encode() + b"\n", made.certificates[0]):
            bundle = from_parts(spelt, certificate, promise(made))
            assert bundle.signature == made.signature
            assert check(bundle).signer
    whole = json.dumps({"rekorBundle": rekor_bundle(made)}).encode()
    assert check(from_parts(signature, pem, whole))


def test_a_promise_alone_is_enough_and_nothing_less_is() -> None:
    made = FORGE.bundle()
    signature, pem = made.signature, certificate_pem(made).encode()
    with pytest.raises(TimeUnproven):
        check(from_parts(signature, pem))
    stamp = made.timestamps[0]
    for form in (stamp, json.dumps({"SignedRFC3161Timestamp": b64(stamp)}).encode()):
        with pytest.raises(InclusionInvalid, match="0 trusted logs"):
            check(from_parts(signature, pem, timestamp=form))
        bundle = from_parts(signature, pem, timestamp=form)
        unlogged = Thresholds(unlogged=True)
        assert verify(bundle, BytesArtifact(ARTIFACT), ROOT, ME, thresholds=unlogged).records == ()
        assert len(check(from_parts(signature, pem, promise(made), form)).times) == 2


@pytest.mark.parametrize("field", ["body", "integratedTime", "logIndex", "logID"])
def test_a_promise_covers_everything_it_is_about(field: str) -> None:
    made, other = FORGE.bundle(), FORGE.bundle()
    tree = rekor_bundle(made)
    changed = rekor_bundle(other)["Payload"][field] if field == "body" else tree["Payload"][field]
    if field == "logID":
        changed = STRANGER.log_id.hex()
    elif field != "body":
        changed += 1
    tree["Payload"][field] = changed
    bundle = from_parts(made.signature, certificate_pem(made).encode(), json.dumps(tree).encode())
    with pytest.raises(InclusionInvalid, match=r"promise was not signed|no trusted log"):
        check(bundle)


def test_an_entry_of_somebody_elses_signature() -> None:
    """CVE-2022-36056: cosign once looked at the promise and not at what was promised."""
    mine, other = FORGE.bundle(), FORGE.bundle()
    bundle = from_parts(mine.signature, certificate_pem(mine).encode(), promise(other))
    with pytest.raises(InclusionInvalid, match="another signature"):
        check(bundle)


def test_a_certificate_that_is_not_the_entrys() -> None:
    mine, other = FORGE.bundle(), FORGE.bundle()
    bundle = from_parts(mine.signature, certificate_pem(other).encode(), promise(mine))
    with pytest.raises(InclusionInvalid, match="another signer"):
        check(bundle)


def test_chains_without_root() -> None:
    made = FORGE.bundle()
    pem = certificate_pem(made)
    issuer, root = (item.public_bytes(Encoding.PEM).decode() for item in (FORGE.ca, FORGE.ca_root))
    chain = from_parts(made.signature, f"{pem}{issuer}".encode(), promise(made))
    assert len(chain.certificates) == 2
    assert check(chain)
    with pytest.raises(ChainInvalid, match="root certificate"):
        check(from_parts(made.signature, f"{pem}{issuer}{root}".encode(), promise(made)))


def test_managed_keys() -> None:
    kind = kind_of("PKIX_ECDSA_P256_SHA_256")
    logged = bundle_of(FORGE, kind, log="v1")
    entry = logged.tlog_entries[0]
    time = int(NOW.timestamp())
    text = {
        "body": b64(entry.canonicalized_body),
        "integratedTime": time,
        "logID": entry.log_id.hex(),
        "logIndex": entry.log_index,
    }
    signed = FORGE.log_key.sign(canonical(text), ec.ECDSA(hashes.SHA256()))
    entry = entry._replace(inclusion_promise=signed, integrated_time=time)
    logged = logged._replace(tlog_entries=(entry,))
    artifact = BytesArtifact(ARTIFACT)
    for bundle in (
        parse_cosign_bundle(old_bundle(logged, kind.key.to_pem())),
        from_parts(logged.signature, kind.key.to_pem().encode(), promise(logged)),
        from_parts(logged.signature, rekor_bundle=promise(logged)),
    ):
        assert verify(bundle, artifact, ROOT, kind.key).times
        with pytest.raises(IdentityMismatch, match="managed key"):
            verify(bundle, artifact, ROOT, ME)
        with pytest.raises(InclusionInvalid, match="another signer"):
            verify(bundle, artifact, ROOT, kind_of("PKIX_ED25519_PH").key)


def test_envelopes_that_name_their_key() -> None:
    kind = kind_of("PKIX_ECDSA_P256_SHA_256")
    logged = bundle_of(FORGE, kind, log="v1", envelope=True)
    assert isinstance(logged.content, Envelope)
    (signature,) = logged.content.signatures
    named = logged.content._replace(signatures=(signature._replace(keyid="the key"),))
    tree = json.loads(go_envelope(named, signature.sig))
    tree["signatures"][0]["keyid"] = "the key"
    bundle = from_parts(json.dumps(tree).encode())
    assert (bundle.content, bundle.public_key_hint) == (named, "the key")
    artifact, thresholds = BytesArtifact(ARTIFACT), Thresholds(unlogged=True)
    assert verify(bundle, artifact, ROOT, kind.key, thresholds=thresholds).statement


def test_the_identity_is_still_checked() -> None:
    bundle = parse_cosign_bundle(old_bundle(FORGE.bundle()))
    somebody = Identity("you@example.org", ISSUER)
    with pytest.raises(IdentityMismatch):
        verify(bundle, BytesArtifact(ARTIFACT), ROOT, somebody)


def test_a_legacy_bundle_is_never_written_as_a_new_one() -> None:
    with pytest.raises(FormatError, match="inclusionProof"):
        parse_cosign_bundle(old_bundle(FORGE.bundle())).serialize()


GOOD = json.loads(old_bundle(FORGE.bundle()))


def with_promised(**changes: str) -> dict[str, Any]:
    promised = GOOD["rekorBundle"]
    return {**GOOD, "rekorBundle": {**promised, "Payload": {**promised["Payload"], **changes}}}


MALFORMED: dict[str, tuple[Any, str]] = {
    "no signature": ({**GOOD, "base64Signature": ""}, "base64Signature: is missing"),
    "a signature that is not base64": ({**GOOD, "base64Signature": "%"}, "is not base64"),
    "a private key": (
        {**GOOD, "cert": b64(encode_pem("EC PRIVATE KEY", bytes(3)).encode())},
        "is EC PRIVATE KEY instead",
    ),
    "two keys": (
        {**GOOD, "cert": b64(kind_of("PKIX_ED25519").key.to_pem().encode() * 2)}, "instead",
    ),
    "no payload": ({**GOOD, "rekorBundle": {"SignedEntryTimestamp": "AAAA"}}, "Payload"),
    "no promise": (
        {**GOOD, "rekorBundle": {"Payload": GOOD["rekorBundle"]["Payload"]}},
        "SignedEntryTimestamp",
    ),
    "a short log id": (with_promised(logID="ab"), "logID"),
    "a body that is no object": (with_promised(body=b64(b"[]")), "log entry"),
    "a list": ([], "not a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "why"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed(tree: Any, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        parse_cosign_bundle(json.dumps(tree).encode())


def test_a_signature_that_begins_like_an_envelope_is_none() -> None:
    """Ed25519 signatures are any bytes: one in 256 begins with a brace."""
    for signature in (b"{" + bytes(range(128, 191)), b'{"sig": 1}' + b"\xff" * 54):
        assert from_parts(signature).content == MessageSignature(signature, "", b"")
    assert not is_cosign_bundle(b'{"base64Signature": "", "verificationMaterial": {}}')
    assert not is_cosign_bundle(b"{}")


def test_parts_that_are_empty_or_something_else() -> None:
    made = FORGE.bundle()
    for parts in (
        (b"",),
        (made.signature, b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"
                         b"-----END CERTIFICATE REQUEST-----\n"),
        (made.signature, to_der(FORGE.ca), b"[]"),
        (made.signature, to_der(FORGE.ca), b"", b"{}"),
    ):  # fmt: skip
        with pytest.raises(FormatError):
            from_parts(*parts)


def detached_sct(leaf: bytes, signer: Forge) -> bytes:
    """An SCT over a whole certificate (RFC 6962 section 3.2)."""
    time = int(NOW.timestamp() * 1000)
    message = sct_message_x509(time, leaf)
    signature = signer.ct_key.sign(message, ec.ECDSA(hashes.SHA256()))
    return SignedCertificateTimestamp(FORGE.ct_id, time, b"", 4, 3, signature).serialize()


def test_a_certificate_logged_after_it_was_issued() -> None:
    """Fulcio's API v1 gave the SCT apart from the certificate; cosign has `--sct` for it."""
    made, other = FORGE.bundle(scts=0), FORGE.bundle(scts=0)
    pem, leaf = certificate_pem(made).encode(), made.certificates[0]
    parts = (made.signature, pem, promise(made), b"")
    with pytest.raises(SCTInvalid, match="carries no SCT"):
        check(from_parts(*parts))
    bundle = from_parts(*parts, detached_sct(leaf, FORGE))
    assert [item.name for item in check(bundle).checks][1:3] == ["certificate", "sct"]
    with pytest.raises(FormatError, match="detached SCTs"):
        bundle.serialize()
    for lie in (detached_sct(other.certificates[0], FORGE), detached_sct(leaf, STRANGER)):
        with pytest.raises(SCTInvalid, match="does not verify"):
            check(from_parts(*parts, lie))
    with pytest.raises(FormatError, match="cut short"):
        from_parts(*parts, b"\0")
    with pytest.raises(FormatError, match="there is none"):
        from_parts(made.signature, sct=detached_sct(leaf, FORGE))


def test_an_embedded_sct_is_not_excused_by_a_detached_one() -> None:
    lying = Forge()
    lying.ca_key, lying.ct_id = FORGE.ca_key, FORGE.ct_id  # its SCTs do not verify
    lying.log_key, lying.log_id = FORGE.log_key, FORGE.log_id
    made = lying.bundle(timestamp=False)
    parts = (made.signature, certificate_pem(made).encode(), promise(made), b"")
    for sct in (b"", detached_sct(made.certificates[0], FORGE)):
        with pytest.raises(SCTInvalid, match="does not verify"):
            check(from_parts(*parts, sct))
