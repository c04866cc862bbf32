# SPDX-License-Identifier: Apache-2.0
"""Which instance signs: the order of flags, variables, configuration and registry."""

import json
import os
from pathlib import Path

import pytest

from countermark.client.choice import InstanceChoice, choose_instance
from countermark.client.instances import record_instance
from countermark.core.bundle.signing_config import SigningConfig, trust_config_to_json
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import FormatError, SettingsError, VerificationError

SHIPPED = Path(__file__).parents[3] / "src/countermark/trust_data"
ROOT = (SHIPPED / "public_good_trusted_root.json").read_bytes()
CONFIG = (SHIPPED / "public_good_signing_config.json").read_bytes()
NOTHING: dict[str, str] = {}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("COUNTERMARK_HOME", str(folder))
    return folder


@pytest.fixture
def trust_config(tmp_path: Path) -> Path:
    path = tmp_path / "trust_config.json"
    document = trust_config_to_json(TrustedRoot.parse(ROOT), SigningConfig.parse(CONFIG))
    path.write_text(json.dumps(document))
    return path


def record(url: str, data_dir: Path | str) -> None:
    record_instance(
        url, data_dir, trusted_root_json=ROOT, signing_config_json=CONFIG, tuf_root_json=b"{}"
    )


def test_with_nothing_at_all_the_choices_are_named() -> None:
    with pytest.raises(SettingsError, match="no instance to sign with") as raised:
        choose_instance(environ=NOTHING)
    (advice,) = raised.value.__notes__
    for way in ("countermark up", "--url", "--trust-config", "--instance public"):
        assert way in advice


def test_a_file_in_the_working_directory_is_not_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text('instance = "public"')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="no instance"):
        choose_instance(environ=NOTHING)


def test_the_instance_that_came_up_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record("http://localhost:1", tmp_path)
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    record("http://localhost:2", tmp_path)
    chosen = choose_instance(environ=NOTHING)
    assert (chosen.name, chosen.url) == ("http://localhost:2", "http://localhost:2")
    assert chosen.data_dir == str(tmp_path)
    assert chosen.trusted_root == TrustedRoot.parse(ROOT)


def test_an_instance_whose_data_is_gone_does_not_sign(tmp_path: Path) -> None:
    record("http://localhost:1", tmp_path / "deleted")
    with pytest.raises(SettingsError, match="no instance"):
        choose_instance(environ=NOTHING)


def test_public_is_used_when_asked_for_by_name() -> None:
    chosen = choose_instance(InstanceChoice(instance="public"), environ=NOTHING)
    assert chosen.name == "public"
    assert not chosen.data_dir
    assert chosen.signing_config == SigningConfig.parse(CONFIG)


def test_flags_before_variables_before_configuration_before_registry(
    home: Path, tmp_path: Path, trust_config: Path
) -> None:
    record("http://localhost:1", tmp_path)
    record("http://localhost:2", tmp_path)
    assert choose_instance(environ=NOTHING).name.startswith("http://localhost:")
    (home / "config.toml").write_text('instance = "public"')
    assert choose_instance(environ=NOTHING).name == "public"
    variables = {"COUNTERMARK_TRUST_CONFIG": str(trust_config)}
    assert choose_instance(environ=variables).name == str(trust_config)
    flags = InstanceChoice(url="http://localhost:1/")
    assert choose_instance(flags, environ=variables).name == "http://localhost:1"


def test_an_unknown_instance_is_not_asked_for_its_own_root() -> None:
    with pytest.raises(SettingsError, match="not an instance that you trust yet") as raised:
        choose_instance(InstanceChoice(url="https://sigstore.example"), environ=NOTHING)
    assert (
        "countermark trust fetch https://sigstore.example --root FILE" in raised.value.__notes__[0]
    )


def test_root_and_services_from_two_files(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(ROOT)
    (tmp_path / "config").write_bytes(CONFIG)
    both = InstanceChoice(
        trusted_root=str(tmp_path / "root"), signing_config=str(tmp_path / "config")
    )
    assert choose_instance(both, environ=NOTHING).trusted_root == TrustedRoot.parse(ROOT)
    with pytest.raises(SettingsError, match="both"):
        choose_instance(InstanceChoice(trusted_root=both.trusted_root), environ=NOTHING)


def test_an_instance_named_twice_is_a_mistake() -> None:
    twice = InstanceChoice(url="http://localhost:1", trust_config="x")
    with pytest.raises(SettingsError, match="more than one way"):
        choose_instance(twice, environ=NOTHING)


def test_a_trust_config_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(SettingsError, match="cannot be read"):
        choose_instance(InstanceChoice(trust_config=str(path)), environ=NOTHING)
    path.write_text("{}")
    with pytest.raises(FormatError, match="media type"):
        choose_instance(InstanceChoice(trust_config=str(path)), environ=NOTHING)


def test_all_faults_of_a_configuration_are_told_at_once(home: Path) -> None:
    (home / "config.toml").write_text('instanze = "public"\nurl = 7\n')
    with pytest.raises(SettingsError, match="unknown key 'instanze'; url is not text"):
        choose_instance(environ=NOTHING)


@pytest.mark.parametrize("text", ["url =", "a = " + "[" * 5000, "a = " + "9" * 5000, "a = \xff"])
def test_what_is_no_configuration_is_told(home: Path, text: str) -> None:
    (home / "config.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match="is not TOML"):
        choose_instance(environ=NOTHING)


def test_the_configuration_is_found_where_the_platform_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COUNTERMARK_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    os.makedirs(tmp_path / "countermark")
    (tmp_path / "countermark" / "config.toml").write_text('instance = "staging"')
    assert choose_instance(environ=NOTHING).name == "staging"


def test_a_fetched_instance_is_refreshed_once_a_day_and_checked_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from countermark.client.instances import load_instances
    from countermark.client.trust.following import fetch
    from countermark.client.trust.kept import kept_path
    from tests.support.tuf_mirror import Repository, mirror_of

    repository = Repository()
    targets = {"trusted_root.json": ROOT, "signing_config.v0.2.json": CONFIG}
    repository.publish(targets)
    with mirror_of(repository.files) as mirror:
        fetch(mirror.url, pin=repository.first_root)
        mirror.asked.clear()
        choice = InstanceChoice(url=mirror.url)
        assert choose_instance(choice, environ=NOTHING).signing_config == SigningConfig.parse(
            CONFIG
        )
        assert not mirror.asked
        later = load_instances()[0].recorded_at_s + 90_000
        monkeypatch.setattr("time.time", lambda: later)
        repository.publish({**targets, "trusted_root.json": ROOT + b"\n"})
        choose_instance(choice, environ=NOTHING)
        assert mirror.asked
        assert load_instances()[0].trusted_root_json == ROOT + b"\n"
        path = Path(kept_path(mirror.url))
        path.write_text(path.read_text().replace("sigstore", "sigst0re", 1))
        with pytest.raises(VerificationError, match="does not hold"):
            choose_instance(choice, environ=NOTHING)
        repository.publish({"trusted_root.json": ROOT})
        fetch(mirror.url)
        with pytest.raises(SettingsError, match="does not say which services"):
            choose_instance(choice, environ=NOTHING)
