# SPDX-License-Identifier: Apache-2.0
"""The doctor names what is wrong, and what to do, and nothing where nothing is wrong."""

import json
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from countermark.client.instances import home_dir
from countermark.client.trust.doctor import (
    Finding,
    examine,
    examine_modes,
    examine_registry,
    find_program,
)
from countermark.client.trust.following import Followed, fetch
from countermark.client.trust.installing import install
from countermark.client.trust.kept import kept_path
from countermark.client.trust.patients import examine_client
from countermark.client.trust.peers import Anchor, Surroundings, plan_for
from countermark.client.trust.sources import Source, all_sources, named_source
from tests.support.tuf_mirror import (
    Mirror,
    Misbehaviour,
    Repository,
    changed,
    dripping,
    dripping_headers,
    hanging_up,
)


def clock() -> datetime:
    """The mirror tells the time: what collecting tests took must not count."""
    return datetime.now(UTC)


def errors(findings: Iterable[Finding]) -> list[str]:
    """What is wrong; every error says what to do."""
    found = list(findings)
    assert all(finding.todo for finding in found if finding.grade == "error"), found
    return [finding.what for finding in found if finding.grade == "error"]


@pytest.fixture
def source(known: Followed, mirror: Mirror) -> Source:
    return named_source(mirror.url)


@pytest.fixture
def at(tmp_path: Path) -> Surroundings:
    home = tmp_path / "person"
    home.mkdir()
    return Surroundings(str(home), {}, os.path.join(home_dir(), "peers"), "linux")


def test_all_is_well(source: Source, mirror: Mirror) -> None:
    mirror.asked.clear()
    assert errors(examine(source, clock(), online=False)) == []
    assert not mirror.asked
    found = list(examine(source, clock(), online=True))
    assert errors(found) == []
    assert any("is the pinned repository" in finding.what for finding in found)
    assert errors(examine_registry(home_dir(), clock())) == []


def test_nothing_recorded_is_nothing_wrong(home: Path) -> None:
    assert errors(examine_registry(str(home), clock())) == []


def test_expired_metadata(source: Source, repository: Repository, mirror: Mirror) -> None:
    late = clock() + timedelta(days=400)
    (what,) = errors(examine(source, late, online=False))
    assert what.endswith("the root is used as it was known then")
    assert what.startswith("metadata expired on")


def test_a_stale_root(source: Source) -> None:
    tree = json.loads(source.trusted_root_json)
    for log in tree["tlogs"]:
        log["publicKey"]["validFor"]["end"] = "2025-04-01T00:00:00Z"
    ended = source._replace(trusted_root_json=json.dumps(tree).encode())
    (what,) = errors(examine(ended, clock(), online=False))
    assert "no log is believed about signatures of today" in what


def test_a_key_that_cannot_be_used_is_a_warning(source: Source) -> None:
    tree = json.loads(source.trusted_root_json)
    tree["tlogs"][0]["publicKey"]["keyDetails"] = "PKIX_ML_KEM"
    odd = source._replace(trusted_root_json=json.dumps(tree).encode())
    assert any("cannot be used" in item.what for item in examine(odd, clock(), online=False))


def test_a_root_that_is_not_followed(source: Source) -> None:
    shipped = {item.name: item for item in all_sources()}["public"]
    found = list(examine(shipped, clock(), online=False))
    assert [item.grade for item in found if "does not follow" in item.what] == ["warning"]


def test_a_clock_that_is_wrong(source: Source, mirror: Mirror) -> None:
    for change, way in ((timedelta(hours=-2), "behind"), (timedelta(hours=2), "ahead")):
        found = errors(examine(source, clock() + change, online=True))
        assert any(re.search(f"clock is 1(19|20|21) min {way}", what) for what in found), found


def test_a_mirror_that_is_gone_or_no_repository(source: Source, mirror: Mirror) -> None:
    mirror.misbehaviours["timestamp.json"] = hanging_up
    assert any("not reached" in what for what in errors(examine(source, clock(), online=True)))
    mirror.misbehaviours.clear()
    mirror.files.pop("timestamp.json")
    assert any(
        "no TUF repository" in what for what in errors(examine(source, clock(), online=True))
    )
    elsewhere = source._replace(tuf_url="http://localhost:1/tuf")
    assert any("not reached" in what for what in errors(examine(elsewhere, clock(), online=True)))


