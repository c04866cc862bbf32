# SPDX-License-Identifier: Apache-2.0
"""Bundles: which shapes each version may have, and how leniently JSON is read."""

import json
import re
from base64 import urlsafe_b64encode
from copy import deepcopy
from typing import Any

import pytest

from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import FormatError
from tests.support.forge import Forge
from tests.support.vectors import case_names, vectors

FORGE = Forge()
BUNDLE = FORGE.bundle()
TREE = json.loads(BUNDLE.serialize())
OLD = "application/vnd.dev.sigstore.bundle+json;version="


def parse(tree: Any) -> Bundle:
    return Bundle.parse(json.dumps(tree).encode())


def changed(*path: str | int, value: Any) -> Any:
    tree = deepcopy(TREE)
    parent = tree
    for step in path[:-1]:
        parent = parent[step]
    if value is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return tree


def as_version(version: str, tree: Any = TREE) -> Any:
    tree = deepcopy(tree)
    tree["mediaType"] = OLD + version
    if version != "0.3":
        material = tree["verificationMaterial"]
        material["x509CertificateChain"] = {"certificates": [material.pop("certificate")]}
    return tree


ENTRY = ("verificationMaterial", "tlogEntries", 0)


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_versions(version: str) -> None:
    assert parse(as_version(version)) == BUNDLE._replace(version=version)


def test_reads_as_leniently_as_peers_write() -> None:
    tree = changed(*ENTRY, "logIndex", value=BUNDLE.tlog_entries[0].log_index)
    tree["unknown"] = {"field": 1}
    signature = urlsafe_b64encode(BUNDLE.signature).decode().rstrip("=")
    tree["messageSignature"]["signature"] = signature
    tree["messageSignature"]["messageDigest"]["algorithm"] = 1
    assert parse(tree) == BUNDLE


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        (changed("mediaType", value=OLD + "0.4"), "not supported"),
        (changed("mediaType", value=None), "mediaType: is missing"),
        (changed("verificationMaterial", value=None), "is missing"),
        (changed("verificationMaterial", "certificate", value=None), "exactly one key"),
        (changed("verificationMaterial", "publicKey", value={"hint": "x"}), "exactly one key"),
        (as_version("0.3", as_version("0.1")), "0.3 bundle"),
        (changed("mediaType", value=OLD + "0.1"), "0.1 bundle"),
        (changed("messageSignature", value=None), "exactly one of"),
        (changed("messageSignature", "signature", value="é"), "not base64"),
        (changed(*ENTRY, "logIndex", value="-1"), "canonical decimal"),
        (changed(*ENTRY, "logIndex", value="01"), "canonical decimal"),
        (changed(*ENTRY, "logIndex", value="9223372036854775808"), "larger than"),
        (changed(*ENTRY, "logIndex", value=2**63), "64-bit"),
        (changed(*ENTRY, "logIndex", value=True), "64-bit"),
        (changed(*ENTRY, "logId", "keyId", value="AAAA"), "3 bytes instead of 32"),
        (changed(*ENTRY, "inclusionProof", value=None), "missing its proof"),
        (changed(*ENTRY, "inclusionProof", "checkpoint", value=None), "checkpoint"),
        (changed(*ENTRY, "inclusionProof", "hashes", value=["AA=="]), "1 bytes instead of 32"),
        (changed(*ENTRY, "inclusionProof", "hashes", value=[1]), "not text"),
        (changed(*ENTRY, "inclusionProof", "hashes", value=["AA=="] * 65), "at most 64"),
        (changed(*ENTRY, "canonicalizedBody", value=None), "is missing"),
        (changed("verificationMaterial", "tlogEntries", value=[{}] * 33), "more than 32"),
        (changed("messageSignature", "messageDigest", "algorithm", value=77), "unknown number"),
    ],
)
def test_refuses_wrong_shapes(tree: Any, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        parse(tree)


def test_old_versions_need_a_promise_or_a_proof() -> None:
    no_promise = changed(*ENTRY, "inclusionPromise", value=None)
    no_proof = changed(*ENTRY, "inclusionProof", value=None)
    assert parse(as_version("0.1", no_proof)).tlog_entries[0].inclusion_proof is None
    assert parse(as_version("0.2", no_promise)).tlog_entries[0].inclusion_promise == b""
    with pytest.raises(FormatError, match="inclusionPromise"):
        parse(as_version("0.1", no_promise))
    with pytest.raises(FormatError, match="inclusionProof"):
        parse(as_version("0.2", no_proof))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"a":1,"a":2}',
        b'{"a":1.5}',
        b'{"a":NaN}',
        b"[" * 100_000,
        b'{"a":' + b"1" * 5000 + b"}",
        b" " * (16 * 1024 * 1024 + 1),
    ],
    ids=["empty", "array", "bytes", "twice", "float", "nan", "deep", "long number", "large"],
)
def test_refuses_json_that_cannot_be_trusted(data: bytes) -> None:
    with pytest.raises(FormatError):
        Bundle.parse(data)


def test_only_version_3_is_written() -> None:
    assert parse(as_version("0.2")).serialize() == BUNDLE.serialize()
    chain = BUNDLE._replace(certificates=BUNDLE.certificates * 2)
    with pytest.raises(FormatError, match="exactly one certificate"):
        chain.serialize()
    entry = BUNDLE.tlog_entries[0]._replace(inclusion_proof=None)
    with pytest.raises(FormatError, match="inclusionProof"):
        BUNDLE._replace(tlog_entries=(entry,)).serialize()


@pytest.mark.vectors
@pytest.mark.parametrize(
    "name", [name for name in case_names("bundle-verify") if not name.endswith("_fail")]
)
def test_public_bundles_are_written_as_they_were(name: str) -> None:
    data = vectors("bundle-verify", name, "bundle.sigstore.json").read_bytes()
    bundle = Bundle.parse(data)
    if bundle.version == "0.3":
        assert Bundle.parse(bundle.serialize()) == bundle
        tree = json.loads(data)
        if "v0.3+json" in tree["mediaType"]:
            assert json.loads(bundle.serialize()) == tree


def test_reads_proto_names() -> None:
    """proto3 JSON readers take both names of a field."""

    def proto(tree: Any) -> Any:
        if isinstance(tree, list):
            return [proto(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        names = {key: re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", key) for key in tree}
        return {names[key]: proto(value) for key, value in tree.items()}

    tree = proto(TREE)
    assert {"media_type", "verification_material", "message_signature"} == set(tree)
    assert parse(tree) == BUNDLE
    old = proto(as_version("0.1"))
    assert "x509_certificate_chain" in old["verification_material"]
    assert parse(old) == BUNDLE._replace(version="0.1")


@pytest.mark.parametrize("second", ["log_index", "log\\u005findex", "log\\u005Findex"])
def test_a_field_under_both_names_is_refused(second: str) -> None:
    """Readers would not agree which of the two counts."""
    text = json.dumps(TREE).replace('"logIndex":', f'"{second}": "7", "logIndex":', 1)
    with pytest.raises(FormatError, match="not JSON that can be trusted"):
        Bundle.parse(text.encode())


@pytest.mark.parametrize("digest", [{}, {"algorithm": "SHA2_256"}, {"digest": ""}])
def test_a_message_digest_without_a_digest_is_refused(digest: dict[str, str]) -> None:
    """Alone in accepting it we would have been: every peer refuses it. None at all is fine."""
    with pytest.raises(FormatError, match="digest: is missing"):
        parse(changed("messageSignature", "messageDigest", value=digest))
    assert parse(changed("messageSignature", "messageDigest", value=None))
