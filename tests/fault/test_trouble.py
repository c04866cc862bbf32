# SPDX-License-Identifier: Apache-2.0
"""An instance in trouble: full and read-only disks, old backups, stopped and starved processes.

The oracle is the kill test's: fsck, every acknowledged entry there with a valid proof, every
tree head that was shown a state of the log; and a sentence that tells the operator.
"""

import json
import resource
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from countermark.app.asking import ask_status
from tests.fault.test_kill import check_entries, check_stopped
from tests.support.instance import Instance
from tests.support.load import Acknowledged, Client, Load, local_token
from tests.support.small_disk import SmallDisk

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("instance")]


def _load(instance: Instance, *, posters: int = 6) -> Load:
    token = local_token(instance.port, instance.data_dir.read_local_secret())
    return Load(instance.port, instance.trusted_root().tlogs[0], token, posters=posters)


def _busy(load: Load) -> None:
    """Wait until both kinds of work are acknowledged."""
    deadline = time.monotonic() + 30
    while not (load.seen.entries and load.seen.certificates):
        assert time.monotonic() < deadline, "nothing is acknowledged"
        time.sleep(0.01)


def _check(instance: Instance, seen: Acknowledged) -> None:
    """Stop; look at all that is stored; start, and ask for all that was acknowledged."""
    check_stopped(instance, seen)
    instance.start()
    check_entries(instance, instance.trusted_root().tlogs[0], seen, seen.entries)
    assert seen.wrong == []
    assert seen.entries
    assert seen.certificates


def _command(instance: Instance, *words: str) -> tuple[int, str]:
    done = instance.command(*words, "--data", str(instance.data_dir.path))
    assert "our fault" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("size", ["16k", "128k"])
def test_init_on_a_full_disk_says_so_and_can_be_run_again(tmp_path: Path, size: str) -> None:
    with SmallDisk.mount(tmp_path / "data", size) as disk:
        instance = Instance(tmp_path)
        status, said = _command(instance, "init")
        assert status in (69, 70, 78)
        assert "No space left" in said
        status, said = _command(instance, "log", "info")
        assert status == 78
        assert "no instance" in said
        disk.remount("size=50m")
        assert _command(instance, "init")[0] == 0
        assert _command(instance, "log", "fsck")[0] == 0


def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    with (
        SmallDisk.mount(tmp_path / "data", "40m") as disk,
        Instance(tmp_path, "--workers", "2") as instance,
    ):
        with _load(instance) as load:
            _busy(load)
            for _ in range(2):
                time.sleep(0.5)
                with disk.full(instance.data_dir.run):
                    time.sleep(2.0)
                load.wait_for_more()
        assert "No space left" in instance.said()
        _check(instance, load.seen)


def test_a_disk_that_is_read_only(tmp_path: Path) -> None:
    with (
        SmallDisk.mount(tmp_path / "data", "40m") as disk,
        Instance(tmp_path, "--workers", "1") as instance,
    ):
        with _load(instance) as load:
            _busy(load)
            time.sleep(0.5)
        instance.stop()
        disk.remount("ro")
        for words in (("up",), ("init",), ("log", "fsck")):
            status, said = _command(instance, *words)
            assert status == 78
            assert "Read-only file system" in said
        status, said = _command(instance, "status")
        assert status == 69
        assert "not running" in said
        disk.remount("rw")
        instance.start()
        _check(instance, load.seen)


def test_an_older_database_beside_newer_tiles_is_refused(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "1") as instance:
        data_dir = instance.data_dir
        instance.stop()
        shutil.copytree(data_dir.db, tmp_path / "backup")
        instance.start()
        with _load(instance, posters=2) as load:
            _busy(load)
            time.sleep(0.5)
        instance.stop()
        newer = data_dir.db.rename(tmp_path / "newer")
        shutil.copytree(tmp_path / "backup", data_dir.db)
        published = data_dir.log_folder("rekor-v1-1") / "checkpoint"
        kept = published.read_bytes()
        for _ in range(2):  # with the newer checkpoint, then without any
            status, said = _command(instance, "up", "--workers", "1")
            assert status == 70
            assert "older copy" in said
            published.unlink(missing_ok=True)
        shutil.rmtree(data_dir.db)
        newer.rename(data_dir.db)
        published.write_bytes(kept)
        instance.start()
        _check(instance, load.seen)


