# SPDX-License-Identifier: Apache-2.0
"""Bundles forged with real keys: entries, proofs, checkpoints, promises, times and thresholds."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import CertificateAuthority, TrustedRoot, Validity
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    ChainInvalid,
    CountermarkError,
    InclusionInvalid,
    SCTInvalid,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.verifier import Thresholds, verify
from tests.support.attacks import (
    FORGE,
    MALLORY,
    ROOT,
    SECOND,
    STRANGER,
    check,
    entry_of,
    refused,
    with_entry,
    with_proof,
)
from tests.support.forge import ARTIFACT, EVER, Plan, sign_content
from tests.support.made_certificates import (
    NOW,
    authority,
    b64,
    spki,
    timestamper,
    to_der,
)


@pytest.mark.parametrize("plan", [{}, {"envelope": True}, {"envelope": True, "kind": "intoto"}])
def test_an_entry_of_the_same_signature_by_another_certificate(plan: dict[str, Any]) -> None:
    """GHSA-whqx-f9j3-ch6m: the entry is of Mallory's certificate, over the same key."""
    key = ec.generate_private_key(ec.SECP256R1())
    whole = Plan(**plan)
    content, signature = sign_content(key, whole)
    mine, his = FORGE.leaf(key, whole), FORGE.leaf(key, replace(whole, name=MALLORY))
    stamps = (FORGE.timestamp(signature, NOW),)
    for leaf, error in ((mine, None), (his, InclusionInvalid)):
        entry = FORGE.entry_v1(whole, content, signature, leaf.public_bytes(Encoding.PEM))
        bundle = Bundle("0.3", (to_der(mine),), None, (entry,), stamps, content)
        if error is None:
            assert check(bundle)
        else:
            refused("another signer", bundle)
    entry = FORGE.entry_v2(whole, content, signature, his, key)
    refused("does not record", Bundle("0.3", (to_der(mine),), None, (entry,), stamps, content))


def test_an_entry_with_the_bare_key_of_the_certificate() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    content, signature = sign_content(key, Plan())
    leaf = FORGE.leaf(key, Plan())
    pem = PublicKey.from_spki(spki(key)).to_pem().encode()
    entry = FORGE.entry_v1(Plan(), content, signature, pem)
    refused("another signer", Bundle("0.3", (to_der(leaf),), None, (entry,), (), content))


@pytest.mark.parametrize("log", ["v1", "v2"])
def test_a_proof_of_another_leaf(log: str) -> None:
    bundle = FORGE.bundle(log=log)
    proof = entry_of(bundle).inclusion_proof
    assert proof is not None
    indexes = {"log_index": 4} if log == "v1" else {}
    refused("own root hash|different indexes", with_proof(bundle, **(indexes or {"log_index": 4})))
    refused("not in a tree|hashes instead", with_proof(bundle, tree_size=2**62))
    refused("hashes instead", with_proof(bundle, hashes=(*proof.hashes, bytes(32))))
    other = entry_of(FORGE.bundle(log=log)).inclusion_proof
    refused("own root hash", with_entry(bundle, inclusion_proof=other))


def test_a_tree_of_ones_own_under_somebody_elses_checkpoint() -> None:
    """The proof is right and the checkpoint is real; they are only not of the same tree."""
    for log in ("v1", "v2"):
        other = entry_of(FORGE.bundle(log=log)).inclusion_proof
        assert other is not None
        bundle = with_proof(FORGE.bundle(log=log), checkpoint=other.checkpoint)
        refused("another tree than its checkpoint", bundle)


def checkpoints() -> dict[str, Callable[[bytes, int], tuple[str, str]]]:
    """(log, checkpoint over a right root) that no trusted log signed as its own."""

    def renamed(line: str) -> Callable[[bytes, int], tuple[str, str]]:
        return lambda root, size: ("v1", FORGE.checkpoint(root, size, "v1", line))

    def resigned(root: bytes, size: int) -> tuple[str, str]:
        text, _, line = FORGE.checkpoint(root, size, "v1").partition("\n\n")
        _, _, lie = STRANGER.checkpoint(root, size, "v1").partition("\n\n")
        hint = b64(FORGE.log_id[:4])[:5]
        return "v1", f"{text}\n\n{line[:18]}{hint}{lie[23:]}"

    def other_origin(root: bytes, size: int) -> tuple[str, str]:
        text = f"evil.example.org - 1234\n{size}\n{b64(root)}\n"
        signature = FORGE.log_key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        return "v1", f"{text}\n— log.example.org {b64(FORGE.log_id[:4] + signature)}\n"

    return {
        "renamed signature line": renamed("evil.example.org"),
        "case of the name": renamed("LOG.example.org"),
        "a stranger's signature": lambda root, size: ("v1", STRANGER.checkpoint(root, size, "v1")),
        "a stranger's under our key hash": resigned,
        "another origin": other_origin,
        "of the other trusted log": lambda root, size: ("v1", FORGE.checkpoint(root, size, "v2")),
        "of the v1 log for v2": lambda root, size: ("v2", FORGE.checkpoint(root, size, "v1")),
    }


