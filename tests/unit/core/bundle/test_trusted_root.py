# SPDX-License-Identifier: Apache-2.0
"""Trusted roots: the public ones, the keys in them, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.client.verify import shipped_root_json
from countermark.core.bundle.trusted_root import MEDIA_TYPE, TrustedRoot, Validity
from countermark.core.errors import AlgorithmRefused, FormatError
from tests.support.forge import Forge
from tests.support.vectors import vectors

ROOT = Forge().trusted_root()
TREE = ROOT.to_json()


def parse(**changes: Any) -> TrustedRoot:
    return TrustedRoot.parse(json.dumps({**TREE, **changes}).encode())


@pytest.mark.parametrize("name", ["public", "staging"])
def test_public_roots_survive_a_round_trip_and_all_their_keys_load(name: str) -> None:
    data = shipped_root_json(name)
    root = TrustedRoot.parse(data)
    assert root.to_json() == json.loads(data)
    for log in (*root.tlogs, *root.ctlogs):
        key = log.public_key
        if "ED25519" not in key.details:
            assert key.key_id == log.log_id  # also of staging's PKCS#1 key
    for authority in (*root.certificate_authorities, *root.timestamp_authorities):
        assert authority.certificates[-1].is_self_issued


@pytest.mark.vectors
@pytest.mark.parametrize(
    ("shipped", "published"), [("public", "production"), ("staging", "staging")]
)
def test_the_shipped_roots_are_the_published_ones(shipped: str, published: str) -> None:
    file = vectors("public-good", published, "trusted_root.json")
    assert shipped_root_json(shipped) == file.read_bytes()


@pytest.mark.parametrize(
    "media_type",
    [
        MEDIA_TYPE,
        "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
        "application/vnd.dev.sigstore.trustedroot.v0.2+json",
    ],
)
def test_every_spelling_is_read_and_one_written(media_type: str) -> None:
    root = parse(mediaType=media_type)
    assert root == ROOT
    assert root.to_json()["mediaType"].endswith("+json;version=0.1")


def with_log(**changes: Any) -> dict[str, Any]:
    return {"tlogs": [{**TREE["tlogs"][0], **changes}]}


def with_key(**changes: Any) -> dict[str, Any]:
    return with_log(publicKey={**TREE["tlogs"][0]["publicKey"], **changes})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mediaType": "application/json"}, "not supported"),
        (with_key(validFor={}), "start: is missing"),
        (with_key(validFor=None), "validFor: is missing"),
        (with_key(validFor={"start": "yesterday"}), "not an RFC 3339 time"),
        (with_key(rawBytes=""), "rawBytes: is missing"),
        (with_log(logId=None), "logId: is missing"),
        ({"certificateAuthorities": [{"certChain": {"certificates": []}}]}, "without cert"),
        ({"tlogs": {}}, "not a JSON array"),
    ],
)
def test_refuses_entries_that_say_too_little(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(FormatError, match=why):
        parse(**changes)


def test_an_unusable_key_refuses_only_what_needs_it() -> None:
    root = parse(**with_key(keyDetails="PKIX_ML_DSA_65"))
    with pytest.raises(AlgorithmRefused, match="declared as PKIX_ML_DSA_65"):
        assert root.tlogs[0].public_key
    with pytest.raises(FormatError):
        assert parse(**with_key(rawBytes="AAAA")).tlogs[0].public_key


def test_pkcs1_keys_are_wrapped() -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    bare = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    log = ROOT.tlogs[0]._replace(key_bytes=bare, key_details="PKCS1_RSA_PKCS1V5")
    expected = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert log.public_key.spki == expected


def test_operators_and_checkpoint_ids_are_kept() -> None:
    log = ROOT.tlogs[0]._replace(operator="someone", checkpoint_key_id=b"1234")
    authority = ROOT.certificate_authorities[0]._replace(operator="someone else")
    root = ROOT._replace(tlogs=(log,), certificate_authorities=(authority,))
    assert TrustedRoot.parse(root.serialize()) == root


def test_validity_is_closed() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    window = Validity(start, start + tick)
    assert window.covers(start)
    assert window.covers(start + tick)
    assert not window.covers(start - tick)
    assert not window.covers(start + 2 * tick)
    assert Validity(start).covers(datetime(9999, 1, 1, tzinfo=UTC))