def test_a_graceful_stop_answers_all_that_it_logs(tmp_path: Path) -> None:
    """Nobody is left who must ask whether their entry was logged."""
    with Instance(tmp_path, "--workers", "2") as instance:
        with _load(instance, posters=16) as load:
            _busy(load)
            for _ in range(2):
                load.wait_for_more()
                time.sleep(0.5)
                assert instance.stop() == 0
                told = json.loads(_command(instance, "log", "info", "--json")[1])
                v1, ct = told["logs"]
                assert v1["treeSize"] == len(load.seen.entries) + 2  # genesis
                assert ct["treeSize"] == len(load.seen.certificates)
                assert [each["publishedSize"] for each in (v1, ct)] == [
                    each["treeSize"] for each in (v1, ct)
                ]
                instance.start()
        _check(instance, load.seen)


def test_a_keeper_that_stands_still(tmp_path: Path) -> None:
    """Who asked meanwhile waits, and is answered."""
    with Instance(tmp_path, "--workers", "2") as instance:
        with _load(instance) as load:
            _busy(load)
            keeper = instance.processes()["keeper"]
            keeper.suspend()
            client = Client(instance.port)
            try:
                assert client.get("/readyz")[0] == 503
                time.sleep(2.0)
            finally:
                keeper.resume()
            client.close()
            load.wait_for_more()
        assert load.seen.failures == 0
        _check(instance, load.seen)


def test_processes_without_descriptors(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "2") as instance:
        with _load(instance) as load:
            _busy(load)
            time.sleep(3.0)  # a worker goes on importing for a moment after it is ready
            for name in ("worker-1", "keeper", "supervisor"):
                load.wait_for_more()
                starved = instance.processes()[name]
                before = resource.prlimit(starved.pid, resource.RLIMIT_NOFILE)
                limit = (starved.num_fds(), before[1])
                resource.prlimit(starved.pid, resource.RLIMIT_NOFILE, limit)
                if name == "supervisor":
                    instance.kill("keeper")
                    instance.wait("noticed", lambda: "cannot be started" in instance.said())
                time.sleep(1.5)
                if name == "worker-1" and not starved.is_running():
                    # It was still importing what the first token needs, and half an import may be
                    # worse than none: another one takes its place.
                    instance.wait("another one", partial(_other, instance, name, starved))
                    continue
                assert starved.is_running(), f"{name} ended:\n{instance.said()[-3000:]}"
                resource.prlimit(starved.pid, resource.RLIMIT_NOFILE, before)
        _check(instance, load.seen)


def _other(instance: Instance, name: str, former: psutil.Process) -> bool:
    found = instance.processes().get(name)
    return found is not None and found.pid != former.pid


def test_a_slow_start_is_not_given_up_for_kills_from_outside(tmp_path: Path) -> None:
    """Three starts that fail end a first start; a keeper that worked and was killed is none."""
    with Instance(tmp_path, "--workers", "1") as instance:
        instance.stop()
        start = threading.Thread(target=instance.start)
        start.start()
        try:
            instance.wait("a worker", lambda: instance.runs and "worker-1" in instance.processes())
            worker = instance.processes()["worker-1"]
            worker.suspend()  # so not all of it is up yet
            for _ in range(4):
                instance.wait("a keeper", lambda: ask_status(instance.data_dir).running)
                instance.kill("keeper")
                instance.wait("gone", lambda: not ask_status(instance.data_dir).running)
            worker.resume()
        finally:
            start.join()
        assert instance.is_ready()
