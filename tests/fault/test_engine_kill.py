# SPDX-License-Identifier: Apache-2.0
"""The engine on the embedded drivers, killed at seeded moments under load, again and again."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from countermark.tilelog.log import Limits, Log
from tests.support.logs import EmbeddedStores, add_all, check_answer, check_whole, submission
from tests.support.logs import with_log as run_log

pytestmark = pytest.mark.fault

KILLS = 6
_RUN = "from tests.fault.test_engine_kill import load; load()"


def load() -> None:
    """In the process to be killed: add until the end, writing down what was acknowledged."""
    folder, turn = Path(sys.argv[1]), sys.argv[2]

    async def adder(log: Log, name: int) -> None:
        number = 0
        while True:
            text = f"turn {turn} adder {name} number {number}"
            answer = await log.add(submission(text))
            check_answer(submission(text), answer)
            sys.stdout.write(f"{answer.index} {text}\n")
            sys.stdout.flush()
            number += 1

    async def work(log: Log) -> None:
        await asyncio.gather(*(adder(log, name) for name in range(16)))

    limits = Limits(quiet_s=0.0, coalesce_s=0.02, pause_s=0.01)
    run_log(EmbeddedStores(folder), work, limits=limits)


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_acknowledged_is_lost(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    promised: dict[bytes, int] = {}
    stores = EmbeddedStores(tmp_path / "log")
    for turn in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(stores.path), str(turn)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # the first answer: it is up
        time.sleep(chance.uniform(0.0, 0.5))
        process.kill()
        lines += process.stdout.readlines()
        process.stdout.close()
        process.wait()
        for line in lines:
            if line.endswith(b"\n"):
                index, _, text = line[:-1].partition(b" ")
                promised[text] = int(index)
        check_whole(stores, must_contain=promised)
    assert len(promised) > KILLS * 16

    async def go_on(log: Log) -> None:
        await add_all(log, ["at last"])
        for text, index in list(promised.items())[:: len(promised) // 50]:
            assert (await log.add(submission(text))).index == index

    run_log(stores, go_on)
    report = check_whole(stores, must_contain=promised)
    assert report.published_size == report.tree_size
