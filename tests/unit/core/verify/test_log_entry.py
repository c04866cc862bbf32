# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and promises: bound to the log by id, name, key and time."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.core.bundle.bundle import InclusionProof, TransparencyLogEntry
from countermark.core.bundle.trusted_root import Validity
from countermark.core.errors import FormatError, InclusionInvalid, TimeUnproven
from countermark.core.rekor.set_payload import set_message
from countermark.core.verify.log_entry import (
    find_log,
    key_name,
    names_of,
    verify_inclusion_proof,
    verify_promise,
)
from tests.support.forge import EVER, Forge
from tests.support.made_certificates import NOW

FORGE = Forge()
V1, V2 = FORGE.trusted_root().tlogs
ENTRY, ENTRY_V2 = (FORGE.bundle(log=log).tlog_entries[0] for log in ("v1", "v2"))


def proof_of(entry: TransparencyLogEntry) -> InclusionProof:
    assert entry.inclusion_proof is not None
    return entry.inclusion_proof


def with_checkpoint(checkpoint: str) -> InclusionProof:
    return proof_of(ENTRY)._replace(checkpoint=checkpoint)


def test_logs_are_found_by_their_whole_id() -> None:
    assert find_log(ENTRY, (V2, V1)) == V1
    with pytest.raises(InclusionInvalid, match="no trusted log has the id"):
        find_log(ENTRY._replace(log_id=ENTRY.log_id[:4] + bytes(28)), (V1, V2))


def test_shards_that_share_a_key_are_told_apart_by_name() -> None:
    old = V1._replace(base_url="https://old.example.org", validity=Validity(EVER.start, EVER.start))
    assert find_log(ENTRY, (old, V1)) == V1
    assert find_log(ENTRY, (V1, old)) == V1


def test_a_log_of_another_hash_is_refused() -> None:
    with pytest.raises(InclusionInvalid, match="something else than SHA-256"):
        find_log(ENTRY, (V1._replace(hash_algorithm="SHA3_256"),))


def test_a_proof_leads_to_the_logs_own_checkpoint() -> None:
    assert verify_inclusion_proof(ENTRY, proof_of(ENTRY), V1) == 7
    assert verify_inclusion_proof(ENTRY_V2, proof_of(ENTRY_V2), V2) == 7


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"root_hash": bytes(32)}, "its own root hash"),
        ({"tree_size": 6}, "3 hashes instead of 2"),
        ({"log_index": 4}, "root hash"),
        ({"hashes": ()}, "0 hashes instead of 3"),
        ({"log_index": 7}, "not in a tree"),
        ({"checkpoint": FORGE.checkpoint(bytes(32), 7, "v1")}, "another tree"),
        ({"checkpoint": FORGE.checkpoint(proof_of(ENTRY).root_hash, 8, "v1")}, "another tree"),
        ({"checkpoint": Forge().checkpoint(proof_of(ENTRY).root_hash, 7, "v1")}, "no signature by"),
        ({"checkpoint": FORGE.checkpoint(proof_of(ENTRY).root_hash, 7, "v2")}, "is of"),
        (
            {"checkpoint": FORGE.checkpoint(proof_of(ENTRY).root_hash, 7, "v1", "other")},
            "no signature by",
        ),
    ],
)
def test_a_proof_that_does_not(change: dict[str, object], why: str) -> None:
    proof = proof_of(ENTRY)._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(InclusionInvalid, match=why):
        verify_inclusion_proof(ENTRY, proof, V1)


def test_a_wrong_signature_under_the_right_name_and_hint() -> None:
    text, _, line = proof_of(ENTRY).checkpoint.rpartition("\n\n")
    altered = text.replace("7\n", "8\n") + "\n\n" + line
    with pytest.raises(InclusionInvalid, match="does not verify"):
        verify_inclusion_proof(ENTRY, with_checkpoint(altered), V1)


def test_further_signatures_and_extensions_are_passed_over() -> None:
    checkpoint = proof_of(ENTRY).checkpoint
    text, _, line = checkpoint.rpartition("\n\n")
    witness = "— witness.example.org BAUGBwgJCgsMDQ4P\n"
    for lines in (witness + line, line + witness, witness + line + witness):
        assert verify_inclusion_proof(ENTRY, with_checkpoint(f"{text}\n\n{lines}"), V1) == 7
    with pytest.raises(InclusionInvalid, match="no signature by"):
        verify_inclusion_proof(ENTRY, with_checkpoint(f"{text}\n\n{witness}"), V1)


@pytest.mark.parametrize("checkpoint", ["x", "a\n\n\n", "— a b\n", "a\n1\n\n— a AAAAAAA=\n"])
def test_what_is_no_checkpoint(checkpoint: str) -> None:
    with pytest.raises(FormatError):
        verify_inclusion_proof(ENTRY, with_checkpoint(checkpoint), V1)


def test_v2_entries_have_one_index_and_no_promise() -> None:
    with pytest.raises(InclusionInvalid, match="different indexes"):
        verify_inclusion_proof(ENTRY_V2._replace(log_index=4), proof_of(ENTRY_V2), V2)
    with pytest.raises(InclusionInvalid, match="cannot have a promise"):
        verify_promise(ENTRY_V2._replace(inclusion_promise=b"x"), V2)


def test_a_promise_proves_its_time_and_index() -> None:
    assert verify_promise(ENTRY, V1) == NOW
    for change in (
        {"integrated_time": ENTRY.integrated_time + 1},
        {"log_index": 5},
        {"canonicalized_body": b"{}"},
        {"inclusion_promise": b"0"},
    ):
        with pytest.raises(InclusionInvalid, match="not signed by"):
            verify_promise(ENTRY._replace(**change), V1)
    with pytest.raises(TimeUnproven, match="another time"):
        verify_promise(ENTRY, V1._replace(validity=Validity(NOW + timedelta(seconds=1))))


@pytest.mark.parametrize("seconds", [0, 2**62])
def test_a_promise_of_no_possible_time(seconds: int) -> None:
    entry = ENTRY._replace(integrated_time=seconds)
    message = set_message(entry.canonicalized_body, seconds, entry.log_id, entry.log_index)
    signature = FORGE.log_key.sign(message, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(TimeUnproven, match="no possible time"):
        verify_promise(entry._replace(inclusion_promise=signature), V1)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("https://rekor.sigstore.dev", {"rekor.sigstore.dev"}),
        ("http://localhost:8000", {"localhost", "localhost:8000"}),
        ("http://[::1]:8000/", {"[::1]", "[::1]:8000"}),
        (
            "http://localhost:7446/ctlog/main",
            {"localhost", "localhost:7446", "localhost/ctlog/main", "localhost:7446/ctlog/main"},
        ),
        ("nonsense", {""}),
    ],
)
def test_names_that_a_log_may_sign_under(url: str, names: set[str]) -> None:
    assert set(names_of(V1._replace(base_url=url))) == names


def test_origins_of_v1_carry_a_tree_id() -> None:
    assert key_name("rekor.sigstore.dev - 2605736670972794746") == "rekor.sigstore.dev"
    assert key_name("v2.example.org") == "v2.example.org"
    assert key_name("a - b") == "a - b"
