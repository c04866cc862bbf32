# SPDX-License-Identifier: Apache-2.0
"""Canonical bodies and SETs against data that upstream made."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from countermark.core.crypto.keys import PublicKey
from countermark.core.rekor import dsse_entry, hashedrekord
from countermark.core.rekor.dsse_proposal import parse_proposal as parse_dsse
from countermark.core.rekor.hashedrekord_proposal import parse_proposal as parse_hashedrekord
from countermark.core.rekor.set_payload import set_message
from countermark.core.rekor.stored import stored_search_keys
from countermark.core.tlog.merkle import leaf_hash
from tests.support.rekor import dsse, encode, hashedrekord_spec, vector, vector_folders

pytestmark = pytest.mark.vectors
ALGORITHMS = "rekor-v1/client-algorithms"


@pytest.mark.parametrize(
    ("key", "signature", "hash_name", "size", "leaf"),
    [
        (
            "ec_public.pem",
            "file1.ec.sig",
            "sha256",
            557,
            "248a10339658f2215fae36b8305b6543df96927cd6c9dad7f249acfe88ae2506",
        ),
        (
            "rsa_public.pem",
            "file1.rsa.sig",
            "sha256",
            1169,
            "a57ee7838170d6236b066c313bd0420a48f620b974dedc710687c27d49aae2c0",
        ),
        (
            "ed25519_public.pem",
            "file1.ed25519ph.sig",
            "sha512",
            525,
            "81c845001e3c673b92a6858969fe8c5063b636cdd5dd2900f089a59ffd35f56a",
        ),
    ],
)
def test_hashedrekord_leaf(key: str, signature: str, hash_name: str, size: int, leaf: str) -> None:
    artifact = vector(f"{ALGORITHMS}/file1")
    digest = hashlib.new(hash_name, artifact).hexdigest()
    pem = vector(f"{ALGORITHMS}/{key}").decode()
    spec = hashedrekord_spec(pem, vector(f"{ALGORITHMS}/{signature}"), digest, hash_name)
    entry = parse_hashedrekord(encode(spec))
    assert len(entry.body) == size
    assert leaf_hash(entry.body).hex() == leaf
    assert set(stored_search_keys(entry.body)) == set(entry.search_keys)


def test_dsse_leaf() -> None:
    text = vector("rekor-v1/requests/intoto_dsse.json").decode()
    pem = vector("rekor-v1/requests/intoto_dsse.pem").decode()
    entry = parse_dsse(encode(dsse(text, pem)["spec"]))
    assert len(entry.body) == 652
    leaf = "3a3f0515ff04d7a17fdf0713d74e479c215d2ac4c2e81095b1f43360c15b7666"
    assert leaf_hash(entry.body).hex() == leaf
    assert set(stored_search_keys(entry.body)) <= set(entry.search_keys)


def test_dsse_with_two_signers() -> None:
    text = vector("rekor-v1/requests/intoto_multi_dsse.json").decode()
    pems = [
        vector(f"rekor-v1/requests/{name}").decode()
        for name in ("intoto_dsse.pem", "intoto_multi_pub2.pem")
    ]
    body = parse_dsse(encode(dsse(text, *pems)["spec"])).body
    assert parse_dsse(encode(dsse(text, *reversed(pems))["spec"])).body == body
    stored = json.loads(body)["spec"]["signatures"]
    assert [item["signature"] for item in stored] == sorted(
        item["sig"] for item in json.loads(text)["signatures"]
    )


@pytest.mark.parametrize("name", ["hashedrekord", "dsse"])
def test_proposals_of_upstreams_own_tests(name: str) -> None:
    proposal = json.loads(vector(f"rekor-v1/models/{name}.json"))
    parse = {"hashedrekord": parse_hashedrekord, "dsse": parse_dsse}[name]
    assert parse(encode(proposal["spec"])).kind == name


def real_entries() -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Distinct bodies of real log entries, with the entry around them."""
    seen = set()
    for folder in vector_folders("bundle-verify"):
        if folder.name.endswith("_fail") and "dsse" not in folder.name:
            continue
        bundle = json.loads((folder / "bundle.sigstore.json").read_bytes())
        for entry in bundle["verificationMaterial"]["tlogEntries"]:
            body = base64.b64decode(entry["canonicalizedBody"])
            if body not in seen:
                seen.add(body)
                yield body, entry


def test_real_bodies_are_rebuilt_byte_for_byte() -> None:
    kinds: dict[str, int] = {}
    for body, _ in real_entries():
        tree = json.loads(body)
        spec = tree["spec"]
        if tree["apiVersion"] != "0.0.1" or tree["kind"] not in ("hashedrekord", "dsse"):
            continue
        kinds[tree["kind"]] = kinds.get(tree["kind"], 0) + 1
        if tree["kind"] == "hashedrekord":
            rebuilt = hashedrekord.canonical_body(
                spec["data"]["hash"]["algorithm"],
                spec["data"]["hash"]["value"],
                base64.b64decode(spec["signature"]["content"]),
                base64.b64decode(spec["signature"]["publicKey"]["content"]).decode(),
            )
            # And a client that submits it again gets the same leaf.
            assert parse_hashedrekord(encode(spec)).body == body
        else:
            rebuilt = dsse_entry.canonical_body(
                spec["envelopeHash"]["value"],
                spec["payloadHash"]["value"],
                [
                    (item["signature"], base64.b64decode(item["verifier"]).decode())
                    for item in spec["signatures"]
                ],
            )
        assert rebuilt == body
    assert kinds["hashedrekord"] >= 3
    assert kinds["dsse"] >= 1


def test_real_promises_verify_over_our_payload() -> None:
    logs = [
        log
        for instance in ("production", "staging")
        for log in json.loads(vector(f"public-good/{instance}/trusted_root.json"))["tlogs"]
    ]
    keys = {
        log["logId"]["keyId"]: PublicKey.from_spki(base64.b64decode(log["publicKey"]["rawBytes"]))
        for log in logs
        if log["publicKey"]["keyDetails"].startswith("PKIX_ECDSA")
    }
    verified = 0
    for body, entry in real_entries():
        key = keys.get(entry["logId"]["keyId"])
        promise = entry.get("inclusionPromise")
        if key is None or promise is None:
            continue
        message = set_message(
            body, int(entry["integratedTime"]), key.key_id, int(entry["logIndex"])
        )
        key.verify(base64.b64decode(promise["signedEntryTimestamp"]), message)
        verified += 1
    assert verified >= 3
