# SPDX-License-Identifier: Apache-2.0
"""The steps from layout to layout: complete, harmless when done again, the version written last."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from countermark.app import upgrade as upgrading
from countermark.app.data_dir import VERSION, DataDir
from countermark.app.instance import load_instance, new_instance, save_instance
from countermark.app.upgrade import STEPS, Step, take_step, upgrade
from countermark.core.errors import SettingsError


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    made = DataDir.at(tmp_path / "data")
    made.make_folders()
    config = new_instance("http://localhost:7446", datetime(2026, 1, 2, tzinfo=UTC), 7)
    save_instance(made.instance_file, config)
    return made


def _as_layout_1(data_dir: DataDir) -> None:
    """What the first layout did not say goes."""
    text = json.loads(data_dir.instance_file.read_bytes())
    for log in text["logs"]:
        del log["frozen"], log["opened"]
    data_dir.instance_file.write_text(json.dumps(text))
    data_dir.write_version(1)


def test_there_is_a_step_from_every_layout_to_the_next() -> None:
    assert sorted(STEPS) == list(range(1, VERSION))


def test_first_layout_is_read_as_it_is_and_upgraded(data_dir: DataDir) -> None:
    config = load_instance(data_dir.instance_file)
    _as_layout_1(data_dir)
    assert load_instance(data_dir.instance_file) == config
    said: list[str] = []
    upgrade(data_dir, said.append)
    assert data_dir.version() == VERSION
    assert load_instance(data_dir.instance_file) == config
    assert all("frozen" in log for log in json.loads(data_dir.instance_file.read_bytes())["logs"])
    assert len(said) == VERSION - 1
    assert said[0].startswith(f"upgrading {data_dir.path} from layout 1 to 2: ")


def test_current_layout_is_left_alone(data_dir: DataDir) -> None:
    data_dir.write_version()
    said: list[str] = []
    before = data_dir.instance_file.stat().st_ino
    upgrade(data_dir, said.append)
    assert said == []
    assert data_dir.instance_file.stat().st_ino == before


def test_newer_layout_is_refused(data_dir: DataDir) -> None:
    data_dir.write_version(VERSION + 1)
    with pytest.raises(SettingsError, match="newer Countermark"):
        upgrade(data_dir, print)


@pytest.mark.parametrize("number", sorted(STEPS))
def test_every_step_can_be_taken_again(data_dir: DataDir, number: int) -> None:
    _as_layout_1(data_dir)
    for before in range(1, number + 1):
        take_step(data_dir, before, print)
    once = data_dir.instance_file.read_bytes()
    take_step(data_dir, number, print)
    assert data_dir.instance_file.read_bytes() == once


def test_version_stays_at_the_step_that_failed(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: DataDir) -> None:
        raise OSError(28, "No space left on device")

    _as_layout_1(data_dir)
    monkeypatch.setattr(upgrading, "VERSION", VERSION + 1)
    monkeypatch.setitem(STEPS, VERSION, Step("fails", full))
    with pytest.raises(OSError, match="No space left"):
        upgrade(data_dir, print)
    assert data_dir.version() == VERSION
