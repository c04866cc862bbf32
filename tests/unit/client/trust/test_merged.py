# SPDX-License-Identifier: Apache-2.0
"""Merged roots: every client reads the file, and we know from which part each key is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from countermark.client.instances import record_instance
from countermark.client.trust.merged import SUFFIX, MergedRoot, merge, parse_parts
from countermark.client.trust.sources import Source, named_source
from countermark.client.verify import Root, root_from_file
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import MEDIA_TYPE, TrustedRoot
from countermark.core.distrust.document import DistrustList
from countermark.core.distrust.subject import SignerName
from countermark.core.errors import Distrusted, FormatError, RequestRejected, VerificationError
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.policy import Identity
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge
from tests.support.made_certificates import NOW

ARTIFACTS = BytesArtifact(ARTIFACT)
ADA = Identity(NAME, ISSUER)


@pytest.fixture(scope="module")
def forges() -> tuple[Forge, Forge]:
    return Forge(), Forge()


def source(name: str, root: TrustedRoot) -> Source:
    return Source(name, f"made for {name}", root.serialize())


@pytest.fixture(scope="module")
def merged(forges: tuple[Forge, Forge]) -> tuple[bytes, bytes]:
    return merge([source(n, f.trusted_root()) for n, f in zip("ab", forges, strict=True)])


def bundle_of(forge: Forge) -> Bundle:
    return Bundle.parse(forge.bundle().serialize())


def test_the_file_has_all_parties_and_no_field_that_peers_refuse(
    merged: tuple[bytes, bytes], forges: tuple[Forge, Forge]
) -> None:
    tree = json.loads(merged[0])
    assert tree["mediaType"] == MEDIA_TYPE
    assert set(tree) == {
        *("mediaType", "tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities"),
    }
    union = TrustedRoot.parse(merged[0])
    for forge in forges:
        for mine, all_of_them in zip(forge.trusted_root(), union, strict=True):
            assert set(mine) <= set(all_of_them)


def test_each_bundle_is_believed_under_its_own_part(
    merged: tuple[bytes, bytes], forges: tuple[Forge, Forge]
) -> None:
    root = MergedRoot.of("both", *merged)
    for name, forge in zip("ab", forges, strict=True):
        assert root.verify(bundle_of(forge), ARTIFACTS, ADA).root == f"both: {name}"


def test_keys_of_several_parts_together_are_told(forges: tuple[Forge, Forge]) -> None:
    """A CA of one part and a log of another: believed, since the file says so, and said."""
    whole = forges[0].trusted_root()
    logs = whole._replace(certificate_authorities=())
    authorities = whole._replace(tlogs=(), ctlogs=(), timestamp_authorities=())
    data, note = merge([source("logs", logs), source("authority", authorities)])
    evidence = MergedRoot.of("both", data, note).verify(bundle_of(forges[0]), ARTIFACTS, ADA)
    assert evidence.root.startswith("both: CA of authority, CT log of logs, log of logs")


def test_a_bundle_of_neither_part_is_refused(merged: tuple[bytes, bytes]) -> None:
    with pytest.raises(VerificationError):
        MergedRoot.of("both", *merged).verify(bundle_of(Forge()), ARTIFACTS, ADA)
    with pytest.raises(VerificationError):
        MergedRoot.of("both", *merged).verify(
            bundle_of(Forge()), BytesArtifact(b"something else"), ADA
        )


def test_what_parts_have_in_common_is_written_once(forges: tuple[Forge, Forge]) -> None:
    root = forges[0].trusted_root()
    data, note = merge([source("a", root), source("b", root)])
    assert TrustedRoot.parse(data) == root
    assert [part.name for part in parse_parts(data, note)] == ["a", "b"]


def test_public_and_staging_and_one_s_own(forges: tuple[Forge, Forge]) -> None:
    sources = [named_source("public"), named_source("staging")]
    data, note = merge([*sources, source("mine", forges[0].trusted_root())])
    assert [part.name for part in parse_parts(data, note)] == ["public", "staging", "mine"]
    root = MergedRoot.of("all", data, note)
    assert root.verify(bundle_of(forges[0]), ARTIFACTS, ADA).root == "all: mine"


def test_one_root_alone_and_two_of_one_name_are_no_merge(forges: tuple[Forge, Forge]) -> None:
    root = forges[0].trusted_root()
    for sources in ([], [source("a", root)], [source("a", root), source("a", root)]):
        with pytest.raises(RequestRejected):
            merge(sources)


def test_the_note_of_another_file_is_refused(
    merged: tuple[bytes, bytes], forges: tuple[Forge, Forge]
) -> None:
    with pytest.raises(FormatError, match="another file"):
        parse_parts(merged[0] + b" ", merged[1])
    other = merge([source("a", forges[0].trusted_root()), named_source("public")])
    with pytest.raises(FormatError, match="another file"):
        MergedRoot.of("both", merged[0], other[1])


def _stranger(tree: Any) -> None:
    tree["parts"][0]["trustedRoot"] = Forge().trusted_root().to_json()


def _one_part(tree: Any) -> None:
    del tree["parts"][1:]


def _no_name(tree: Any) -> None:
    tree["parts"][0]["name"] = 7


def _other_kind(tree: Any) -> None:
    tree["mediaType"] = "application/json"


def _no_root(tree: Any) -> None:
    tree["parts"][1]["trustedRoot"] = []


@pytest.mark.parametrize("damage", [_stranger, _one_part, _no_name, _other_kind, _no_root])
def test_a_damaged_note_is_refused(
    merged: tuple[bytes, bytes], damage: Callable[[Any], None]
) -> None:
    tree = json.loads(merged[1])
    damage(tree)
    with pytest.raises(FormatError, match="note of a merged trusted root"):
        parse_parts(merged[0], json.dumps(tree).encode())
    for garbage in (b"", b"[]", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(FormatError):
            parse_parts(merged[0], garbage)


def test_the_suffix_is_what_verify_looks_for() -> None:
    assert SUFFIX == ".sources.json"


def test_verify_finds_the_note_beside_the_file(
    merged: tuple[bytes, bytes], forges: tuple[Forge, Forge], tmp_path: Path
) -> None:
    path = tmp_path / "root.json"
    path.write_bytes(merged[0])
    assert type(root_from_file(str(path))) is Root
    Path(f"{path}{SUFFIX}").write_bytes(merged[1])
    evidence = root_from_file(str(path)).verify(bundle_of(forges[1]), ARTIFACTS, ADA)
    assert evidence.root == f"{path}: b"
    path.write_bytes(merged[0] + b" ")
    with pytest.raises(FormatError, match="another file"):
        root_from_file(str(path))


def test_what_a_part_distrusts_no_other_part_saves(forges: tuple[Forge, Forge]) -> None:
    """The union of all parts would believe it, and is not asked."""
    distrusted = DistrustList.empty("https://a.example", NOW).with_entry(
        SignerName(NAME, ISSUER), "stolen laptop", "ada", NOW
    )
    record_instance(
        "https://a.example",
        "",
        trusted_root_json=forges[0].trusted_root().serialize(),
        signing_config_json=b"",
        tuf_root_json=b"{}",
        targets=(("distrust.json", distrusted.serialize()),),
    )
    both = [named_source("https://a.example"), source("b", forges[1].trusted_root())]
    data, note = merge(both)
    root = MergedRoot.of("both", data, note)
    with pytest.raises(Distrusted, match="stolen laptop"):
        root.verify(bundle_of(forges[0]), ARTIFACTS, ADA)
    assert root.verify(bundle_of(forges[1]), ARTIFACTS, ADA).root == "both: b"
    tree = json.loads(note)
    for damage in ([7], "x", ["{}"], None):
        tree["parts"][0]["distrust"] = damage
        with pytest.raises(FormatError):
            parse_parts(data, json.dumps(tree).encode())


def test_lists_of_all_parts_speak_against_what_several_prove_together(
    forges: tuple[Forge, Forge],
) -> None:
    whole = forges[0].trusted_root()
    distrusted = DistrustList.empty("https://logs.example", NOW).with_entry(
        SignerName(NAME, ISSUER), "stolen laptop", "ada", NOW
    )
    record_instance(
        "https://logs.example",
        "",
        trusted_root_json=whole._replace(certificate_authorities=()).serialize(),
        signing_config_json=b"",
        tuf_root_json=b"{}",
        targets=(("distrust.json", distrusted.serialize()),),
    )
    authorities = whole._replace(tlogs=(), ctlogs=(), timestamp_authorities=())
    sources = [named_source("https://logs.example"), source("authority", authorities)]
    root = MergedRoot.of("both", *merge(sources))
    with pytest.raises(Distrusted, match="stolen laptop"):
        root.verify(bundle_of(forges[0]), ARTIFACTS, ADA)
