# SPDX-License-Identifier: Apache-2.0
"""`log shard` as an operator meets it: what it prints, and what it says when it cannot."""

import json
from pathlib import Path

import pytest

from countermark.app.data_dir import DataDir
from countermark.app.init import Passphrases, initialise
from countermark.app.instance import load_instance
from countermark.cli import main
from countermark.cli.exits import CONFIGURATION, OK
from countermark.drivers.system import SystemClock, SystemEntropy


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDir:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORDS", "online words")
    data_dir = DataDir.at(tmp_path / "data")
    passphrases = Passphrases(b"online words", b"offline words")
    initialise(data_dir, "http://localhost:7446", SystemClock(), SystemEntropy(), passphrases)
    return data_dir


def log(data: DataDir, *arguments: str) -> int:
    return main.run(["log", *arguments, "--data", str(data.path)])


def test_it_says_what_ended_and_what_began(
    data: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log(data, "shard", "--keys-passphrase", "env:WORDS") == OK
    told = capsys.readouterr()
    old, old_ct, new, new_ct = load_instance(data.instance_file).logs
    assert told.out.splitlines() == [
        f"frozen rekor-v1-1  {old.origin}  2 entries",
        f"frozen ct-main  {old_ct.origin}  0 entries",
        f"opened rekor-v1-2  {new.origin}",
        f"opened ct-main-2  {new_ct.origin}",
    ]
    assert told.err == ""
    assert log(data, "info") == OK
    shown = capsys.readouterr().out
    assert f"rekor-v1-1  {old.origin}  frozen\n" in shown
    assert f"rekor-v1-2  {new.origin}\n" in shown


def test_a_wrong_passphrase_changes_nothing(
    data: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_instance(data.instance_file)
    assert log(data, "shard") == CONFIGURATION
    assert "passphrase" in capsys.readouterr().err
    assert load_instance(data.instance_file) == before
    assert log(data, "info") == OK


def test_what_was_interrupted_is_named_and_finished(
    data: DataDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("countermark.app.shards.save_instance", full)
        assert log(data, "shard", "--keys-passphrase", "env:WORDS") == CONFIGURATION
    told = capsys.readouterr().err
    assert "cannot be changed: No space left on device" in told
    assert "run the same again" in told
    assert log(data, "info") == OK  # nothing had begun

    with monkeypatch.context() as patch:
        patch.setattr("countermark.app.shards.write_trust_files", full)
        assert log(data, "shard", "--keys-passphrase", "env:WORDS") == CONFIGURATION
    capsys.readouterr()
    assert log(data, "info") == CONFIGURATION
    told = capsys.readouterr().err
    assert "new shards are being opened" in told
    assert "run countermark log shard again" in told

    data.local_secret_file.chmod(0o644)
    assert log(data, "shard", "--keys-passphrase", "env:WORDS") == CONFIGURATION
    assert "other users can reach secrets" in capsys.readouterr().err
    data.local_secret_file.chmod(0o600)
    assert log(data, "shard", "--json", "--keys-passphrase", "env:WORDS") == OK
    report = json.loads(capsys.readouterr().out)
    config = load_instance(data.instance_file)
    assert [each["origin"] for each in report["opened"]] == [
        each.origin for each in config.logs[2:]
    ]
    assert [each["treeSize"] for each in report["frozen"]] == [2, 0]
    assert {len(each["rootHash"]) for each in report["frozen"]} == {64}
    assert {each["until"][-1] for each in report["frozen"]} == {"Z"}


def test_an_empty_directory_is_no_instance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    assert log(DataDir.at(tmp_path / "none"), "shard") == CONFIGURATION
    assert "there is no instance" in capsys.readouterr().err
