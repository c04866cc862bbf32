# SPDX-License-Identifier: Apache-2.0
"""Take good bundles, change every field in turn: each change is refused, for the right reason."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import (
    ChainInvalid,
    CountermarkError,
    FormatError,
    InclusionInvalid,
    SCTInvalid,
    SignatureInvalid,
    TimeUnproven,
    VerificationError,
)
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Identity
from countermark.core.verify.verifier import verify
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge

FORGE = Forge()
ROOT = FORGE.trusted_root()
V01 = "application/vnd.dev.sigstore.bundle+json;version=0.1"
Path = tuple[str | int, ...]
Reasons = tuple[type[CountermarkError], ...]

# What a changed field must be refused as: the last name in its path decides.
REASONS: dict[str, Reasons] = {
    "mediaType": (FormatError,),
    "rawBytes": (FormatError, ChainInvalid, SCTInvalid, InclusionInvalid, SignatureInvalid),
    "logIndex": (InclusionInvalid,),
    "keyId": (FormatError, InclusionInvalid),
    "kind": (InclusionInvalid,),
    "version": (InclusionInvalid,),
    "integratedTime": (InclusionInvalid,),
    "signedEntryTimestamp": (InclusionInvalid,),
    "rootHash": (FormatError, InclusionInvalid),
    "treeSize": (InclusionInvalid,),
    "hashes": (FormatError, InclusionInvalid),
    "envelope": (FormatError, InclusionInvalid),
    "canonicalizedBody": (InclusionInvalid,),
    "signedTimestamp": (FormatError, SignatureInvalid, TimeUnproven),
    "algorithm": (FormatError,),
    "digest": (SignatureInvalid,),
    "signature": (InclusionInvalid, TimeUnproven),
    "payload": (InclusionInvalid,),
    "payloadType": (InclusionInvalid, SignatureInvalid),
    "sig": (InclusionInvalid, TimeUnproven),
}
# What may be left out, in which bundles, because enough is proven without it.
OPTIONAL = {
    "messageDigest": ("v1", "v2", "v0.1", "v0.1, promise alone"),
    "timestampVerificationData": ("v1", "v1 dsse", "v1 intoto"),
    "rfc3161Timestamps": ("v1", "v1 dsse", "v1 intoto"),
    "inclusionPromise": ("v1", "v1 dsse", "v1 intoto"),
    "signedEntryTimestamp": ("v1", "v1 dsse", "v1 intoto"),
    "inclusionProof": ("v0.1",),
    "checkpoint": ("v0.1",),
    "envelope": ("v0.1",),
}


def good() -> dict[str, dict[str, Any]]:
    trees = {
        "v1": json.loads(FORGE.bundle().serialize()),
        "v1 dsse": json.loads(FORGE.bundle(envelope=True).serialize()),
        "v1 intoto": json.loads(FORGE.bundle(envelope=True, kind="intoto").serialize()),
        "v2": json.loads(FORGE.bundle(log="v2").serialize()),
        "v2 dsse": json.loads(FORGE.bundle(log="v2", envelope=True).serialize()),
    }
    old = deepcopy(trees["v1"])
    old["mediaType"] = V01
    material = old["verificationMaterial"]
    material["x509CertificateChain"] = {"certificates": [material.pop("certificate")]}
    del material["timestampVerificationData"]
    trees["v0.1"] = deepcopy(old)
    del old["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    trees["v0.1, promise alone"] = old
    return trees


GOOD = good()


def check(tree: dict[str, Any]) -> Evidence:
    bundle = Bundle.parse(json.dumps(tree).encode())
    return verify(bundle, BytesArtifact(ARTIFACT), ROOT, Identity(NAME, ISSUER))


def fields(tree: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of everything in a JSON tree, containers included."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from fields(value, (*path, key))


def parent_of(tree: Any, path: Path) -> Any:
    for step in path[:-1]:
        tree = tree[step]
    return tree


def name_of(path: Path) -> str:
    return next(str(step) for step in reversed(path) if isinstance(step, str))


def changed(value: str, name: str) -> Iterator[str]:
    """Other values of a field, of its own type."""
    if value.isdecimal() and name not in ("version",):
        yield str(int(value) + 1)
        yield str(int(value) - 1)
        yield "9223372036854775807"
    elif name in ("mediaType", "kind", "version", "algorithm", "payloadType", "envelope"):
        yield value + "x"
        yield "x" + value
        yield value.swapcase()
    else:
        data = b64decode(value)
        for at in {0, 1, len(data) // 3, len(data) // 2, len(data) - 1}:
            flipped = bytearray(data)
            flipped[at] ^= 0x01
            yield b64encode(bytes(flipped)).decode()
        yield b64encode(data + b"\x00").decode()
        yield b64encode(data[:-1]).decode()


def cases(*, texts_only: bool = False) -> list[Any]:
    return [
        pytest.param(name, path, id=f"{name}: {'.'.join(map(str, path))}")
        for name, tree in GOOD.items()
        for path in fields(tree)
        if not texts_only or isinstance(parent_of(tree, path)[path[-1]], str)
    ]


@pytest.mark.parametrize("name", GOOD)
def test_the_bundles_are_good_to_begin_with(name: str) -> None:
    assert check(GOOD[name]).signer


@pytest.mark.parametrize(("name", "path"), cases(texts_only=True))
def test_a_changed_field_is_refused(name: str, path: Path) -> None:
    value = parent_of(GOOD[name], path)[path[-1]]
    for other in set(changed(value, name_of(path))) - {value}:
        tree = deepcopy(GOOD[name])
        parent_of(tree, path)[path[-1]] = other
        if name_of(path) == "signedTimestamp" and harmless(tree, GOOD[name]):
            continue
        with pytest.raises(REASONS[name_of(path)]):
            check(tree)


def harmless(tree: dict[str, Any], original: dict[str, Any]) -> bool:
    """Whether a token was changed only where nothing is signed, and nothing else follows."""
    try:
        return check(tree) == check(original)
    except CountermarkError:
        return False


@pytest.mark.parametrize(("name", "path"), cases())
def test_a_missing_field_is_refused(name: str, path: Path) -> None:
    tree = deepcopy(GOOD[name])
    del parent_of(tree, path)[path[-1]]
    if name in OPTIONAL.get(name_of(path), ()):
        assert check(tree).signer
    else:
        with pytest.raises((FormatError, VerificationError)):
            check(tree)


@pytest.mark.parametrize(("name", "path"), cases())
def test_a_field_of_another_type_is_refused(name: str, path: Path) -> None:
    value = parent_of(GOOD[name], path)[path[-1]]
    others: list[Any] = (
        [[], {}, True, 1.5, "?"] if isinstance(value, dict | list) else [[], {}, True]
    )
    for other in others:
        if type(other) is type(value):
            continue
        tree = deepcopy(GOOD[name])
        parent_of(tree, path)[path[-1]] = other
        with pytest.raises((FormatError, VerificationError)):
            check(tree)


@pytest.mark.parametrize("name", GOOD)
def test_twice_is_refused(name: str) -> None:
    tree = deepcopy(GOOD[name])
    material = tree["verificationMaterial"]
    material["tlogEntries"] *= 2
    with pytest.raises(FormatError, match="twice"):
        check(tree)
    material["tlogEntries"] = material["tlogEntries"][:1]
    if "timestampVerificationData" in material:
        material["timestampVerificationData"]["rfc3161Timestamps"] *= 2
        with pytest.raises(FormatError, match="twice"):
            check(tree)


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_both_kinds_of_content_are_refused(name: str) -> None:
    tree = {**GOOD[name], **{key: GOOD["v1 dsse"][key] for key in ("dsseEnvelope",)}}
    with pytest.raises(FormatError, match="exactly one"):
        check(tree)


def test_every_bit_of_a_certificate_counts() -> None:
    data = bytearray(b64decode(GOOD["v1"]["verificationMaterial"]["certificate"]["rawBytes"]))
    for at in range(len(data)):
        flipped = bytes(data[:at]) + bytes((data[at] ^ 1 << at % 8,)) + bytes(data[at + 1 :])
        tree = deepcopy(GOOD["v1"])
        tree["verificationMaterial"]["certificate"]["rawBytes"] = b64encode(flipped).decode()
        with pytest.raises(REASONS["rawBytes"]):
            check(tree)


def test_no_bit_of_a_timestamp_changes_what_is_proven() -> None:
    stamps = ("verificationMaterial", "timestampVerificationData", "rfc3161Timestamps", 0)
    path = (*stamps, "signedTimestamp")
    data = b64decode(parent_of(GOOD["v2"], path)["signedTimestamp"])
    evidence = check(GOOD["v2"])
    refused = 0
    for at in range(len(data)):
        flipped = data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]
        tree = deepcopy(GOOD["v2"])
        parent_of(tree, path)["signedTimestamp"] = b64encode(flipped).decode()
        try:
            found = check(tree)
        except REASONS["signedTimestamp"]:
            refused += 1
        else:
            assert found == evidence
    assert refused > len(data) * 9 // 10
