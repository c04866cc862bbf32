# SPDX-License-Identifier: Apache-2.0
"""Kills the opening of next shards before its changes to the file system, and runs it again.

A program of its own, ``python -m tests.fault.shard_kills FOLDER [SEED]``: it forks a child for each
kill while it has neither threads nor a database; children do all that needs one. With a seed it
kills before the first and last changes and some in between, without before every one; and a third
of the runs that go on are killed, too. Prints one JSON line per kill.
"""

import json
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from countermark.app.data_dir import DataDir
from countermark.app.init import initialise
from countermark.app.instance import InstanceConfig, load_instance
from countermark.app.keyring import KeyRing
from countermark.app.opening import open_instance
from countermark.app.shards import open_next_shards
from countermark.core.errors import SettingsError
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.system import SystemClock, SystemEntropy
from countermark.trust.repository import TufRepository
from tests.fault.init_kills import URL, KillBefore

_NEVER = 1 << 30


def in_child(work: Callable[[], int]) -> int:
    """Do something in a child; its exit status, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            status = work()
        except BaseException:  # noqa: BLE001 - the parent must not go on twice
            traceback.print_exc()
            status = 99
        sys.stderr.flush()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_before(data_dir: DataDir, change: int) -> bool:
    """Open the next shards in a child; whether it was killed before it ended."""

    def work() -> int:
        sys.addaudithook(KillBefore(change))
        open_next_shards(data_dir, SystemClock(), SystemEntropy())
        return 0

    status = in_child(work)
    assert status in (0, -9), f"opening the next shards ended with status {status}"
    return status != 0


def state_of(data_dir: DataDir, before: InstanceConfig) -> str:
    """What a run left: ``old`` and ``new`` can be brought up, ``halfway`` cannot."""
    try:
        config = open_instance(data_dir)
    except SettingsError:
        assert data_dir.next_shards_file.exists()
        return "halfway"
    assert in_child(lambda: check_whole(data_dir, config)) == 0
    return "old" if config == before else "new"


def check_whole(data_dir: DataDir, config: InstanceConfig) -> int:
    """Logs are sound under the keys that clients are told of; TUF says what /trust/ does."""
    from countermark.app.inspection import Inspection

    with Inspection.open(data_dir) as inspection:
        reports = inspection.check((), lambda *_: None, rows=True)
    assert [report.problems for report in reports] == [()] * len(reports)
    assert [report.name for report in reports] == [log.name for log in config.logs]
    sizes = [report.tree_size for report in reports if report.name.startswith("rekor")]
    assert sizes == [2] * len(sizes)
    keys = KeyRing.load(data_dir, config)
    TufRepository.open(FileObjectStore(data_dir.tuf), keys.signer("tuf-online"))
    timestamp = json.loads((data_dir.tuf / "timestamp.json").read_bytes())["signed"]
    version = timestamp["meta"]["snapshot.json"]["version"]
    snapshot = json.loads((data_dir.tuf / f"{version}.snapshot.json").read_bytes())["signed"]
    version = snapshot["meta"]["targets.json"]["version"]
    targets = json.loads((data_dir.tuf / f"{version}.targets.json").read_bytes())["signed"]
    for name, target in targets["targets"].items():
        published = data_dir.tuf / "targets" / f"{target['hashes']['sha256']}.{name}"
        assert published.read_bytes() == (data_dir.trust / name).read_bytes()
    return 0


def kill_and_finish(made: Path, folder: Path, change: int, again: int) -> str | None:
    """One kill, perhaps another, and what follows; the first one's state, None if there was none.

    Runs follow each other until the new shards are there, as an operator would have it.
    """
    shutil.copytree(made, folder / "data")
    data_dir = DataDir.at(folder / "data")
    before = open_instance(data_dir)
    if not killed_before(data_dir, change):
        assert state_of(data_dir, before) == "new"
        shutil.rmtree(folder)
        return None
    state = state_of(data_dir, before)
    if state == "halfway":
        planned = load_instance(data_dir.next_shards_file)
        killed_before(data_dir, again)
        if state_of(data_dir, before) == "halfway":
            assert not killed_before(data_dir, _NEVER)
        assert open_instance(data_dir) == planned
    elif state == "old":
        assert not killed_before(data_dir, _NEVER)
    assert state_of(data_dir, before) == "new"
    assert len(open_instance(data_dir).logs) == 4
    shutil.rmtree(folder)
    return state


def count_changes(made: Path, folder: Path) -> int:
    """How many changes an undisturbed run makes."""
    shutil.copytree(made, folder / "data")
    known, child = os.pipe()

    def work() -> int:
        hook = KillBefore(_NEVER)
        sys.addaudithook(hook)
        open_next_shards(DataDir.at(folder / "data"), SystemClock(), SystemEntropy())
        os.write(child, str(_NEVER - hook.left).encode())
        return 0

    assert in_child(work) == 0
    os.close(child)
    count = int(os.read(known, 20))
    shutil.rmtree(folder)
    return count


def main(folder: Path, seed: str | None) -> None:
    """Kill before each of the chosen changes in turn."""
    made = folder / "made"

    def make() -> int:
        initialise(DataDir.at(made), URL, SystemClock(), SystemEntropy())
        return 0

    assert in_child(make) == 0
    count = count_changes(made, folder / "work")
    chance = random.Random(seed)
    changes = list(range(count))
    if seed is not None:
        chosen = chance.sample(changes[4:-8], 14)
        changes = [*changes[:4], *sorted(chosen), *changes[-8:]]
    for change in changes:
        again = chance.randrange(count) if chance.random() < 1 / 3 else _NEVER
        state = kill_and_finish(made, folder / "work", change, again)
        print(json.dumps({"change": change, "of": count, "state": state}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
