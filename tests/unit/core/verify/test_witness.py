# SPDX-License-Identifier: Apache-2.0
"""Witness policies: how they are read, and which checkpoints satisfy them."""

import hashlib
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import FormatError, InclusionInvalid
from countermark.core.tlog.note import SignedNote
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.verifier import Thresholds, verify
from countermark.core.verify.witness import Group, WitnessPolicy
from tests.support.attacks import FORGE, ME, ROOT
from tests.support.forge import ARTIFACT, ORIGIN_V2
from tests.support.made_certificates import NOW, b64
from tests.support.vectors import vectors
from tests.support.witnesses import MadeWitness, checkpoint_of, cosigned, with_checkpoint

ONE, TWO, THREE = MadeWitness("one.example"), MadeWitness("two.example"), MadeWitness("3.example")
STRANGER = MadeWitness("stranger.example")
WITNESSES = f"witness A {ONE.vkey()}\nwitness B {TWO.vkey()}\nwitness C {THREE.vkey()}\n"
TWO_OF_THREE = f"{WITNESSES}group G 2 A B C\nquorum G\n"
RAW_LOG_KEY = FORGE.log_v2_key.public_key().public_bytes_raw()
LOG_VKEY = f"{ORIGIN_V2}+{FORGE.log_v2_id[:4].hex()}+{b64(bytes((1,)) + RAW_LOG_KEY)}"


def policy(text: str) -> WitnessPolicy:
    return WitnessPolicy.parse(text.encode())


def check(bundle: Bundle, text: str, thresholds: Thresholds | None = None) -> Evidence:
    bundle = Bundle.parse(bundle.serialize())
    artifact = BytesArtifact(ARTIFACT)
    thresholds = thresholds or Thresholds()
    return verify(bundle, artifact, ROOT, ME, witnesses=policy(text), thresholds=thresholds)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("log", ["v1", "v2"])
def test_a_quorum_is_enough(log: str, first: bool) -> None:
    bundle = cosigned(FORGE.bundle(log=log), ONE, STRANGER, THREE, first=first)
    evidence = check(bundle, TWO_OF_THREE)
    (found,) = [item for item in evidence.checks if item.name == "witness"]
    assert found.step == 4
    assert "A at 2026-03-04 05:06:07 UTC, C at" in found.found
    assert "STRANGER" not in found.found
    assert found.expected == "quorum G of 3 witnesses"


def test_fewer_are_refused_with_who_did_and_who_should() -> None:
    bundle = cosigned(FORGE.bundle(log="v2"), TWO)
    assert check(bundle, TWO_OF_THREE.replace("group G 2", "group G any"))
    with pytest.raises(InclusionInvalid, match="0 logs show checkpoints") as raised:
        check(bundle, TWO_OF_THREE)
    assert raised.value.found.endswith(": B")
    assert raised.value.expected == "quorum G of A, B, C"
    with pytest.raises(InclusionInvalid, match="0 logs show"):
        check(FORGE.bundle(log="v2"), TWO_OF_THREE)
    with pytest.raises(InclusionInvalid, match="0 logs show"):
        check(cosigned(FORGE.bundle(), ONE, TWO), TWO_OF_THREE.replace("group G 2", "group G all"))


def test_a_witness_counts_once() -> None:
    bundle = cosigned(FORGE.bundle(log="v2"), ONE, ONE)
    with pytest.raises(InclusionInvalid, match="0 logs show"):
        check(bundle, TWO_OF_THREE)


def test_groups_of_groups() -> None:
    text = f"{WITNESSES}group AB any A B\ngroup G all AB C\nquorum G\n"
    assert policy(text).groups == {"AB": Group(1, ("A", "B")), "G": Group(2, ("AB", "C"))}
    assert check(cosigned(FORGE.bundle(log="v2"), TWO, THREE), text)
    with pytest.raises(InclusionInvalid):
        check(cosigned(FORGE.bundle(log="v2"), ONE, TWO), text)


def test_a_lone_witness_and_none_at_all() -> None:
    bundle = cosigned(FORGE.bundle(log="v2"), ONE)
    assert check(bundle, f"{WITNESSES}quorum A\n")
    with pytest.raises(InclusionInvalid):
        check(bundle, f"{WITNESSES}quorum B\n")
    assert check(FORGE.bundle(log="v2"), "quorum none\n")


