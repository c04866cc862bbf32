# SPDX-License-Identifier: Apache-2.0
"""`countermark trust …`: what the commands say and leave behind, and what `verify` makes of it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from countermark.cli import verify_command
from countermark.cli.exits import CONFIGURATION, MALFORMED, NO_ARTIFACT, NOT_PROVEN, USAGE
from countermark.cli.main import run
from countermark.cli.trust_install import surroundings
from countermark.client.instances import load_instances
from countermark.client.trust.kept import kept_path
from countermark.client.trust.shipped import shipped_trust
from countermark.core.errors import SettingsError
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge
from tests.support.tuf_mirror import Mirror, Repository, changed, mirror_of, now

FORGE, OTHER = Forge(), Forge()
WHO = ("--identity", NAME, "--issuer", ISSUER)
CONFIG = shipped_trust("public")[1]
Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "registry"))
    person = tmp_path / "person"
    person.mkdir()
    monkeypatch.setenv("HOME", str(person))
    for name in ("TUF_ROOT", "XDG_DATA_HOME", "XDG_CACHE_HOME", "COUNTERMARK_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(ARTIFACT)
    Path("file.sigstore.json").write_bytes(FORGE.bundle().serialize())
    return tmp_path


@pytest.fixture
def repository() -> Repository:
    made = Repository()
    root = FORGE.trusted_root().serialize()
    made.publish({"trusted_root.json": root, "signing_config.v0.2.json": CONFIG})
    Path("1.root.json").write_bytes(made.first_root)
    return made


@pytest.fixture
def mirror(repository: Repository) -> Iterator[Mirror]:
    with mirror_of(repository.files) as mirror:
        yield mirror


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a trust command with --json; gives its object, which names the error if there is one."""

    def trust(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert run(["trust", *arguments, "--json"]) == code, capsys.readouterr()
        return json.loads(capsys.readouterr().out)

    return trust


@pytest.fixture
def known(mirror: Mirror, ask: Ask) -> str:
    ask("fetch", mirror.url, "--root", "1.root.json")
    return mirror.url


def test_fetched_from_a_root_file_and_then_verified_with(
    known: str, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.asked.clear()
    assert verify_command.run(["file", *WHO]) == 0
    said = capsys.readouterr()
    assert (said.out.rstrip().endswith(f"root {known}"), said.err) == (True, "")
    assert not mirror.asked, "verifying asks nobody"


def test_fetched_from_a_checksum(repository: Repository, mirror: Mirror, ask: Ask) -> None:
    checksum = hashlib.sha256(repository.first_root).hexdigest()
    wrong = ask("fetch", mirror.url, "--root-checksum", "0" * 64, code=NOT_PROVEN)
    assert checksum in wrong["error"]["message"]
    assert not load_instances()
    done = ask("fetch", mirror.url, "--root-checksum", checksum)
    assert done["instances"][0]["changed"]
    ask("fetch", mirror.url, "--root", "1.root.json", "--root-checksum", checksum)
    address = f"{mirror.url}/tuf/1.root.json"
    ask("fetch", mirror.url, "--root", address, "--root-checksum", checksum)
    bad = ask("fetch", mirror.url, "--root", "1.root.json", "--root-checksum", "00", code=USAGE)
    assert "checksum" in bad["error"]["message"]


def test_a_root_over_the_network_needs_a_checksum(mirror: Mirror, ask: Ask) -> None:
    done = ask("fetch", mirror.url, "--root", f"{mirror.url}/tuf/1.root.json", code=USAGE)
    assert "--root-checksum" in done["error"]["hint"]
    assert not mirror.asked
    done = ask("fetch", mirror.url, code=CONFIGURATION)
    assert "--root FILE" in done["error"]["hint"]
    assert not mirror.asked


def test_roots_that_are_no_roots(mirror: Mirror, ask: Ask, folder: Path) -> None:
    ask("fetch", mirror.url, "--root", "absent", code=NO_ARTIFACT)
    ask("fetch", mirror.url, "--root", str(folder), code=CONFIGURATION)
    Path("large").write_bytes(bytes(300 * 1024))
    ask("fetch", mirror.url, "--root", "large", code=USAGE)
    Path("garbage").write_text("{}")
    ask("fetch", mirror.url, "--root", "garbage", code=MALFORMED)
    assert not mirror.asked


def test_all_that_are_followed_are_refreshed(
    known: str, repository: Repository, mirror: Mirror, ask: Ask
) -> None:
    second = Repository()
    second.publish({"trusted_root.json": OTHER.trusted_root().serialize()})
    Path("2.root.json").write_bytes(second.first_root)
    with mirror_of(second.files) as other:
        ask("fetch", other.url, "--root", "2.root.json")
        root = changed(FORGE.trusted_root().serialize())
        repository.publish({"trusted_root.json": root})
        done = {item["url"]: item for item in ask("fetch")["instances"]}
        assert {url: item["changed"] for url, item in done.items()} == {
            known: True,
            other.url: False,
        }
        second.files.clear()
        done = {item["url"]: item for item in ask("fetch", code=69)["instances"]}
        assert done[other.url]["error"]["code"] == "upstream-down"
        assert "error" not in done[known]
    one = ask("fetch", "--tuf-url", "https://x.example", code=USAGE)
    assert "one instance" in one["error"]["message"]


def test_nothing_to_refresh(ask: Ask) -> None:
    assert "--root FILE" in ask("fetch", code=CONFIGURATION)["error"]["hint"]


def test_shown_for_people_and_programs(
    known: str, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = {item["name"]: item for item in ask("show")["sources"]}
    assert list(sources) == [known, "public", "staging"]
    assert sources[known]["versions"]["root"] == 1
    assert not sources[known]["expired"]
    (ca,) = [p for p in sources[known]["parties"] if p["kind"] == "certificate-authority"]
    assert len(ca["keyId"]) == 64
    assert run(["trust", "show", known]) == 0
    shown = capsys.readouterr().out
    assert f"from        TUF repository {known}/tuf" in shown
    assert "good until" in shown
    assert run(["trust", "show", "public"]) == 0
    shown = capsys.readouterr().out
    assert "https://rekor.sigstore.dev" in shown
    assert "(not for new signatures)" in shown
    ask("show", "https://unknown.example", code=CONFIGURATION)


def test_what_does_not_hold_is_shown_as_that(known: str, ask: Ask) -> None:
    path = Path(kept_path(known))
    path.write_text(path.read_text().replace("sigstore", "sigst0re", 1))
    shown = ask("show", code=CONFIGURATION)["sources"][0]
    assert "does not hold" in shown["fault"]
    ask("show", known, code=NOT_PROVEN)
    ask("export", known, "-o", "root.json", code=NOT_PROVEN)
    assert not Path("root.json").exists()


def test_expired_metadata_is_told_and_refused_on_demand(
    repository: Repository,
    mirror: Mirror,
    ask: Ask,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository.timestamp.expires = now() + timedelta(days=7)
    repository.publish()
    ask("fetch", mirror.url, "--root", "1.root.json")
    strict = ["file", *WHO, "--max-trust-age", "3"]
    assert verify_command.run(strict) == 0
    clock = load_instances()[0].recorded_at_s
    monkeypatch.setattr("time.time", lambda: clock + 5 * 86_400.0)
    capsys.readouterr()
    assert verify_command.run(["file", *WHO]) == 0
    assert capsys.readouterr().err == ""
    assert verify_command.run(strict) == NOT_PROVEN
    assert "last refreshed 5 days ago" in capsys.readouterr().err
    monkeypatch.setattr("time.time", lambda: clock + 8 * 86_400.0)
    assert verify_command.run(["file", *WHO, "--json"]) == 0
    said = capsys.readouterr()
    (result,) = json.loads(said.out)["results"]
    assert "expired on" in result["trustNote"]
    assert "used as it was known then" in said.err
    assert verify_command.run(["file", *WHO, "--max-trust-age", "99"]) == NOT_PROVEN
    assert "expired on" in capsys.readouterr().err


def test_a_limit_of_age_checks_the_whole_chain_again(
    known: str, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = ["file", *WHO, "--max-trust-age", "3"]
    path = Path(kept_path(known))
    original = path.read_text()
    path.write_text(original.replace("sigstore", "sigst0re", 1))
    assert verify_command.run(strict) == NOT_PROVEN
    assert "does not hold" in capsys.readouterr().err
    path.unlink()
    assert verify_command.run(strict) == NO_ARTIFACT
    Path("root.json").write_bytes(FORGE.trusted_root().serialize())
    assert verify_command.run([*strict, "--trusted-root", "root.json"]) == NOT_PROVEN
    assert "nothing says how old" in capsys.readouterr().err
    for bad in ("-1", "x", "1.5", "٣", "9999999"):
        assert verify_command.run(["file", *WHO, "--max-trust-age", bad]) == USAGE


def test_exported_and_merged_and_verified_with(
    known: str, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["trust", "export", known]) == 0
    assert capsys.readouterr().out.encode() == FORGE.trusted_root().serialize()
    ask("export", known, code=USAGE)
    done = ask("export", known, "--format", "cosign", "-o", "for-cosign")
    assert sorted(Path(name).name for name in done["files"]) == [
        *("signing_config.v0.2.json", "trusted_root.json"),
    ]
    refused = ask("export", known, "--format", "cosign", "-o", "for-cosign", code=USAGE)
    assert refused["error"]["hint"] == "use --overwrite to replace it"
    ask("export", known, "--format", "cosign", "-o", "for-cosign", "--overwrite")
    Path("other.json").write_bytes(OTHER.trusted_root().serialize())
    ask("merge", known, "other.json", "public", "-o", "merged.json")
    ask("merge", known, "other.json", "-o", "merged.json", code=USAGE)
    shown = ask("show", "merged.json")["sources"][0]
    assert len(shown["parties"]) > 10
    assert verify_command.run(["file", *WHO, "--trusted-root", "merged.json"]) == 0
    assert f"root merged.json: {known}" in capsys.readouterr().out
    Path("file.sigstore.json").write_bytes(OTHER.bundle().serialize())
    assert verify_command.run(["file", *WHO, "--trusted-root", "merged.json"]) == 0
    assert "root merged.json: other.json" in capsys.readouterr().out
    Path("file.sigstore.json").write_bytes(Forge().bundle().serialize())
    assert verify_command.run(["file", *WHO, "--trusted-root", "merged.json"]) == NOT_PROVEN


def test_carried_to_a_machine_without_a_network(
    known: str, ask: Ask, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("export", known, "--format", "tuf", "-o", "stick")
    monkeypatch.setenv("COUNTERMARK_HOME", str(folder / "elsewhere"))
    ask("fetch", "https://s.example", "--root", "1.root.json", "--from", "stick")
    assert verify_command.run(["file", *WHO, "--max-trust-age", "1"]) == 0
    assert ask("show", "https://s.example")["sources"][0]["versions"]["root"] == 1


def test_installed_examined_and_undone(known: str, ask: Ask, folder: Path) -> None:
    home = folder / "person"
    done = ask("install", "--for", "cosign")
    assert [Path(path).name for path in done["written"]] == ["root.json", "remote.json"]
    findings = ask("doctor", "--for", "cosign", "--offline")["findings"]
    assert not [item for item in findings if item["grade"] == "error"]
    assert ask("uninstall", "--for", "cosign", "--url", f"{known}/")["left"] == []
    assert list(home.iterdir()) == []
    ask("uninstall", "--for", "cosign", code=NO_ARTIFACT)
    findings = ask("doctor", "--for", "cosign", "--offline", code=CONFIGURATION)["findings"]
    assert any("install --for cosign" in item["todo"] for item in findings)
    assert ask("install", "--for", "npm")["written"] == []
    assert 'kind: "TrustRoot"' in ask("install", "--for", "policy-controller")["how"]
    ask("install", "--for", "java", code=USAGE)
    ask("doctor", "--for", "java", code=USAGE)
    ask("doctor", "--url", "https://unknown.example", code=USAGE)
    Path("root.json").write_bytes(FORGE.trusted_root().serialize())
    ask("install", "--for", "cosign", "--url", "root.json", code=USAGE)


def test_which_instance_is_asked_if_there_are_several(known: str, ask: Ask, mirror: Mirror) -> None:
    ask("fetch", "https://b.example", "--root", "1.root.json", "--from", f"{mirror.url}/tuf")
    refused = ask("install", "--for", "cosign", code=CONFIGURATION)
    assert known in refused["error"]["hint"]
    ask("install", "--for", "cosign", "--url", "https://b.example")


def test_the_doctor_speaks_to_people(
    known: str, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.files.pop("timestamp.json")
    capsys.readouterr()
    assert run(["trust", "doctor"]) == CONFIGURATION
    said = capsys.readouterr().out
    assert "it is no TUF repository" in said
    assert "→ name the right one with --tuf-url" in said


def test_the_home_of_another_is_refused(
    known: str, ask: Ask, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder / "absent"))
    ask("install", "--for", "cosign", code=NO_ARTIFACT)
    monkeypatch.setenv("HOME", str(folder / "person"))
    monkeypatch.setattr("os.geteuid", lambda: 4_000_000)
    with pytest.raises(SettingsError, match="belongs to another user"):
        surroundings()


def test_forgotten(known: str, ask: Ask) -> None:
    assert ask("forget", known)["forgotten"]
    assert not Path(kept_path(known)).exists()
    ask("forget", known, code=NO_ARTIFACT)
    assert verify_command.run(["file", *WHO]) == NOT_PROVEN


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trust", "--help"]) == 0
    assert "Whom to trust" in capsys.readouterr().out
    for name in ("fetch", "show", "export", "merge", "install", "uninstall", "doctor", "forget"):
        assert run(["trust", name, "--help"]) == 0
        assert "Example: countermark trust" in " ".join(capsys.readouterr().out.split())
    assert run(["trust", "nothing"]) == USAGE
