# SPDX-License-Identifier: Apache-2.0
"""What a shard signs, what its auditor finds, and its first entries."""

import hashlib
import json
from base64 import b64decode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from countermark.core.errors import (
    AlgorithmRefused,
    FormatError,
    InclusionInvalid,
    SignatureInvalid,
)
from countermark.core.rekor.hashedrekord_proposal import parse_proposal
from countermark.core.rekor.shard import Shard
from countermark.core.tlog.merkle import EMPTY_ROOT, leaf_hash
from countermark.drivers.keys.file import FileSigner
from countermark.ports.log_store import EntryRow, Head
from countermark.tlog.genesis import genesis_artifact, genesis_submissions
from countermark.tlog.personality import ShardAuditor, ShardPersonality, submission
from tests.support.rekor import SigningKey, encode, hashedrekord

SIGNER = FileSigner(ec.generate_private_key(ec.SECP256R1()))
SHARD = Shard(77, "log.example", SIGNER.public_key, first_index=100)
PERSONALITY = ShardPersonality(SHARD, SIGNER)
AUDITOR = ShardAuditor(SHARD)
ENTRY = parse_proposal(encode(hashedrekord(SigningKey.new(), b"x")["spec"]))


def test_checkpoint_bytes() -> None:
    signed = PERSONALITY.sign_head(0, EMPTY_ROOT, 5)
    text, _, line = signed.decode().rpartition("\n\n")
    assert text == "log.example - 77\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    dash, name, encoded = line.rstrip("\n").split(" ")
    assert (dash, name) == ("\N{EM DASH}", "log.example")
    signature = b64decode(encoded)
    assert signature[:4] == hashlib.sha256(SIGNER.public_key.spki).digest()[:4]
    SIGNER.public_key.verify(signature[4:], f"{text}\n".encode())


def test_audit_of_heads() -> None:
    head = Head(3, b"\x01" * 32, 5, PERSONALITY.sign_head(3, b"\x01" * 32, 5))
    AUDITOR.check_head(head)
    for wrong in (replace(head, tree_size=4), replace(head, root_hash=b"\x02" * 32)):
        with pytest.raises(InclusionInvalid):
            AUDITOR.check_head(wrong)
    line = head.signed.split(b"\n\n")[1]
    with pytest.raises(SignatureInvalid, match="more than the log's own"):
        AUDITOR.check_head(replace(head, signed=head.signed + line))
    other = ShardPersonality(SHARD, FileSigner(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(SignatureInvalid):
        AUDITOR.check_head(replace(head, signed=other.sign_head(3, b"\x01" * 32, 5)))
    with pytest.raises(FormatError):
        AUDITOR.check_head(replace(head, signed=b"nonsense"))


def test_audit_of_entries() -> None:
    proposed = submission(ENTRY.body, ENTRY.search_keys)
    leaf = PERSONALITY.finalise(proposed, 7, 1_700_000_000_999)
    assert leaf.record == ENTRY.body
    assert leaf.leaf_hash == proposed.identity == leaf_hash(ENTRY.body)
    assert AUDITOR.identity(leaf.record) == proposed.identity
    assert set(AUDITOR.search_keys(leaf.record)) == set(ENTRY.search_keys)
    row = EntryRow(7, 1_700_000_000_000, leaf.promise)  # the SET is over whole seconds
    AUDITOR.check_promise(leaf.record, row)
    for wrong in (
        replace(row, index=8),
        replace(row, time_ms=1_700_000_001_000),
        replace(row, promise=b""),
    ):
        with pytest.raises(SignatureInvalid):
            AUDITOR.check_promise(leaf.record, wrong)
    with pytest.raises(FormatError):
        AUDITOR.search_keys(b"{}")


def test_genesis_entries_are_ordinary() -> None:
    submissions = genesis_submissions(SHARD, "https://log.example", SIGNER)
    assert len(submissions) == 2
    assert len({item.identity for item in submissions}) == 2
    for number, item in enumerate(submissions, 1):
        spec = json.loads(item.payload)["spec"]
        assert parse_proposal(encode(spec)).body == item.payload
        artifact = genesis_artifact(SHARD, "https://log.example", number)
        assert spec["data"]["hash"]["value"] == hashlib.sha256(artifact).hexdigest()
        assert json.loads(artifact)["treeID"] == "77"
        assert set(AUDITOR.search_keys(item.payload)) == set(item.search_keys)


def test_genesis_needs_a_key_that_can() -> None:
    signer = FileSigner(ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(AlgorithmRefused):
        genesis_submissions(SHARD, "https://log.example", signer)
