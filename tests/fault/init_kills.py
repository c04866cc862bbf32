# SPDX-License-Identifier: Apache-2.0
"""Kills `init` before each of its changes to the file system, and has the next run finish.

A program of its own, ``python -m tests.fault.init_kills FOLDER [SEED]``: it forks a child for each
kill while it has neither threads nor a database. With a seed it kills before the first and last
changes and some in between, without before every one. Prints one JSON line per kill.
"""

import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

from countermark.app.data_dir import DataDir, State
from countermark.app.init import initialise
from countermark.app.keyring import KeyRing
from countermark.app.opening import open_instance
from countermark.core.errors import SettingsError
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.system import SystemClock, SystemEntropy
from countermark.trust.repository import TufRepository

URL = "http://localhost:7446"
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.chmod"}


class KillBefore:
    """An audit hook that ends the process with SIGKILL before change number `count`."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            # os.open has no mode and says all in its flags; open() says both.
            flags = arguments[2]
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in _CHANGES:
            return
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


def init_killed_before(data_dir: DataDir, change: int) -> bool:
    """Run init in a child; whether it was killed before it ended."""
    child = os.fork()
    if child == 0:
        sys.addaudithook(KillBefore(change))
        initialise(data_dir, URL, SystemClock(), SystemEntropy())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, f"init ended with status {status}"
    return killed


def check_complete(data_dir: DataDir) -> None:
    """Everything that the keeper needs at start is there and belongs together."""
    config = open_instance(data_dir)
    keys = KeyRing.load(data_dir, config)
    TufRepository.open(FileObjectStore(data_dir.tuf), keys.signer("tuf-online"))
    assert not data_dir.unfinished_file.exists()
    # The database is looked at in a child: RocksDB leaves threads, and the next kill forks.
    child = os.fork()
    if child == 0:
        from countermark.drivers.embedded.rocks import RocksLogStore

        store = RocksLogStore(data_dir.db)
        sizes = {name: store.head(name).tree_size for name in store.logs()}
        os._exit(0 if sizes == {"rekor-v1-1": 2, "ct-main": 0} else 1)
    assert os.waitpid(child, 0)[1] == 0, "the logs are not those of a new instance"


def kill_and_finish(folder: Path, change: int) -> str | None:
    """One kill and what follows; the state it left, or None if init was done before."""
    data_dir = DataDir.at(folder / "data")
    killed = init_killed_before(data_dir, change)
    state = data_dir.state()
    if killed and state is not State.COMPLETE:
        try:
            open_instance(data_dir)
        except SettingsError:
            pass
        else:
            raise AssertionError("an unfinished instance was opened")
        assert not init_killed_before(data_dir, 1 << 30)
    check_complete(data_dir)
    shutil.rmtree(folder)
    return state.value if killed else None


def count_changes(folder: Path) -> int:
    """How many changes an undisturbed init makes."""
    known, child = os.pipe()
    if os.fork() == 0:
        hook = KillBefore(1 << 30)
        sys.addaudithook(hook)
        initialise(DataDir.at(folder / "data"), URL, SystemClock(), SystemEntropy())
        os.write(child, str((1 << 30) - hook.left).encode())
        os._exit(0)
    os.close(child)
    count = int(os.read(known, 20))
    os.wait()
    shutil.rmtree(folder)
    return count


def main(folder: Path, seed: str | None) -> None:
    """Kill before each of the chosen changes in turn."""
    count = count_changes(folder)
    changes = list(range(count))
    if seed is not None:
        chosen = random.Random(seed).sample(changes[4:-8], 18)
        changes = [*changes[:4], *sorted(chosen), *changes[-8:]]
    for change in changes:
        state = kill_and_finish(folder, change)
        print(json.dumps({"change": change, "of": count, "state": state}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
