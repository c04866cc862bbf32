# SPDX-License-Identifier: Apache-2.0
"""Supervisor, keeper and workers as processes: who holds what, who ends with whom."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.instance import Instance

pytestmark = pytest.mark.xdist_group("instance")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with Instance(tmp_path_factory.mktemp("processes"), "--workers", "2") as up:
        yield up


def _get(instance: Instance, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(instance.url + path, timeout=30) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _libraries(process: psutil.Process) -> str:
    """Shared objects that a process has mapped: native modules that it has imported."""
    return " ".join({Path(item.path).name for item in process.memory_maps()})


def test_every_process_imports_what_it_needs_and_no_more(instance: Instance) -> None:
    processes = instance.processes()
    assert set(processes) == {"supervisor", "keeper", "worker-1", "worker-2"}
    assert "rocksdict" in _libraries(processes["keeper"])
    for name in ("worker-1", "worker-2"):
        assert "rocksdict" not in _libraries(processes[name])
        opened = " ".join(file.path for file in processes[name].open_files())
        assert str(instance.data_dir.keys) not in opened
        assert str(instance.data_dir.db) not in opened
    for library in ("rocksdict", "uvloop", "msgspec", "_rust", "_ssl"):
        assert library not in _libraries(processes["supervisor"])


def test_the_group_is_small(instance: Instance) -> None:
    total = sum(process.memory_full_info().pss for process in instance.processes().values())
    assert total < 250_000_000


def test_both_names_of_this_machine_answer(instance: Instance) -> None:
    for host in ("127.0.0.1", "localhost"):
        with urllib.request.urlopen(f"http://{host}:{instance.port}/healthz", timeout=5) as reply:
            assert reply.read() == b'{"status":"SERVING"}'


def test_status_and_info_ask_the_keeper(instance: Instance) -> None:
    data = ("--data", str(instance.data_dir.path))
    done = instance.command("status", "--json", *data)
    report = json.loads(done.stdout)
    assert (done.returncode, report["running"], report["url"]) == (0, True, instance.url)
    assert report["pid"] == instance.processes()["keeper"].pid
    assert {log["name"] for log in report["logs"]} == {"rekor-v1-1", "ct-main"}
    listed = json.loads(instance.command("log", "info", "--json", *data).stdout)
    sizes = {log["name"]: log["treeSize"] for log in listed["logs"]}
    assert sizes == {"rekor-v1-1": 2, "ct-main": 0}
    assert "up" in instance.command("status", *data).stdout
    assert "tree size  2" in instance.command("log", "info", *data).stdout
    audited = instance.command("log", "fsck", "--published", *data)
    assert audited.stdout == "rekor-v1-1: 2 entries, sound\nct-main: 0 entries, sound\n"


def test_a_second_one_is_refused(instance: Instance) -> None:
    data = ("--data", str(instance.data_dir.path))
    for command in (("up", *data), ("init", *data), ("log", "fsck", *data)):
        done = instance.command(*command)
        assert done.returncode == 78, done
        assert "an instance runs on" in done.stderr
    done = instance.command(
        "up", "--data", str(instance.home / "new"), "--port", f"{instance.port}"
    )
    assert done.returncode == 78
    assert "is taken" in done.stderr
    assert not (instance.home / "new" / "keys").exists()


@pytest.mark.parametrize("name", ["worker-1", "keeper"])
def test_what_dies_is_started_again(instance: Instance, name: str) -> None:
    before = instance.kill(name)

    def is_back() -> bool:
        process = instance.processes().get(name)
        return process is not None and process.pid != before and instance.is_ready()

    instance.wait("back", is_back)
    assert _get(instance, "/api/v1/log")[0] == 200


def test_readyz_tells_when_the_keeper_hangs(instance: Instance) -> None:
    keeper = instance.processes()["keeper"]
    keeper.send_signal(signal.SIGSTOP)
    try:
        status, body = _get(instance, "/readyz")
    finally:
        keeper.send_signal(signal.SIGCONT)
    assert status == 503
    assert json.loads(body)["error"] == "unavailable"
    assert _get(instance, "/readyz")[0] == 200


def test_workers_that_start_while_the_keeper_hangs_answer(instance: Instance) -> None:
    keeper = instance.processes()["keeper"]
    keeper.send_signal(signal.SIGSTOP)
    try:
        gone = [instance.kill(name) for name in ("worker-1", "worker-2")]

        def both_are_back() -> bool:
            found = instance.processes()
            names = [name for name in ("worker-1", "worker-2") if name in found]
            return len(names) == 2 and not any(found[name].pid in gone for name in names)

        instance.wait("back", both_are_back)
        status, body = _get(instance, "/api/v1/log")
        assert (status, json.loads(body)["error"]) == (503, "unavailable")
        assert b"starting" in body
        # Alive, for whoever starts again what is not; but not ready for work.
        assert _get(instance, "/healthz")[0] == 200
        assert _get(instance, "/readyz")[0] == 503
    finally:
        keeper.send_signal(signal.SIGCONT)
    instance.wait("ready", instance.is_ready)


def test_unknown_paths_are_json(instance: Instance) -> None:
    status, body = _get(instance, "/nowhere")
    assert (status, json.loads(body)["code"]) == (404, 404)


def test_all_end_with_the_supervisor(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "1") as instance:
        children = [each for name, each in instance.processes().items() if name != "supervisor"]
        instance.kill("supervisor")
        instance.wait("gone", lambda: not any(child.is_running() for child in children), 20)
        instance.start()
        done = instance.processes()
        begun = time.monotonic()
        assert instance.stop() == 0
        assert time.monotonic() - begun < 10
        assert not any(process.is_running() for process in done.values())
        data = ("--data", str(instance.data_dir.path))
        status = instance.command("status", *data)
        assert status.returncode == 69
        assert "not running" in status.stdout
        checked = instance.command("log", "fsck", "rekor-v1-1", *data)
        assert checked.stdout == "rekor-v1-1: 2 entries, sound\n"
        assert json.loads(instance.command("log", "info", "--json", *data).stdout)["logs"]
        assert instance.command("log", "fsck", "--json", "absent", *data).returncode == 11

        # Damage: fsck says so, and the exit code with it.
        bundles = [path for path in instance.data_dir.logs.rglob("*") if "entries32" in str(path)]
        damaged = next(path for path in bundles if path.is_file())
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
        checked = instance.command("log", "fsck", "--json", *data)
        assert checked.returncode == 70
        (log, _) = json.loads(checked.stdout)["logs"]
        assert not log["sound"]
        assert log["problems"]


def test_signals_without_end_do_not_hide_how_it_ended(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "1") as instance:
        process = instance._process
        assert process is not None
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.001)
        assert process.returncode == 0
        assert "instance stopped" in instance.said()
        instance.start()


def test_a_damaged_instance_gives_up_with_a_reason(tmp_path: Path) -> None:
    with Instance(tmp_path) as instance:
        instance.stop()
        (instance.data_dir.keys / "ca.pem").write_bytes(b"not a key")
        started = time.monotonic()
        data = ("--data", str(instance.data_dir.path))
        done = instance.command("up", *data)
        assert done.returncode in (70, 78)
        assert "ca.pem" in done.stderr
        assert time.monotonic() - started < 30


def test_machines_get_json_lines(tmp_path: Path) -> None:
    with Instance(tmp_path, "--log-format", "json") as instance:
        instance.kill("worker-1")
        instance.wait("noted", lambda: "worker-1 ended" in instance.said())
        lines = [line for line in instance.said().splitlines() if line.startswith("{")]
        events = [json.loads(line) for line in lines]
        assert any(re.match("worker-1 ended with signal 9", line["event"]) for line in events)
        assert {"time", "level", "process", "event"} <= set(events[0])


def test_tls_is_spoken_where_there_is_a_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    instance = Instance(tmp_path, *options)
    instance.url = f"https://localhost:{instance.port}"
    script = (
        "import ssl, sys, urllib.request\n"
        "context = ssl.create_default_context(cafile=sys.argv[2])\n"
        "print(urllib.request.urlopen(sys.argv[1] + '/readyz', context=context).read())\n"
    )

    def is_ready() -> bool:
        asked = [sys.executable, "-c", script, instance.url, str(certificate)]
        return b"READY" in subprocess.run(asked, capture_output=True).stdout

    instance.is_ready = is_ready  # type: ignore[method-assign]
    with instance:
        assert is_ready()
