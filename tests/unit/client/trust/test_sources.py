# SPDX-License-Identifier: Apache-2.0
"""What is trusted is told with where it came from; what does not hold is told as that."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from countermark.client.instances import record_instance
from countermark.client.trust.exporting import FORMATS, exported
from countermark.client.trust.following import Followed, fetch
from countermark.client.trust.kept import kept_path
from countermark.client.trust.showing import parties
from countermark.client.trust.sources import all_sources, file_source, named_source
from countermark.core.bundle.signing_config import parse_trust_config
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.crypto.certificate import parse_pem_certificates
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_base64
from countermark.core.errors import (
    NotFound,
    RequestRejected,
    SettingsError,
    VerificationError,
)
from tests.support.tuf_mirror import Mirror, Repository

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_the_shipped_instances_are_there_without_any_registry() -> None:
    sources = {source.name: source for source in all_sources()}
    assert list(sources) == ["public", "staging"]
    found = parties(sources["public"].trusted_root)
    logs = {party.name: party for party in found if party.kind == "log"}
    assert logs["https://rekor.sigstore.dev"].key_id == (
        "c0d23d6ad406973f9559f3ba2d1ca01f84147d8ffc5b8445c224f98b9591801d"
    )
    assert {party.kind for party in found} == {
        *("log", "ct-log", "certificate-authority", "timestamp-authority"),
    }
    ended = [party for party in found if not party.active(NOW)]
    assert ended
    assert all("end" in party.to_json()["validFor"] for party in ended)


def test_a_fetched_instance_tells_its_repository_and_versions(
    mirror: Mirror, known: Followed
) -> None:
    source = named_source(mirror.url)
    assert source.origin == f"TUF repository {mirror.url}/tuf"
    assert (source.versions, source.expires) == (known.checked.versions, known.checked.expires)
    assert not source.own
    assert all_sources()[0] == source


def test_an_instance_of_this_machine_is_its_own(
    repository: Repository, mirror: Mirror, trusted_root: bytes, tmp_path: Path
) -> None:
    record_instance(
        mirror.url,
        tmp_path,
        trusted_root_json=trusted_root,
        signing_config_json=b"{}",
        tuf_root_json=repository.first_root,
    )
    assert named_source(mirror.url).own
    fetch(mirror.url)
    source = named_source(mirror.url)
    assert (source.own, source.versions is None) == (True, False)
    Path(kept_path(mirror.url)).unlink()
    assert named_source(mirror.url).versions is None


def test_kept_metadata_that_does_not_hold_is_a_fault(mirror: Mirror, known: Followed) -> None:
    path = Path(kept_path(mirror.url))
    path.write_text(path.read_text().replace("sigstore", "sigst0re", 1))
    assert "does not hold" in all_sources()[0].fault
    with pytest.raises(VerificationError, match="does not hold"):
        named_source(mirror.url)
    path.unlink()
    with pytest.raises(NotFound):
        named_source(mirror.url)


def test_a_newer_root_of_the_public_instance_takes_the_shipped_one_s_place(
    repository: Repository, mirror: Mirror
) -> None:
    with pytest.raises(SettingsError, match="another root"):
        fetch("public", pin=repository.first_root, mirror=f"{mirror.url}/tuf")
    fetch("public", pin=repository.first_root, mirror=f"{mirror.url}/tuf", replace_pin=True)
    assert [source.name for source in all_sources()] == ["public", "staging"]
    assert named_source("public").versions is not None


def test_files_are_sources_too(tmp_path: Path, trusted_root: bytes) -> None:
    path = tmp_path / "root.json"
    path.write_bytes(trusted_root)
    assert file_source(str(path)).trusted_root_json == trusted_root
    config = tmp_path / "config.json"
    config.write_bytes(exported(named_source("public"), "trust-config")["trust_config.json"])
    source = named_source(str(config))
    assert source.trusted_root == named_source("public").trusted_root
    assert source.signing_config_json
    with pytest.raises(SettingsError, match="neither an instance"):
        named_source(str(tmp_path / "absent"))


def test_every_format_says_the_same(mirror: Mirror, known: Followed, tmp_path: Path) -> None:
    source = named_source("public")
    root = source.trusted_root
    config = exported(source, "python")["trust_config.json"]
    assert parse_trust_config(config)[0] == root
    assert exported(source, "js") == {"trusted_root.json": source.trusted_root_json}
    assert set(exported(source, "cosign")) == {"trusted_root.json", "signing_config.v0.2.json"}
    pem = exported(source, "gitsign")
    assert (
        PublicKey.from_pem(
            pem["rekor.pem"].decode().split("-----BEGIN")[1].join(["-----BEGIN", ""])
        )
        == root.tlogs[0].public_key
    )
    assert {item.der for item in parse_pem_certificates(pem["fulcio.pem"].decode())} == {
        der for authority in root.certificate_authorities for der in authority.chain
    }
    with pytest.raises(RequestRejected, match="no format"):
        exported(source, "yaml")
    with pytest.raises(NotFound, match="no TUF metadata"):
        exported(source, "tuf")
    with pytest.raises(SettingsError, match="does not say which services"):
        exported(named_source(mirror.url), "signing-config")
    assert set(FORMATS) >= {"tuf", "pem", "policy-controller"}


def test_the_exported_repository_is_one(
    repository: Repository, mirror: Mirror, known: Followed, tmp_path: Path
) -> None:
    repository.rotate_root("root")
    fetch(mirror.url)
    for name, data in exported(named_source(mirror.url), "tuf").items():
        assert repository.files[name] == data
        (tmp_path / "carried" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "carried" / name).write_bytes(data)
    done = fetch("https://x.example", pin=repository.first_root, mirror=str(tmp_path / "carried"))
    assert done.checked.versions.root == 2


def test_the_policy_controller_s_resource_holds_every_key() -> None:
    source = named_source("public")
    text = exported(source, "policy-controller")["trustroot.yaml"].decode()
    lines = text.splitlines()
    assert lines[:4] == [
        'apiVersion: "policy.sigstore.dev/v1alpha1"',
        'kind: "TrustRoot"',
        "metadata:",
        '  name: "countermark-public"',
    ]
    keys = [
        from_base64(json.loads(line.partition(": ")[2]), "key")
        for line in lines
        if line.lstrip(" -").startswith("publicKey:")
    ]
    root: TrustedRoot = source.trusted_root
    wanted = [log.public_key.to_pem().encode() for log in (*root.tlogs, *root.ctlogs)]
    assert keys == wanted
    assert text.count("certChain:") == len(
        (*root.certificate_authorities, *root.timestamp_authorities)
    )


@pytest.mark.parametrize(
    "name", ["https://sigstore.example.org:8443/path", "../x y/\n", "a" * 300, "ÄÖ.example"]
)
def test_names_of_resources_are_dns_labels(name: str) -> None:
    source = named_source("public")._replace(name=name)
    text = exported(source, "policy-controller")["trustroot.yaml"].decode()
    label = json.loads(text.splitlines()[3].partition(": ")[2])
    assert len(label) <= 63
    assert label.replace("-", "").isalnum()
    assert label.isascii()
    assert label == label.lower().strip("-")
