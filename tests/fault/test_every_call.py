# SPDX-License-Identifier: Apache-2.0
"""Each file-system call of a round and of its publication fails, or is the keeper's last.

A clean round of a real keeper is traced, thread by thread. Then strace makes its first openat
fail, its second, …, its last fsync; and kills the keeper at each of them. A test run takes some
of these cases; `make fault` takes all.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from countermark.app.data_dir import DataDir
from countermark.app.init import initialise
from countermark.core.errors import CountermarkError
from countermark.drivers.system import SystemClock, SystemEntropy
from tests.fault.conftest import RAN
from tests.support.keeper import Callers, KeeperProcess
from tests.support.strace import RECORD, attached, needs_strace, read_record

pytestmark = [pytest.mark.fault, needs_strace, pytest.mark.xdist_group("every-call")]

CASES = int(os.environ.get("COUNTERMARK_CALLS", "6"))
SEED = int(os.environ.get("COUNTERMARK_SEED", "20261122"))
_CALLS = (
    "openat,close,write,pwrite64,fdatasync,fsync,rename,unlink,mkdir,rmdir,ftruncate,fallocate,"
    "link,newfstatat,getdents64"
)
_TAKING_SPACE = {"openat", "write", "pwrite64", "rename", "mkdir", "ftruncate", "fallocate", "link"}
_ROUND = 3  # entries at once
_UNTIL_TILE_EDGE = 254
Case = tuple[int, str, int, str]
"""Thread (0 of rounds, 1 of publications), call, which of them, what happens."""


def working_threads(folder: Path, keeper: KeeperProcess, callers: Callers) -> tuple[int, int]:
    """Have a round published; the thread that committed it, and the one that published it."""
    trace = folder / "who"
    with attached(
        *RECORD, "-etrace=fdatasync,rename", f"-o{trace}", threads=[keeper.pid], follow=True
    ):
        callers.add(keeper.data_dir, _ROUND)
        assert keeper.wait_published(), keeper.said()
    calls = read_record(trace)
    rounds = {
        call.thread for call in calls if b"/db/" in call.arguments and b".log>" in call.arguments
    }
    publications = {call.thread for call in calls if b"/logs/" in call.arguments}
    assert len(rounds) == len(publications) == 1
    return rounds.pop(), publications.pop()


def cases_of_a_round(folder: Path, keeper: KeeperProcess, callers: Callers) -> list[Case]:
    """What can fail, as a clean round shows."""
    found: list[Case] = []
    threads = working_threads(folder, keeper, callers)
    traces = [folder / f"trace-{number}" for number in range(len(threads))]
    with (
        attached(*RECORD, f"-etrace={_CALLS}", f"-o{traces[0]}", threads=threads[:1]),
        attached(*RECORD, f"-etrace={_CALLS}", f"-o{traces[1]}", threads=threads[1:]),
    ):
        callers.add(keeper.data_dir, _ROUND)
        assert keeper.wait_published(), keeper.said()
    for thread, trace in enumerate(traces):
        for name, count in Counter(call.name for call in read_record(trace)).items():
            faults = ["signal=KILL", "error=EIO"]
            if name in _TAKING_SPACE:
                faults.append("error=ENOSPC")
            found += [
                (thread, name, which + 1, fault) for which in range(count) for fault in faults
            ]
    assert {"fdatasync", "fsync", "rename"} <= {name for _, name, _, _ in found}
    return found


def strike(folder: Path, keeper: KeeperProcess, callers: Callers, case: Case) -> str:
    """Have one call of a round fail; what became of the keeper."""
    thread, name, which, fault = case
    threads = working_threads(folder, keeper, callers)
    inject = f"-einject={name}:{fault}:when={which}"
    with attached(f"-etrace={name}", inject, "-o/dev/null", threads=[threads[thread]]):
        with suppress(CountermarkError):
            callers.add(keeper.data_dir, _ROUND)
        survived = keeper.wait_published()
    if not survived:
        keeper.kill()
        return "ended"
    assert "KILL" not in fault, "the fault did not strike"
    assert keeper.stop() == 0, keeper.said()
    return "went on"


def chosen(cases: Sequence[Case]) -> list[Case]:
    """All of them, or some."""
    return random.Random(SEED).sample(cases, min(CASES, len(cases)))


def test_each_call_of_a_round_can_fail(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    data_dir = DataDir.at(tmp_path / "data")
    initialise(data_dir, "http://localhost:7446", SystemClock(), SystemEntropy())
    keeper, callers = KeeperProcess(data_dir), Callers()
    assert keeper.start(), keeper.said()
    # Enough publications for old partials to be removed, and near the edge of a tile.
    for count in [1] * 9 + [_UNTIL_TILE_EDGE - 9 - 6 * _ROUND]:
        callers.add(data_dir, count)
        assert keeper.wait_published()
    assert keeper.stop() == 0
    assert keeper.start()
    cases = cases_of_a_round(tmp_path, keeper, callers)
    assert keeper.stop() == 0
    outcomes: Counter[str] = Counter()
    for case in chosen(cases):
        try:
            assert keeper.start(), keeper.said()
            outcomes[strike(tmp_path, keeper, callers, case)] += 1
            callers.promises.check(data_dir)
        except BaseException as error:
            error.add_note(f"case {case}")
            raise
    assert keeper.start(), keeper.said()
    callers.add(data_dir, _ROUND)
    assert keeper.wait_published()
    assert keeper.stop() == 0
    callers.promises.check(data_dir)
    record_property(
        RAN,
        f"{outcomes.total()} of {len(cases)} faults in a round (seed {SEED}) in "
        f"{time.monotonic() - began:.0f} s: the keeper {dict(outcomes)}; "
        f"{len(callers.promises.entries)} entries acknowledged, none lost",
    )
