# SPDX-License-Identifier: Apache-2.0
"""Backups of a running instance, killed ones, full disks; and what a restored instance is like.

The oracle: fsck, every entry that was acknowledged before the backup began, with a valid proof,
bundles that were signed before, and no index that means two entries to anybody.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from countermark.app.data_dir import DataDir
from countermark.core.bundle.trusted_root import TransparencyLog
from tests.fault.test_kill import check_certificates, check_entries, check_history
from tests.support.instance import Instance
from tests.support.load import Acknowledged, Client, Load, local_token
from tests.support.small_disk import SmallDisk

pytestmark = pytest.mark.xdist_group("instance")


@contextmanager
def _load(
    instance: Instance, log: TransparencyLog | None = None, *, posters: int = 4
) -> Iterator[Load]:
    token = local_token(instance.port, instance.data_dir.read_local_secret())
    log = log or instance.trusted_root().tlogs[-1]
    with Load(instance.port, log, token, posters=posters, signers=1) as load:
        deadline = time.monotonic() + 30
        while not (load.seen.entries and load.seen.certificates):
            assert time.monotonic() < deadline, "nothing is acknowledged"
            time.sleep(0.01)
        yield load


def _so_far(seen: Acknowledged) -> Acknowledged:
    """What was acknowledged until now."""
    return Acknowledged(dict(seen.entries), dict(seen.heads), list(seen.certificates))


def _backup(instance: Instance, target: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return instance.command("backup", str(target), "--data", str(instance.data_dir.path), *options)


def _restored(instance: Instance, backup: Path, folder: Path) -> Instance:
    """The instance out of a backup, not up yet, at the URL of the original."""
    other = Instance(folder, "--workers", "1")
    other.port, other.url = instance.port, instance.url
    folder.mkdir(exist_ok=True)
    done = other.command("restore", str(backup), "--data", str(other.data_dir.path))
    assert done.returncode == 0, done.stderr
    return other


def _fsck(instance: Instance) -> None:
    checked = instance.command("log", "fsck", "--data", str(instance.data_dir.path))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_running_instance_backed_up_lost_and_restored(tmp_path: Path) -> None:
    bundle, artifact = tmp_path / "artifact.sigstore.json", tmp_path / "artifact"
    artifact.write_text("signed before the backup\n")
    backup = tmp_path / "backup"
    with Instance(tmp_path, "--workers", "2") as instance:
        email = ("--email", "ada@example.org")
        signed = instance.command("sign", "--url", instance.url, *email, str(artifact))
        assert signed.returncode == 0, signed.stderr
        assert bundle.exists()
        log = instance.trusted_root().tlogs[0]
        with _load(instance) as load:
            time.sleep(1.0)
            before = _so_far(load.seen)
            made = _backup(instance, backup, "--json")
            assert made.returncode == 0, made.stdout
            load.wait_for_more()
        assert load.seen.wrong == []
        everything = load.seen
        # Nothing of the backup stays in the data directory.
        assert list(instance.data_dir.checkpoints.iterdir()) == []
    sizes = {each["name"]: each["treeSize"] for each in json.loads(made.stdout)["logs"]}
    assert sizes["rekor-v1-1"] >= len(before.entries)
    lost = {
        entry_id: entry
        for entry_id, entry in everything.entries.items()
        if entry.log_index >= sizes["rekor-v1-1"]
    }
    assert lost, "nothing was logged after the backup"
    instance.data_dir.path.rename(tmp_path / "lost")

    other = _restored(instance, backup, tmp_path / "other")
    _fsck(other)
    check_certificates(other.data_dir, before)
    # One history: each head that anybody saw, as far as the backup goes, is in the restored log.
    kept = Acknowledged(
        {name: entry for name, entry in everything.entries.items() if name not in lost},
        {size: root for size, root in everything.heads.items() if size <= sizes["rekor-v1-1"]},
    )
    check_history(other.data_dir, kept)
    with other:
        check_entries(other, log, kept, kept.entries)
        verified = other.command(
            "verify", "--url", other.url, "--identity", "ada@example.org",
            "--issuer", f"{other.url}/oidc", str(artifact),
        )  # fmt: skip
        assert verified.returncode == 0, verified.stderr
        # Whatever is logged now is in another tree, behind all of the first one.
        with _load(other) as after:
            time.sleep(0.3)
        assert after.seen.wrong == []
        new = after.seen.entries
        assert {entry.log_id for entry in new.values()} != {log.log_id}
        assert min(entry.log_index for entry in new.values()) >= sizes["rekor-v1-1"]
        assert not new.keys() & everything.entries.keys()
        said = json.loads(_get(other, "/api/v1/log"))
        assert [shard["treeSize"] for shard in said["inactiveShards"]] == [sizes["rekor-v1-1"]]
        assert said["treeSize"] >= len(new)
        # An entry that is lost is nowhere; no other one is taken for it.
        client = Client(other.port)
        for entry_id in list(lost)[:5]:
            assert client.get(f"/api/v1/log/entries/{entry_id}")[0] == 404
        client.close()
    _fsck(other)


def test_every_backup_under_load_is_sound_and_restores(tmp_path: Path) -> None:
    """Publication goes on while files are copied; rounds are in a backup whole or not at all."""
    with Instance(tmp_path, "--workers", "1") as instance:
        log = instance.trusted_root().tlogs[0]
        with _load(instance, posters=8) as load:
            befores = []
            for number in range(4):
                befores.append(_so_far(load.seen))
                made = _backup(instance, tmp_path / f"backup-{number}")
                assert made.returncode == 0, made.stderr
        assert load.seen.wrong == []
        assert load.seen.failures == 0  # nobody was told to come back meanwhile
    for number, before in enumerate(befores):
        other = _restored(instance, tmp_path / f"backup-{number}", tmp_path / f"r{number}")
        _fsck(other)
        assert befores[number].count <= load.seen.count
        if number == 3:
            with other:
                check_entries(other, log, before, before.entries)


def test_killed_backup_declares_nothing(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with Instance(tmp_path, "--workers", "1") as instance:
        with _load(instance) as load:
            for delay in (0.1, 0.35, 0.45, 0.55, 0.7, 0.9):
                process = _start(
                    instance, "backup", str(backup), "--data", str(instance.data_dir.path)
                )
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                process.wait()
                if (backup / "backup.json").exists():  # it was faster
                    shutil.rmtree(backup)
                assert not backup.exists()
                unfinished = DataDir.at(tmp_path / "backup.unfinished")
                if unfinished.path.exists():
                    refused = instance.command(
                        "restore", str(unfinished.path), "--data", str(tmp_path / "none")
                    )
                    assert refused.returncode == 65, refused.stderr
                    assert not (tmp_path / "none").exists()
            load.wait_for_more()
        made = _backup(instance, backup)
        assert made.returncode == 0, made.stderr
        assert not (tmp_path / "backup.unfinished").exists()
        assert list(instance.data_dir.checkpoints.iterdir()) == []
    _restored(instance, backup, tmp_path / "other")


def test_interrupted_backup_cleans_up(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "1") as instance, _load(instance):
        backup = tmp_path / "backups" / "one"
        process = _start(instance, "backup", str(backup), "--data", str(instance.data_dir.path))
        instance.wait("begun", lambda: any((tmp_path / "backups").glob("*")))
        process.send_signal(signal.SIGINT)
        status = process.wait()
        if status != 0:  # else it was faster
            assert list((tmp_path / "backups").iterdir()) == []
        # The keeper, if it was still at it, takes away what nobody waits for.
        instance.wait("clean", lambda: not any(instance.data_dir.checkpoints.iterdir()), 20)


def test_backup_while_the_keeper_is_away(tmp_path: Path) -> None:
    """It waits for the next keeper, which is there within a second or two."""
    with Instance(tmp_path, "--workers", "1") as instance:
        instance.kill("keeper")
        made = _backup(instance, tmp_path / "backup")
        assert made.returncode == 0, made.stderr


def test_backup_to_a_full_disk(tmp_path: Path) -> None:
    with (
        SmallDisk.mount(tmp_path / "small", "300k") as disk,
        Instance(tmp_path, "--workers", "1") as instance,
        _load(instance),
    ):
        for _ in range(2):
            made = _backup(instance, disk.path / "backup")
            assert made.returncode == 78
            assert "o space left" in made.stderr
            assert list(disk.path.iterdir()) == []
        disk.remount("size=40m")
        made = _backup(instance, disk.path / "backup")
        assert made.returncode == 0, made.stderr


def test_disk_that_fills_while_a_backup_is_copied(tmp_path: Path) -> None:
    """Others write to it too, so the space that there was may be gone."""
    with Instance(tmp_path, "--workers", "1") as instance:
        instance.stop()
        whole = sum(path.stat().st_size for path in instance.data_dir.path.rglob("*"))
        with SmallDisk.mount(tmp_path / "small", f"{(whole + 200_000) // 1024}k") as disk:
            # Small files take whole pages of this disk, which no sum of sizes foresees.
            made = _backup(instance, disk.path / "backup")
            if made.returncode:
                assert made.returncode == 78
                assert "o space left" in made.stderr
                assert list(disk.path.iterdir()) == []
        instance.start()


def test_restore_to_a_full_disk(tmp_path: Path) -> None:
    """Known before anything is copied, found while files are copied, and after that."""
    with Instance(tmp_path, "--workers", "1") as instance:
        with _load(instance):
            pass
        made = _backup(instance, tmp_path / "backup", "--json")
        assert made.returncode == 0, made.stderr
    whole = json.loads(made.stdout)["bytes"]
    outcomes = []
    for spare in (-50_000, 20_000, 220_000, 320_000):
        folder = tmp_path / f"small-{spare}"
        with SmallDisk.mount(folder, f"{(whole + spare) // 4096 * 4}k") as disk:
            data = disk.path / "data"
            words = ("restore", str(tmp_path / "backup"), "--data", str(data))
            done = instance.command(*words)
            outcomes.append(done.returncode)
            if done.returncode:
                assert done.returncode in (69, 70, 78), done.stderr
                assert "o space left" in done.stderr
                assert {path.name for path in data.iterdir()} <= {"lock", "run"}
                disk.remount("size=40m")
                done = instance.command(*words)
                assert done.returncode == 0, done.stderr
            checked = instance.command("log", "fsck", "--data", str(data))
            assert checked.returncode == 0, checked.stderr
    assert outcomes[:2] == [78, 78]


def test_killed_restore_is_refused_by_up_and_can_be_run_again(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "1") as instance:
        with _load(instance):
            pass
        assert _backup(instance, tmp_path / "backup").returncode == 0
    states = set()
    for number, delay in enumerate((0.0, 0.2, 0.4, 0.6)):
        data = tmp_path / f"data-{number}"
        words = ("restore", str(tmp_path / "backup"), "--data", str(data))
        process = _start(instance, *words)
        _until(data / "restoring", process)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        complete = (data / "version").exists()
        states.add(complete)
        refused = instance.command("init", "--data", str(data))
        if complete:
            assert refused.returncode == 0, refused.stderr
        else:
            assert refused.returncode == 78
            assert "was not finished" in refused.stderr
            done = instance.command(*words)
            assert done.returncode == 0, done.stderr
        checked = instance.command("log", "fsck", "--data", str(data))
        assert checked.returncode == 0, checked.stderr
    assert False in states, "every kill came too late"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "db" / "CURRENT").write_text("x"), "CURRENT"),
        (lambda folder: (folder / "keys" / "ca.pem").unlink(), "ca.pem: is missing"),
        (lambda folder: (folder / "backup.json").write_text("{}"), "backup.json: is damaged"),
    ],
)
def test_damaged_backup_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    instance = Instance(tmp_path)
    data = ("--data", str(instance.data_dir.path))
    assert instance.command("init", *data).returncode == 0
    assert _backup(instance, tmp_path / "backup").returncode == 0
    damage(tmp_path / "backup")
    other = tmp_path / "other"
    refused = instance.command("restore", str(tmp_path / "backup"), "--data", str(other))
    assert refused.returncode == 65
    assert said in refused.stderr
    assert not other.exists() or {path.name for path in other.iterdir()} <= {"lock", "run"}

    refused = instance.command("restore", str(tmp_path / "backup"), *data)
    assert refused.returncode in (65, 78)  # and what is there is left alone
    assert instance.command("log", "fsck", *data).returncode == 0


def _start(instance: Instance, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "countermark", *words],
        env={**os.environ, **instance.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _until(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _get(instance: Instance, path: str) -> bytes:
    client = Client(instance.port)
    status, _, data = client.get(path)
    client.close()
    assert status == 200
    return data
