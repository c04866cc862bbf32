# SPDX-License-Identifier: Apache-2.0
"""Which directories are taken, which refused, and when secrets count as exposed."""

from pathlib import Path

import pytest

from countermark.app.data_dir import VERSION, DataDir, State
from countermark.core.errors import SettingsError


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    return DataDir.at(tmp_path / "data")


def test_missing_and_empty_directories_are_empty(data_dir: DataDir) -> None:
    assert data_dir.state() is State.EMPTY
    data_dir.path.mkdir()
    assert data_dir.state() is State.EMPTY
    data_dir.lock_file.touch()
    assert data_dir.state() is State.EMPTY


def test_strange_directory_is_refused(data_dir: DataDir) -> None:
    data_dir.path.mkdir()
    (data_dir.path / "thesis.tex").touch()
    with pytest.raises(SettingsError, match=r"neither empty .* \(it holds thesis.tex\)"):
        data_dir.state()


def test_file_in_place_of_the_directory_is_refused(data_dir: DataDir) -> None:
    data_dir.path.touch()
    with pytest.raises(SettingsError):
        data_dir.state()


def test_version_makes_it_complete(data_dir: DataDir) -> None:
    data_dir.make_folders()
    data_dir.unfinished_file.touch()
    assert data_dir.state() is State.UNFINISHED
    data_dir.write_version()
    assert data_dir.state() is State.COMPLETE


@pytest.mark.parametrize("version", [VERSION + 1, 99, 10**9])
def test_newer_layout_is_refused(data_dir: DataDir, version: int) -> None:
    data_dir.path.mkdir()
    data_dir.version_file.write_text(f"{version}\n")
    with pytest.raises(SettingsError, match="newer Countermark"):
        data_dir.state()


@pytest.mark.parametrize("text", ["", "\n", "0\n", "01\n", "-1\n", "1.0\n", "one\n", "1\n1\n"])
def test_damaged_version_is_refused(data_dir: DataDir, text: str) -> None:
    data_dir.path.mkdir()
    data_dir.version_file.write_text(text)
    with pytest.raises(SettingsError, match="is damaged"):
        data_dir.state()


def test_exposed_secrets_are_listed_with_the_remedy(data_dir: DataDir) -> None:
    data_dir.make_folders()
    data_dir.key_file("ca").touch(0o600)
    data_dir.local_secret_file.touch(0o600)
    data_dir.ca_chain_file.touch(0o644)  # certificates are no secret
    data_dir.check_secrecy()

    data_dir.key_file("ca").chmod(0o640)
    data_dir.db.chmod(0o701)
    with pytest.raises(SettingsError) as caught:
        data_dir.check_secrecy()
    message = str(caught.value)
    command = message.partition("run ")[2]
    assert command == f"chmod go= {data_dir.db} {data_dir.key_file('ca')}"


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_directory_that_others_may_write_is_refused(data_dir: DataDir, mode: int) -> None:
    """They could put folders of their own in place of ours: keys, secret, database."""
    data_dir.make_folders()
    data_dir.local_secret_file.touch(0o600)
    data_dir.path.chmod(0o755)
    data_dir.check_secrecy()
    data_dir.path.chmod(mode)
    with pytest.raises(SettingsError, match=f"chmod go-w {data_dir.path}$"):
        data_dir.check_secrecy()


@pytest.mark.parametrize("text", ["", "\n", "5f" * 31, "guess", "5F" * 32, "5f" * 32 + "0"])
def test_a_damaged_secret_is_refused(data_dir: DataDir, text: str) -> None:
    """A short one could be guessed."""
    data_dir.make_folders()
    data_dir.local_secret_file.touch(0o600)
    data_dir.local_secret_file.write_text("5f" * 32 + "\n")
    assert data_dir.read_local_secret() == "5f" * 32
    data_dir.local_secret_file.write_text(text)
    with pytest.raises(SettingsError, match="local-secret is damaged"):
        data_dir.read_local_secret()


def test_offline_folder_can_be_moved_away(data_dir: DataDir) -> None:
    data_dir.make_folders()
    data_dir.offline.rmdir()
    data_dir.local_secret_file.touch(0o600)
    data_dir.check_secrecy()


def test_relative_and_home_paths_become_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DataDir.at("data").path == tmp_path / "data"
    assert DataDir.at("~/data").path == tmp_path / "data"