@pytest.mark.parametrize("forge", checkpoints().values(), ids=checkpoints())
def test_checkpoints_that_are_not_the_logs(
    forge: Callable[[bytes, int], tuple[str, str]],
) -> None:
    log, _ = forge(bytes(32), 7)
    bundle = FORGE.bundle(log=log)
    proof = entry_of(bundle).inclusion_proof
    assert proof is not None
    _, checkpoint = forge(proof.root_hash, proof.tree_size)
    refused("checkpoint", with_proof(bundle, checkpoint=checkpoint))


def test_a_promise_covers_everything_it_is_about() -> None:
    bundle = FORGE.bundle()
    entry = entry_of(bundle)
    other = entry_of(FORGE.bundle())
    for changes in (
        {"log_index": entry.log_index + 1},
        {"integrated_time": entry.integrated_time + 60},
        {"inclusion_promise": other.inclusion_promise},
        {"inclusion_promise": b"\x30\x06\x02\x01\x00\x02\x01\x00"},
    ):
        refused("promise was not signed", with_entry(bundle, **changes))


def test_a_time_without_promise_is_no_time() -> None:
    bare = FORGE.bundle(promise=False, timestamp=False)
    refused("0 trusted parties", bare, TimeUnproven)
    # Nor does it replace a proven one: the certificate had expired when this was stamped.
    late = FORGE.bundle(promise=False, stamped_at=NOW + timedelta(minutes=11))
    refused("not valid at", with_entry(late, integrated_time=int(NOW.timestamp())), ChainInvalid)


def test_the_index_that_is_told_is_a_proven_one() -> None:
    """Without promise, nobody signed the entry's own index: it may say anything."""
    bundle = with_entry(FORGE.bundle(promise=False), log_index=999_999_999)
    evidence = check(Bundle.parse(bundle.serialize()))
    assert evidence.records[0].log_index == 5
    assert "999999999" not in json.dumps(evidence.to_json())
    assert check(FORGE.bundle()).records[0].log_index == 1005


def test_a_v2_entry_cannot_have_a_promise() -> None:
    promise = entry_of(FORGE.bundle()).inclusion_promise
    bundle = with_entry(FORGE.bundle(log="v2"), inclusion_promise=promise, integrated_time=7)
    refused("cannot have a promise", bundle)


def test_kinds_are_what_the_body_says() -> None:
    for kind, version in (("dsse", "0.0.1"), ("hashedrekord", "0.0.2"), ("rekord", "0.0.1")):
        refused(
            "does not fit|another kind|different indexes",
            with_entry(FORGE.bundle(promise=False), kind=kind, version=version),
        )
    refused(
        "another kind",
        with_entry(FORGE.bundle(promise=False, envelope=True), kind="intoto", version="0.0.2"),
    )


def test_one_operator_counts_once() -> None:
    """Two entries, two timestamps, two SCTs, but one party each."""
    key = ec.generate_private_key(ec.SECP256R1())
    plan = Plan(scts=2)
    leaf = FORGE.leaf(key, plan)
    content, signature = sign_content(key, plan)
    pem = leaf.public_bytes(Encoding.PEM)
    entries = (
        FORGE.entry_v1(plan, content, signature, pem),
        FORGE.entry_v1(replace(plan, leaf_index=2), content, signature, pem),
    )
    stamps = (FORGE.timestamp(signature, NOW), FORGE.timestamp(signature, NOW + SECOND))
    bundle = Bundle("0.3", (to_der(leaf),), None, entries, stamps, content)
    assert len(check(bundle).records) == 2
    refused("1 trusted logs", bundle, thresholds=Thresholds(logs=2))
    refused("1 trusted certificate logs", bundle, SCTInvalid, thresholds=Thresholds(scts=2))
    refused("2 trusted parties", bundle, TimeUnproven, thresholds=Thresholds(times=3))
    # Two logs, one of them with two entries: still two; and one if one operator runs both.
    both = bundle._replace(
        tlog_entries=(*entries, FORGE.entry_v2(plan, content, signature, leaf, key))
    )
    assert check(both, thresholds=Thresholds(logs=2))
    one = ROOT._replace(tlogs=tuple(log._replace(operator="o") for log in ROOT.tlogs))
    refused("1 trusted logs", both, root=one, thresholds=Thresholds(logs=2))