def test_keys_in_the_form_of_the_first_witnesses() -> None:
    text = f"witness A {ONE.vkey(kind=1)}\nquorum A\n"
    assert check(cosigned(FORGE.bundle(log="v2"), ONE), text)


def test_a_forged_line_of_a_witness_is_no_mere_stranger() -> None:
    """Whoever writes lines in a witness's name is not believed about the others either."""
    bundle = FORGE.bundle(log="v2")
    checkpoint = checkpoint_of(bundle)
    other = ONE.line(checkpoint, text=f"{ORIGIN_V2}\n7\n{b64(bytes(32))}\n")
    later = ONE.line(checkpoint, at=NOW + timedelta(hours=1))
    cut = f"— {ONE.name} {b64(ONE.key_hash() + bytes(71))}\n"
    beyond = f"— {ONE.name} {b64(ONE.key_hash() + bytes((255,)) * 72)}\n"
    good = checkpoint + TWO.line(checkpoint) + THREE.line(checkpoint)
    assert check(with_checkpoint(bundle, good + later), TWO_OF_THREE)
    for line, why in ((other, "does not verify"), (cut, "malformed"), (beyond, "malformed")):
        with pytest.raises(InclusionInvalid, match=why):
            check(with_checkpoint(bundle, good + line), TWO_OF_THREE)


def test_a_cosignature_is_not_moved_to_another_checkpoint() -> None:
    mine, other = FORGE.bundle(log="v2"), FORGE.bundle(log="v2")
    line = ONE.line(checkpoint_of(other))
    moved = with_checkpoint(mine, checkpoint_of(mine) + line)
    with pytest.raises(InclusionInvalid, match="does not verify"):
        check(moved, f"{WITNESSES}quorum A\n")


def test_witnesses_do_not_stand_in_for_the_log() -> None:
    bundle = FORGE.bundle(log="v2")
    checkpoint = checkpoint_of(bundle)
    text = checkpoint.partition("\n\n")[0]
    lines = ONE.line(checkpoint) + TWO.line(checkpoint)
    with pytest.raises(InclusionInvalid, match="no signature by"):
        check(with_checkpoint(bundle, f"{text}\n\n{lines}"), TWO_OF_THREE)


def test_a_promise_without_proof_is_nothing_that_anybody_cosigned() -> None:
    bundle = FORGE.bundle()._replace(version="0.1")
    entry = bundle.tlog_entries[0]._replace(inclusion_proof=None)
    bundle = bundle._replace(tlog_entries=(entry,))
    with pytest.raises(InclusionInvalid, match="0 logs show") as raised:
        verify(bundle, BytesArtifact(ARTIFACT), ROOT, ME, witnesses=policy(TWO_OF_THREE))
    assert raised.value.found.endswith("nobody")


def test_entries_of_other_logs_than_the_policys_do_not_count() -> None:
    named = f"log {LOG_VKEY} https://v2.example.org\n{TWO_OF_THREE}"
    assert check(cosigned(FORGE.bundle(log="v2"), ONE, TWO), named)
    with pytest.raises(InclusionInvalid, match="0 logs show"):
        check(cosigned(FORGE.bundle(log="v1"), ONE, TWO), named)


def test_as_many_logs_as_are_asked_for_must_be_cosigned() -> None:
    bundle = cosigned(FORGE.bundle(log="v2"), ONE, TWO)
    with pytest.raises(InclusionInvalid, match="1 trusted logs record"):
        check(bundle, TWO_OF_THREE, Thresholds(logs=2))


def test_the_cosignatures_of_the_staging_log() -> None:
    """A real one by a real witness; the bundle is forged, its checkpoint is not."""
    case = vectors("bundle-verify", "rekor2-dsse-mismatch-sig_fail", "bundle.sigstore.json")
    note = SignedNote.parse(checkpoint_of(Bundle.parse(case.read_bytes())).encode())
    stagemole = "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv"
    trusted = policy(f"witness mole {stagemole}\nquorum mole\n")
    (found,) = trusted.cosignatures(note)
    assert (found.witness, found.time) == ("mole", datetime(2026, 5, 13, 19, 23, 34, tzinfo=UTC))
    with pytest.raises(InclusionInvalid, match="does not verify"):
        trusted.cosignatures(note._replace(text=note.text + b"more\n"))


