# SPDX-License-Identifier: Apache-2.0
"""What the previous release wrote goes on to work, and it refuses what this one wrote."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from countermark.app.data_dir import VERSION, DataDir
from countermark.core.bundle.trusted_root import TransparencyLog
from tests.fault.test_kill import check_entries
from tests.support.instance import Instance
from tests.support.load import Acknowledged, Load, local_token
from tests.support.previous_release import LAYOUT, PreviousInstance, unpack

pytestmark = pytest.mark.xdist_group("instance")

ROOT = Path(__file__).parents[2]
# Upgrades the directory, unless it is killed before change number ARGV[2].
KILLED_UPGRADE = """
import sys
from countermark.app.data_dir import DataDir
from countermark.app.upgrade import upgrade
from tests.fault.init_kills import KillBefore
data_dir = DataDir.at(sys.argv[1])
sys.addaudithook(KillBefore(int(sys.argv[2])))
upgrade(data_dir, print)
"""


@dataclass(frozen=True)
class Previous:
    """What the previous release left: a stopped instance with entries in both logs."""

    folder: Path
    source: Path
    port: int
    log: TransparencyLog
    seen: Acknowledged

    def copy(self, folder: Path) -> Instance:
        """The same instance in another folder, for this release."""
        ignored = shutil.ignore_patterns("keeper.sock")
        shutil.copytree(self.folder / "data", folder / "data", ignore=ignored)
        instance = Instance(folder, "--workers", "1")
        instance.port, instance.url = self.port, f"http://localhost:{self.port}"
        return instance


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Previous:
    folder = tmp_path_factory.mktemp("previous")
    source = unpack(folder / "release")
    with PreviousInstance(folder, source, "--workers", "1") as instance:
        log = instance.trusted_root().tlogs[0]
        token = local_token(instance.port, instance.data_dir.read_local_secret())
        with Load(instance.port, log, token, posters=2, signers=1) as load:
            deadline = time.monotonic() + 30
            while len(load.seen.entries) < 40 or not load.seen.certificates:
                assert time.monotonic() < deadline, "the previous release logs nothing"
                time.sleep(0.01)
    assert instance.data_dir.version_file.read_text() == f"{LAYOUT}\n"
    assert load.seen.wrong == []
    return Previous(folder, source, instance.port, log, load.seen)


def test_upgraded_instance_holds_all_and_the_old_program_refuses_it(
    previous: Previous, tmp_path: Path
) -> None:
    instance = previous.copy(tmp_path)
    data_dir = instance.data_dir
    keys = _digests(data_dir.keys) | _digests(data_dir.offline)

    # Commands that only look read the older layout as it is.
    data = ("--data", str(data_dir.path))
    assert instance.command("log", "fsck", *data).returncode == 0
    assert data_dir.version() == LAYOUT

    with instance:
        assert f"from layout {LAYOUT} to {LAYOUT + 1}" in instance.said()
        assert data_dir.version() == VERSION
        check_entries(instance, previous.log, previous.seen, previous.seen.entries)
        token = local_token(instance.port, data_dir.read_local_secret())
        with Load(instance.port, previous.log, token, posters=1, signers=1) as load:
            load.wait_for_more()
        assert load.seen.wrong == []
        known = previous.seen.entries
        assert not {entry.log_index for entry in load.seen.entries.values()} & {
            entry.log_index for entry in known.values()
        }
    checked = instance.command("log", "fsck", *data)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert _digests(data_dir.keys) | _digests(data_dir.offline) == keys
    assert "upgrading" not in instance.command("init", *data).stderr  # once is enough

    old = PreviousInstance(tmp_path, previous.source)
    for words in (("up", "--port", str(previous.port)), ("init",), ("log", "fsck"), ("status",)):
        refused = old.command(*words, *data)
        assert refused.returncode == 78
        assert f"written by a newer Countermark (layout {VERSION}" in refused.stderr


def test_backup_is_made_before_the_upgrade_and_restored_after(
    previous: Previous, tmp_path: Path
) -> None:
    instance = previous.copy(tmp_path)
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    made = instance.command("backup", str(backup), "--data", str(instance.data_dir.path))
    assert made.returncode == 0, made.stderr
    assert instance.data_dir.version() == LAYOUT
    done = instance.command("restore", str(backup), "--data", str(restored))
    assert done.returncode == 0, done.stderr
    assert f"from layout {LAYOUT} to {LAYOUT + 1}" in done.stderr
    assert DataDir.at(restored).version() == VERSION
    checked = instance.command("log", "fsck", "--data", str(restored))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_instance_that_runs_under_the_previous_release_says_how_to_be_backed_up(
    previous: Previous, tmp_path: Path
) -> None:
    instance = previous.copy(tmp_path)
    old = PreviousInstance(tmp_path, previous.source, "--workers", "1")
    old.port, old.url = instance.port, instance.url
    with old:
        made = instance.command("backup", str(tmp_path / "b"), "--data", str(old.data_dir.path))
        assert made.returncode == 75
        assert "of another release" in made.stderr
        assert [path.name for path in tmp_path.glob("b*")] == []
        old.wait("ready", old.is_ready)


def test_upgrade_killed_before_any_change_is_finished_by_the_next_run(
    previous: Previous, tmp_path: Path
) -> None:
    versions = []
    for change in range(1000):
        instance = previous.copy(tmp_path / str(change))
        data_dir = instance.data_dir
        done = subprocess.run(
            [sys.executable, "-c", KILLED_UPGRADE, str(data_dir.path), str(change)],
            cwd=ROOT,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        version = data_dir.version()
        assert version is not None
        versions.append(version)
        finished = instance.command("init", "--data", str(data_dir.path))
        assert finished.returncode == 0, finished.stderr
        assert data_dir.version() == VERSION
        assert not list(data_dir.path.glob(".*"))
        if done.returncode == 0:
            break
    assert len(versions) > 4 * (VERSION - LAYOUT), "does the hook see the changes?"
    assert versions == sorted(versions)
    assert set(range(LAYOUT, VERSION + 1)) == set(versions)
    checked = instance.command("log", "fsck", "--data", str(data_dir.path))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _digests(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder.parent)): hashlib.sha256(path.read_bytes()).digest()
        for path in folder.rglob("*")
    }
