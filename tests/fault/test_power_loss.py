# SPDX-License-Identifier: Apache-2.0
"""Power cuts: a keeper under load is recorded call by call, and the disk is worked out that a cut
at some moment would leave. A new keeper has to open it with all that was acknowledged before.

Cuts fall on a call that changed something, wherever that is: while the keeper starts and recovers,
in rounds, in publications, in RocksDB's own housekeeping.
"""

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from countermark.app.data_dir import DataDir
from countermark.app.init import initialise
from countermark.drivers.system import SystemClock, SystemEntropy
from tests.fault.conftest import RAN
from tests.support.disk import CALLS, WAYS, Disk
from tests.support.keeper import Callers, KeeperProcess, Promises
from tests.support.strace import RECORD, Call, needs_strace, read_record

pytestmark = [pytest.mark.fault, needs_strace, pytest.mark.xdist_group("power")]

CUTS = int(os.environ.get("COUNTERMARK_CUTS", "6"))
SEED = int(os.environ.get("COUNTERMARK_SEED", "20261122"))
_CUTS_OF_A_RECORD = 50


@dataclass(frozen=True, slots=True)
class Recorded:
    """A keeper's life: where it began, what it did, what it promised meanwhile."""

    before: Path
    calls: list[Call]
    promises: Promises


def record(folder: Path, data_dir: DataDir) -> Recorded:
    """Start a keeper under strace, load it, have it publish, load it again, kill it; start another.

    The second one's start goes on from a database that was not closed.
    """
    before = folder / "before"
    shutil.copytree(data_dir.path, before, ignore=shutil.ignore_patterns("*.sock"))
    callers = Callers()
    calls: list[Call] = []
    for turn in range(2):
        trace = folder / f"trace-{turn}"
        tracer = ["strace", "-f", "--seccomp-bpf", *RECORD, "-o", str(trace), f"-etrace={CALLS}"]
        keeper = KeeperProcess(data_dir, tracer=tracer)
        assert keeper.start(), keeper.said()
        callers.load(data_dir, 2.0)
        keeper.wait_published()
        callers.load(data_dir, 1.0)
        keeper.kill()
        calls += read_record(trace)
    assert callers.promises.entries
    assert callers.promises.certificates
    return Recorded(before, calls, callers.promises)


def check_cut(folder: Path, promised: Promises) -> None:
    """Start a keeper on what a cut left, have it go on, and look at everything."""
    data_dir = DataDir.at(folder / "data")
    keeper = KeeperProcess(data_dir)
    assert keeper.start(), keeper.said()
    callers = Callers()
    callers.add(data_dir, 3)
    keeper.wait_published()
    assert keeper.stop() == 0, keeper.said()
    promised.check(data_dir)
    callers.promises.check(data_dir)


def test_no_power_cut_loses_what_was_acknowledged(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance, began = random.Random(SEED), time.monotonic()
    data_dir = DataDir.at(tmp_path / "work" / "data")
    initialise(data_dir, "http://localhost:7446", SystemClock(), SystemEntropy())
    ways: Counter[str] = Counter()
    promised = 0
    for number in range(0, CUTS, _CUTS_OF_A_RECORD):
        folder = tmp_path / f"record-{number}"
        folder.mkdir()
        recorded = record(folder, data_dir)
        disk = Disk(data_dir.path, recorded.before)
        changes = sum(1 for _ in disk.feed(recorded.calls))
        assert changes > 200
        cuts = sorted(chance.sample(range(changes), min(CUTS - number, _CUTS_OF_A_RECORD)))
        disk = Disk(data_dir.path, recorded.before)
        for place, call in enumerate(disk.feed(recorded.calls)):
            if place in cuts:
                way = WAYS[ways.total() % len(WAYS)]
                target = tmp_path / "cut"
                target.mkdir()
                disk.write_out(target / "data", way, chance.randrange(1 << 32))
                before = recorded.promises.before(call.ended)
                promised += len(before.entries) + len(before.certificates)
                try:
                    check_cut(target, before)
                except Exception as error:
                    error.add_note(f"cut {place} of {changes}, {way}, after {call.name}")
                    raise
                ways[way] += 1
                shutil.rmtree(target)
        shutil.rmtree(folder)
        told = (
            f"{ways.total()} of {CUTS} power cuts ({dict(ways)}, seed {SEED}) in "
            f"{time.monotonic() - began:.0f} s: {promised} promises held"
        )
        print(told, flush=True)
    record_property(RAN, told)
