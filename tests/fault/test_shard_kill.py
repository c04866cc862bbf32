# SPDX-License-Identifier: Apache-2.0
"""`log shard` killed at any point leaves the old state, the new one, or what a rerun finishes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.fault
def test_every_kill_leaves_the_old_the_new_or_what_can_be_finished(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.shard_kills", str(tmp_path / "work"), "seed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert kills[0]["of"] > 60, "does the hook see the changes?"

    # The note of what is to be decides, and never goes back.
    order = ["old", "halfway", "new"]
    states = [kill["state"] for kill in kills]
    assert states == sorted(states, key=order.index)
    assert {"old", "halfway"} <= set(states)