@pytest.mark.parametrize("how", [dripping, dripping_headers])
def test_a_mirror_that_never_ends(
    source: Source, mirror: Mirror, how: Misbehaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("countermark.client.trust.doctor._PATIENCE_S", 0.2)
    mirror.misbehaviours["timestamp.json"] = how
    found = errors(examine(source, clock(), online=True))
    assert found == ["the TUF repository is not reached: it takes too long"]


def test_a_mirror_that_shows_what_is_old_frozen_new_or_another_s(
    source: Source, mirror: Mirror, repository: Repository
) -> None:
    old = repository.files["timestamp.json"]
    repository.publish()
    found = list(examine(source, clock(), online=True))
    assert any("something newer" in item.what for item in found)
    fetch(mirror.url)
    newer = named_source(mirror.url)
    mirror.files["timestamp.json"] = old
    assert any("older state" in what for what in errors(examine(newer, clock(), online=True)))
    repository.timestamp.expires = clock().replace(microsecond=0) - timedelta(days=1)
    repository.timestamp.version += 1
    repository.sign_timestamp()
    assert any("frozen" in what for what in errors(examine(newer, clock(), online=True)))
    mirror.files["timestamp.json"] = Repository().files["timestamp.json"]
    found = list(examine(newer, clock(), online=True))
    assert any("not signed by the root that is trusted" in item.what for item in found)
    mirror.files["timestamp.json"] = b"{}"
    found = list(examine(newer, clock(), online=True))
    assert any("not signed by the root that is trusted" in item.what for item in found)


def test_services_that_do_not_answer(source: Source, mirror: Mirror) -> None:
    config = json.loads(named_source("public").signing_config_json)
    for kind in ("caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls"):
        config[kind] = [{**config[kind][0], "url": f"{mirror.url}/tuf/{kind}"}]
    config["caUrls"][0]["url"] = "http://localhost:1"
    with_services = source._replace(signing_config_json=json.dumps(config).encode())
    (what,) = errors(examine(with_services, clock(), online=True))
    assert "the service is not reached" in what
    unreadable = source._replace(signing_config_json=b"{}")
    assert any("cannot be read" in item.what for item in examine(unreadable, clock(), online=True))


def test_kept_metadata_that_does_not_hold(source: Source, mirror: Mirror) -> None:
    path = Path(kept_path(mirror.url))
    path.write_text(path.read_text().replace("sigstore", "sigst0re", 1))
    (what,) = errors(examine(all_sources()[0], clock(), online=True))
    assert "is not believed" in what


def test_who_may_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert "cannot be read" in next(iter(examine_modes(str(path)))).what
    path.touch(0o600)
    assert list(examine_modes(str(path))) == []
    path.chmod(0o620)
    assert [item.grade for item in examine_modes(str(path))] == ["warning"]
    path.chmod(0o602)
    assert errors(examine_modes(str(path))) == ["can be written by everybody"]
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        assert "belongs to another user" in errors(examine_modes(str(path)))


def anchor(source: Source) -> Anchor:
    return Anchor(1, source.tuf_root_json)


def look(client: str, source: Source, at: Surroundings) -> list[Finding]:
    return list(examine_client(client, source, [source.tuf_root_json], at, clock()))


@pytest.mark.parametrize("client", ["cosign", "python", "js"])
def test_a_client_that_is_set_up_is_well(client: str, source: Source, at: Surroundings) -> None:
    before = errors(look(client, source, at))
    assert any("does not know the instance" in what for what in before)
    install(client, source.name, plan_for(client, source, anchor(source), at))
    assert errors(look(client, source, at)) == []


@pytest.mark.parametrize("client", ["cosign", "python", "js"])
def test_a_client_that_believes_another_root(client: str, source: Source, at: Surroundings) -> None:
    other = source._replace(tuf_root_json=Repository().first_root)
    install(client, source.name, plan_for(client, source, anchor(other), at))
    assert any("none of this instance's" in what for what in errors(look(client, source, at)))


def test_a_client_with_an_old_root_or_none(source: Source, at: Surroundings) -> None:
    install("js", source.name, plan_for("js", source, anchor(source), at))
    roots = [source.tuf_root_json, b"a later one"]
    found = list(examine_client("js", source, roots, at, clock()))
    assert [item.grade for item in found if "old root" in item.what] == ["warning"]
    path = next(Path(at.home).rglob("root.json"))
    path.unlink()
    found = list(examine_client("js", source, roots, at, clock()))
    whats = errors(found)
    assert any("no root.json" in what for what in whats)
    assert any("was installed and is gone" in what for what in whats)


def test_what_a_client_has_in_its_cache(
    source: Source, at: Surroundings, trusted_root: bytes
) -> None:
    install("cosign", source.name, plan_for("cosign", source, anchor(source), at))
    mirror = next(Path(at.home).rglob("root.json")).parent
    targets = mirror / "targets"
    targets.mkdir()
    cached = targets / "trusted_root.json"
    cached.write_bytes(trusted_root)
    assert errors(look("cosign", source, at)) == []
    cached.write_bytes(changed(trusted_root))
    found = look("cosign", source, at)
    assert errors(found) == []
    assert any("another version" in item.what for item in found)
    cached.write_bytes(named_source("public").trusted_root_json)
    assert any("another instance" in what for what in errors(look("cosign", source, at)))
    cached.write_bytes(b"{}")
    assert any("damaged" in what for what in errors(look("cosign", source, at)))
    cached.unlink()
    for text, grade in (
        ('{"signed": {"expires": "2020-01-01T00:00:00Z"}}', "warning"),
        ("{}", "warning"),
        ('{"signed": {"expires": "2999-01-01T00:00:00Z"}}', None),
    ):
        (mirror / "timestamp.json").write_text(text)
        found = [item for item in look("cosign", source, at) if item.about == str(mirror)]
        assert (grade in [item.grade for item in found]) == (grade is not None)
    targets.chmod(0o777)
    assert "can be written by everybody" in errors(look("cosign", source, at))


def test_cosign_with_another_mirror(source: Source, at: Surroundings) -> None:
    install("cosign", source.name, plan_for("cosign", source, anchor(source), at))
    remote = Path(at.home) / ".sigstore/root/remote.json"
    remote.write_text('{"mirror": "https://evil.example\\u001b[2J"}')
    assert any("another mirror" in what for what in errors(look("cosign", source, at)))
    for damage in ("{", "[]", "7", "null"):
        remote.write_text(damage)
        assert any("damaged" in what for what in errors(look("cosign", source, at))), damage
    remote.unlink()
    assert any("uses the public instance" in what for what in errors(look("cosign", source, at)))


def test_variables_that_go_before_what_was_set_up(source: Source, at: Surroundings) -> None:
    install("cosign", source.name, plan_for("cosign", source, anchor(source), at))
    found = look("cosign", source, at._replace(environ={"TUF_MIRROR": "https://x.example"}))
    assert any("TUF_MIRROR is set" in item.what for item in found)
    found = look("gitsign", source, at._replace(environ={"GITSIGN_REKOR_URL": "https://x"}))
    assert any("GITSIGN_REKOR_URL is set" in item.what for item in found)


def test_gitsign(source: Source, at: Surroundings) -> None:
    assert any("which services" in item.what for item in look("gitsign", source, at))
    full = source._replace(signing_config_json=named_source("public").signing_config_json)
    assert any("does not name the CA" in what for what in errors(look("gitsign", full, at)))
    install("gitsign", full.name, plan_for("gitsign", full, None, at))
    found = look("gitsign", full, at)
    assert errors(found) == []
    assert any("SIGSTORE_REKOR_PUBLIC_KEY is not set" in item.what for item in found)
    told = at._replace(environ={"SIGSTORE_REKOR_PUBLIC_KEY": "x"})
    assert not [item for item in look("gitsign", full, told) if "is not set" in item.what]


def test_clients_that_are_not_set_up_from_here(source: Source, at: Surroundings) -> None:
    for client in ("npm", "policy-controller", "go"):
        assert errors(look(client, source, at)) == []
    install("go", source.name, plan_for("go", source, anchor(source), at))
    next(Path(at.own).rglob("trusted_root.json")).unlink()
    assert errors(look("go", source, at)) == ["was installed and is gone"]
    strange = source._replace(tuf_url="ftp://x")
    assert any("no plain address" in item.what for item in look("js", strange, at))


def test_programs_that_are_not_there(
    source: Source, at: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program("cosign") is None
    assert find_program("policy-controller") is None
    found = look("cosign", source, at)
    assert any("not on the PATH" in item.what for item in found)