def test_no_threshold_is_below_one() -> None:
    nothing = Thresholds(times=0, logs=0, scts=0)
    refused("0 trusted logs", FORGE.bundle()._replace(tlog_entries=()), thresholds=nothing)
    refused("0 trusted parties", FORGE.bundle(promise=False, timestamp=False), TimeUnproven,
            thresholds=nothing)  # fmt: skip
    refused("no SCT", FORGE.bundle(scts=0), SCTInvalid, thresholds=nothing)


def stamped(bundle: Bundle, *stamps: bytes) -> Bundle:
    return bundle._replace(timestamps=stamps)


def test_timestamps_of_something_else_or_of_nobody() -> None:
    bundle = FORGE.bundle(promise=False)
    other = FORGE.timestamp(b"another signature", NOW)
    refused("over something else", stamped(bundle, other), TimeUnproven)
    refused("over something else", stamped(bundle, *bundle.timestamps, other), TimeUnproven)
    artifact = FORGE.timestamp(ARTIFACT, NOW)
    refused("over something else", stamped(bundle, artifact), TimeUnproven)
    stranger = STRANGER.timestamp(bundle.signature, NOW)
    for stamps in ((stranger,), (*bundle.timestamps, stranger)):
        refused(
            "does not list|does not verify|another certificate",
            stamped(bundle, *stamps),
            CountermarkError,
        )


def tsa(root: TrustedRoot, *chain: x509.Certificate, validity: Validity = EVER) -> TrustedRoot:
    item = CertificateAuthority(
        "o", "tsa", "https://tsa.example.org", tuple(map(to_der, chain)), validity
    )
    return root._replace(timestamp_authorities=(item,))


def test_timestamp_authorities_windows_and_chains() -> None:
    bundle = FORGE.bundle(promise=False)
    assert check(bundle, tsa(ROOT, FORGE.tsa, FORGE.tsa_root, validity=Validity(NOW, NOW)))
    for validity in (Validity(NOW + SECOND), Validity(NOW - 2 * SECOND, NOW - SECOND)):
        refused("another time", bundle, TimeUnproven,
                root=tsa(ROOT, FORGE.tsa, FORGE.tsa_root, validity=validity))  # fmt: skip
    past = (NOW - timedelta(days=9), NOW - SECOND)
    serial = FORGE.tsa.serial_number
    old_root = authority("tsa root", FORGE.tsa_root_key, "tsa root", FORGE.tsa_root_key, valid=past)
    refused("was not valid", bundle, TimeUnproven, root=tsa(ROOT, FORGE.tsa, old_root))
    # The same key and number under another certificate: the token names what signed it.
    twin = timestamper("tsa", FORGE.tsa_key, "tsa root", FORGE.tsa_root_key, serial=serial)
    refused(
        "names another certificate", bundle, SignatureInvalid, root=tsa(ROOT, twin, FORGE.tsa_root)
    )


def test_a_signers_certificate_makes_no_timestamps() -> None:
    """Mallory's code-signing certificate, even if the root listed its authority as a TSA."""
    refused("does not list", FORGE.bundle(promise=False), TimeUnproven,
            root=tsa(ROOT, FORGE.ca, FORGE.ca_root))  # fmt: skip


def test_a_retired_log_says_nothing_about_a_managed_key_without_time() -> None:
    """Whoever has the retired log's key could log anything; a proven time shows that it is old."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = PublicKey.from_spki(spki(key))
    plan = Plan(certificate=False, promise=False)
    content, signature = sign_content(key, plan)
    pem = public.to_pem().encode()
    bundle = Bundle("0.3", (), "k", (FORGE.entry_v1(plan, content, signature, pem),), (), content)
    ended = Validity(EVER.start, NOW)
    retired = ROOT._replace(tlogs=tuple(log._replace(validity=ended) for log in ROOT.tlogs))
    assert verify(bundle, BytesArtifact(ARTIFACT), ROOT, public)
    with pytest.raises(TimeUnproven, match="retired"):
        verify(bundle, BytesArtifact(ARTIFACT), retired, public)
    proven = bundle._replace(timestamps=(FORGE.timestamp(signature, NOW),))
    assert verify(proven, BytesArtifact(ARTIFACT), retired, public)
