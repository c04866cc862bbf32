# SPDX-License-Identifier: Apache-2.0
"""The registry of instances: what is written is read, by nobody else, and believed only then."""

import json
import os
import threading
from pathlib import Path

import pytest

from countermark.client.instances import home_dir, load_instances, record_instance
from countermark.core.errors import FormatError, SettingsError

URL = "http://localhost:7446"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def record(url: str, data_dir: Path | str, root: bytes = b"root") -> None:
    record_instance(
        url, data_dir, trusted_root_json=root, signing_config_json=b"config", tuf_root_json=b"tuf"
    )


def test_no_registry_means_no_instances(home: Path) -> None:
    assert load_instances() == []
    assert not home.exists()


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    record(URL + "/", tmp_path / "data", '{"é": "🔏"}'.encode())
    (found,) = load_instances()
    assert found.url == URL
    assert found.data_dir == str(tmp_path / "data")
    assert found.trusted_root_json == '{"é": "🔏"}'.encode()
    assert (found.signing_config_json, found.tuf_root_json) == (b"config", b"tuf")


def test_recording_again_refreshes(tmp_path: Path) -> None:
    record(URL, tmp_path, b"old")
    record(URL, tmp_path, b"new")
    assert [found.trusted_root_json for found in load_instances()] == [b"new"]


def test_two_instances_that_shared_a_port_are_both_kept_last_one_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(URL, tmp_path / "first", b"first")
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    record(URL, tmp_path / "second", b"second")
    assert [found.trusted_root_json for found in load_instances()] == [b"second", b"first"]


def test_the_oldest_of_too_many_are_forgotten(tmp_path: Path) -> None:
    for number in range(70):
        record(URL, tmp_path / str(number))
    kept = load_instances()
    assert len(kept) == 64
    assert kept[0].data_dir.endswith("69")


def test_instances_that_come_and_go_do_not_push_out_a_pinned_one(tmp_path: Path) -> None:
    record("https://pinned.example", "")
    for number in range(70):
        record(URL, tmp_path / str(number))
    kept = load_instances()
    assert len(kept) == 64
    assert [found.url for found in kept if not found.data_dir] == ["https://pinned.example"]


def test_nobody_else_may_read_or_write_it(home: Path, tmp_path: Path) -> None:
    record(URL, tmp_path)
    assert (home / "instances.json").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o077 == 0


def test_a_registry_that_others_may_write_is_not_believed(home: Path, tmp_path: Path) -> None:
    record(URL, tmp_path)
    (home / "instances.json").chmod(0o660)
    with pytest.raises(SettingsError, match="written by others"):
        load_instances()


def test_a_newer_registry_is_left_alone(home: Path, tmp_path: Path) -> None:
    record(URL, tmp_path)
    path = home / "instances.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "version": 2}))
    with pytest.raises(SettingsError, match="newer version"):
        record(URL, tmp_path)
    assert json.loads(path.read_text())["version"] == 2


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"version": 1, "instances": [{}]}', b"\xff"]
)
def test_a_damaged_registry_says_so(home: Path, damage: bytes) -> None:
    home.mkdir()
    path = home / "instances.json"
    path.write_bytes(damage)
    path.chmod(0o600)
    with pytest.raises(FormatError, match="damaged"):
        load_instances()


def test_instances_that_come_up_together_are_all_recorded(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=record, args=(f"http://localhost:{port}", tmp_path))
        for port in range(7000, 7016)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load_instances()) == 16


def test_the_home_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERMARK_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", "/home/a")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert home_dir() == os.path.join("/data", "countermark")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert home_dir() == "/home/a/.local/share/countermark"