def vkey(name: str, kind: int, raw: bytes) -> str:
    typed = bytes((kind,)) + raw
    digest = hashlib.sha256(f"{name}\n".encode() + typed).hexdigest()
    return f"{name}+{digest[:8]}+{b64(typed)}"


SMALL = vkey("small.example", 4, bytes((1,)) + bytes(31))
MALFORMED = {
    "nothing": ("", "names no quorum"),
    "two quorums": ("quorum none\nquorum none\n", "line 2: quorum: is said twice"),
    "quorum of nobody": ("quorum A\n", "not defined above"),
    "defined too late": (f"quorum A\nwitness A {ONE.vkey()}\n", "line 1: quorum"),
    "group of nobody": ("group G 1 A\nquorum G\n", "not defined above"),
    "group of itself": (f"{WITNESSES}group G 1 G\nquorum G\n", "not defined above"),
    "group without members": (f"{WITNESSES}group G 1\nquorum G\n", "other fields"),
    "more than there are": (f"{WITNESSES}group G 3 A B\nquorum G\n", "cannot ask for 3 of 2"),
    "none of them": (f"{WITNESSES}group G 0 A B\nquorum G\n", "not any, all or a number"),
    "a sign": (f"{WITNESSES}group G +1 A B\nquorum G\n", "not any, all or a number"),
    "a member of two": (f"{WITNESSES}group G 1 A B\ngroup H 1 A\nquorum H\n", "in a group already"),
    "a member twice": (f"{WITNESSES}group G 2 A A\nquorum G\n", "in a group already"),
    "a name twice": (f"{WITNESSES}witness A {STRANGER.vkey()}\nquorum A\n", "is taken"),
    "a witness called none": (f"witness none {ONE.vkey()}\nquorum none\n", "is taken"),
    "one key under two names": (f"{WITNESSES}witness D {ONE.vkey()}\n", "key of another"),
    "a key of another hash": (
        f"witness A {ONE.vkey().replace(ONE.key_hash().hex(), '00000000')}\nquorum A\n",
        "hash that is not the key's",
    ),
    "a key of another name": (
        f"witness A {ONE.vkey().replace('one', 'two')}\nquorum A\n", "hash that is not",
    ),
    "a key of another kind": (
        f"witness A x+00000000+{b64(bytes((2,)) + bytes(32))}\nquorum A\n", "neither an Ed25519",
    ),
    "no key": ("witness A x\nquorum A\n", "witness key"),
    "an ECDSA log": (
        f"log x+00000000+{b64(bytes((2,)) + bytes(91))}\nquorum none\n", "verifier key",
    ),
    "an unknown word": ("trust me\nquorum none\n", "no line of a policy"),
    "a remark behind": (f"{WITNESSES}quorum A # please\n", "no line of a policy"),
    "one log twice": (
        f"log {LOG_VKEY}\nlog {LOG_VKEY}\nquorum none\n", "log: has the key of another",
    ),
    "a carriage return": ("quorum none\r\n", "control characters"),
    "an Ed25519 key of small order": (f"witness A {SMALL}\nquorum A\n", "small order"),
    "too many lines": ("\n" * 2000 + "quorum none\n", "more than 1024 lines"),
    "not text": ("", "UTF-8"),
    "an ML-DSA key cut short": (
        f"witness A x+00000000+{b64(bytes((6,)) + bytes(1311))}\nquorum A\n", "neither an Ed25519",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "why"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_policy_is_refused_whole(text: str, why: str) -> None:
    data = b"\xff" if why == "UTF-8" else text.encode()
    with pytest.raises(FormatError, match=why.replace("+", r"\+")):
        WitnessPolicy.parse(data)


def test_remarks_blank_lines_tabs_and_urls_are_passed_over() -> None:
    text = f"# hello\n\n\twitness\tA  {ONE.vkey()}  https://one.example/\n \n  # é\nquorum A"
    assert list(policy(text).witnesses) == ["A"]
    with pytest.raises(FormatError, match="is larger than"):
        WitnessPolicy.parse(b"#" * 70_000)


def ml_dsa_line(private: Any, name: str, checkpoint: str, time: int, signed_by: str = "") -> str:
    """A cosignature of C2SP tlog-cosignature for ML-DSA-44, as its structures say."""
    origin, size, root = checkpoint.split("\n")[:3]
    cosigner, log = (signed_by or name).encode(), origin.encode()
    message = b"subtree/v1\n\0" + bytes((len(cosigner),)) + cosigner + time.to_bytes(8)
    message += bytes((len(log),)) + log + bytes(8) + int(size).to_bytes(8) + b64decode(root)
    raw = private.public_key().public_bytes_raw()
    hint = hashlib.sha256(f"{name}\n\x06".encode() + raw).digest()[:4]
    return f"— {name} {b64(hint + time.to_bytes(8) + private.sign(message))}\n"


def test_witnesses_with_ml_dsa() -> None:
    mldsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    try:
        private = mldsa.MLDSA44PrivateKey.generate()
    except UnsupportedAlgorithm:
        pytest.skip("this build of cryptography has no ML-DSA")
    name, raw = "pq.example", private.public_key().public_bytes_raw()
    text = f"{WITNESSES}witness P {vkey(name, 6, raw)}\ngroup G 2 A P\nquorum G\n"
    bundle = cosigned(FORGE.bundle(log="v2"), ONE)
    checkpoint = checkpoint_of(bundle)
    seconds = int(NOW.timestamp())
    for time, told in ((seconds, "P at 2026-03-04 05:06:07 UTC"), (0, ", P")):
        line = ml_dsa_line(private, name, checkpoint, time)
        evidence = check(with_checkpoint(bundle, checkpoint + line), text)
        (found,) = [item for item in evidence.checks if item.name == "witness"]
        assert found.found.endswith(told)
    other = checkpoint_of(FORGE.bundle(log="v2"))
    for lie in (
        ml_dsa_line(private, name, checkpoint, seconds, signed_by="other.example"),
        ml_dsa_line(private, name, other, seconds),
        ml_dsa_line(private, name, checkpoint.replace("\n7\n", "\n8\n"), seconds),
        ml_dsa_line(private, name, f"x{checkpoint}", seconds),
    ):
        with pytest.raises(InclusionInvalid, match="does not verify"):
            check(with_checkpoint(bundle, checkpoint + lie), text)
    for length, good in ((255, True), (256, False)):
        long = "x" * length
        line = ml_dsa_line(private, long, checkpoint, 0, signed_by=long[:255])
        only = f"witness L {vkey(long, 6, raw)}\nquorum L\n"
        if good:
            assert check(with_checkpoint(bundle, checkpoint + line), only)
        else:
            with pytest.raises(InclusionInvalid, match="more than 255 bytes"):
                check(with_checkpoint(bundle, checkpoint + line), only)
    hint = b64decode(ml_dsa_line(private, name, checkpoint, 0).split(" ")[2])[:4]
    ed25519 = f"— {name} {b64(hint + bytes(72))}\n"
    with pytest.raises(InclusionInvalid, match="malformed"):
        check(with_checkpoint(bundle, checkpoint + ed25519), text)


def test_policies_end_somewhere() -> None:
    """C2SP asks for 32 of each; 256 are taken, and no more."""
    made = [vkey(f"w{number}.example", 4, number.to_bytes(31) + b"\x05") for number in range(400)]
    good = [text for text in made if _is_point(text)][:129]
    witnesses = [f"witness w{number} {text}\n" for number, text in enumerate(good)]
    groups = [f"group g{number} 1 w{number}\n" for number in range(128)]
    text = "".join((*witnesses[:128], *groups))
    assert len(policy(f"{text}quorum g0\n").witnesses) == 128
    with pytest.raises(FormatError, match="more than 256 names"):
        policy(f"{text}{witnesses[128]}quorum g0\n")
    with pytest.raises(FormatError, match="more than 256 names"):
        policy(f"{text}group more 1 g0\nquorum g0\n")


def _is_point(text: str) -> bool:
    try:
        policy(f"witness w {text}\nquorum w\n")
    except FormatError:
        return False
    return True
