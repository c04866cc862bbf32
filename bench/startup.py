# SPDX-License-Identifier: Apache-2.0
"""How long `countermark up` takes to answer /readyz, first time and on existing data."""

import shutil
import statistics
import tempfile
from pathlib import Path

from bench.instance import free_port, instance
from bench.measure import Row, spread

RUNS = 5


def run() -> list[Row]:
    """First start (keys, chains, logs, trust root are made) and later ones."""
    first: list[float] = []
    later: list[float] = []
    for _ in range(RUNS):
        home = Path(tempfile.mkdtemp(prefix="countermark-bench-"))
        port = free_port()  # an instance keeps the port it was made with
        try:
            for times in (first, later):
                with instance(home / "data", port) as running:
                    times.append(running.ready_s)
        finally:
            shutil.rmtree(home)
    return [
        Row(
            "`up` to ready, first time", statistics.median(first), "s", spread(first), 4.0, "budget"
        ),
        Row(
            "`up` to ready, existing data",
            statistics.median(later),
            "s",
            spread(later),
            1.5,
            "budget",
        ),
    ]
