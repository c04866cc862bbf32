# SPDX-License-Identifier: Apache-2.0
"""`init` killed at any point leaves nothing usable or a complete instance, and can be run again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.fault
def test_every_kill_leaves_nothing_or_everything(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.init_kills", str(tmp_path / "work"), "seed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert kills[0]["of"] > 60, "does the hook see the changes?"

    # Nothing, then unfinished, then complete: the version file decides, and never goes back.
    order = ["empty", "unfinished", "complete"]
    states = [kill["state"] for kill in kills]
    assert states == sorted(states, key=order.index)
    assert set(states) == set(order)
