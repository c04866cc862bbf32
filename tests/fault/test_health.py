# SPDX-License-Identifier: Apache-2.0
"""/healthz and /readyz of real instances in trouble: not ready says why, and goes away again."""

import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.instance import Instance
from tests.support.small_disk import SmallDisk

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("instance")]


def _ask(instance: Instance, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(instance.url + path, timeout=30) as reply:
            return reply.status, ""
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["message"]


def _ready_again(instance: Instance) -> None:
    instance.wait("ready", lambda: _ask(instance, "/readyz")[0] == 200, 30)


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with (
        SmallDisk.mount(tmp_path / "data", "60m") as disk,
        Instance(tmp_path, "--workers", "1") as instance,
    ):
        with disk.full(instance.data_dir.run):
            assert _ask(instance, "/readyz") == (503, "the disk is full")
            assert _ask(instance, "/healthz")[0] == 200
        _ready_again(instance)


def test_a_keeper_that_hangs_or_is_not_there(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "1") as instance:
        keeper = instance.processes()["keeper"]
        keeper.suspend()
        assert _ask(instance, "/readyz") == (503, "the keeper does not answer")
        assert _ask(instance, "/healthz")[0] == 200
        keeper.resume()
        _ready_again(instance)
        # A keeper that reads back its logs does not listen yet: stopped at birth, it stays so.
        instance.kill("keeper")

        def stopped() -> bool:
            found = instance.processes().get("keeper")
            if found is None or found.pid == keeper.pid:
                return False
            found.send_signal(signal.SIGSTOP)
            return True

        instance.wait("a new keeper", stopped)
        assert _ask(instance, "/readyz")[0] == 503
        assert _ask(instance, "/healthz")[0] == 200
        instance.processes()["keeper"].send_signal(signal.SIGCONT)
        _ready_again(instance)
