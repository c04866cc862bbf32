# SPDX-License-Identifier: Apache-2.0
"""`trust rotate` killed with SIGKILL after every step, and the keeper in the middle of its switch.

tests/unit/app/test_rotation.py shows the same of every service, unkilled.
"""

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from countermark.app.instance import load_instance
from tests.e2e.test_rotation import rotated, sign, verify
from tests.support.running import Running, running

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("rotation-kill")]


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("instance")) as up:
        yield up


def step_of(instance: Running, service: str) -> str:
    """How far its rotation is; empty if none is under way."""
    config = load_instance(instance.data / "instance.json")
    found = next((item for item in config.rotations if item.service == service), None)
    return found.step if found is not None else ""


def kill_keeper(instance: Running) -> None:
    """kill -9 the keeper, if there is one at this moment; another one comes."""
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "countermark.app.keeper" in line and str(instance.data) in line[-1]:
            process.kill()


def test_killed_between_steps_it_goes_on(instance: Running) -> None:
    service = "log"  # the one with most to do
    before = sign(instance, f"before-a-kill-{service}")
    command = [sys.executable, "-m", "countermark", "trust", "rotate", service]
    command += ["--data", str(instance.data), "--now"]
    for step in ("made", "published", "switching", "switched"):
        process = subprocess.Popen(
            command,
            env=instance.environment(),
            cwd=instance.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and step_of(instance, service) != step:
            time.sleep(0.002)
        process.kill()
        process.wait(10)
        if step == "switching":
            kill_keeper(instance)
    if step_of(instance, service):
        assert rotated(instance, service, "--continue", "--now")["rotation"] is None
    after = sign(instance, f"after-a-kill-{service}")
    verify(instance, before, after)
