# SPDX-License-Identifier: Apache-2.0
"""The engine on the embedded drivers while the kernel says no: real calls, failed by strace.

A process adds entries and writes down every answer; one of its system calls fails, or is the
last it ever makes. What is left must be whole, and a new process must go on with it: nothing
acknowledged is lost, every tree head that was shown is one the log went through.
"""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from countermark.core.tlog.integrate import GrowingTree
from countermark.core.tlog.merkle import leaf_hash
from countermark.tilelog.log import Limits, Log
from countermark.tilelog.recover import recover
from tests.support.logs import (
    NAME,
    EmbeddedStores,
    TextLog,
    add_all,
    check_answer,
    check_whole,
    submission,
    with_log,
)

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]

_LOAD = "from tests.fault.test_system_calls import load; load()"
_LIMITS = Limits(quiet_s=0.0, coalesce_s=0.0, pause_s=0.0, retry_s=0.01)
_TURNS = 40
_AT_ONCE = 7  # 40 turns fill a tile and begin the next
_HANG_S = 60
# How often a thread of the child makes each call, about: where a fault may strike.
_CALLS = {
    "fdatasync": 42,
    "fsync": 130,
    "rename": 60,
    "write": 190,
    "openat": 200,
    "unlink": 35,
    "mkdir": 8,
    "newfstatat": 200,
    "getdents64": 100,
}
_FAULTS = ("error=EIO", "error=ENOSPC", "error=EMFILE", "error=EROFS", "signal=SIGKILL")
CASES = int(os.environ.get("COUNTERMARK_FAULTS", "20"))
SEED = int(os.environ.get("COUNTERMARK_SEED", "20261122"))


def load() -> None:
    """In the process that the faults strike."""
    folder = Path(sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()  # strace is there now, and sees none of the start

    async def work(log: Log) -> None:
        for turn in range(_TURNS):
            texts = [f"{sys.argv[2]} {turn} {number}" for number in range(_AT_ONCE)]
            answers = await asyncio.gather(*(log.add(submission(text)) for text in texts))
            for text, answer in zip(texts, answers, strict=True):
                check_answer(submission(text), answer)
                head = answer.head
                print(answer.index, head.tree_size, head.root_hash.hex(), text, flush=True)
            await asyncio.sleep(0.002)

    with_log(EmbeddedStores(folder), work, limits=_LIMITS)


@dataclass(slots=True)
class Outcome:
    """What a child did: its status, what it was told, which roots it saw, and its last words."""

    status: int
    promised: dict[bytes, int]
    heads: dict[int, bytes]
    stderr: str


def run(stores: EmbeddedStores, name: str, fault: str) -> Outcome:
    """Run `load` to its end, whatever that is."""
    child = subprocess.Popen(
        [sys.executable, "-c", _LOAD, str(stores.path), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    call = fault.partition(":")[0]
    tracer = subprocess.Popen(
        ["strace", "-f", "-o/dev/null", f"-etrace={call}", f"-einject={fault}", f"-p{child.pid}"],
        stderr=subprocess.PIPE,
    )
    assert tracer.stderr is not None
    attached = tracer.stderr.readline()
    assert b"attached" in attached, attached
    try:
        told, stderr = child.communicate(b"\n", timeout=_HANG_S)
    finally:
        child.kill()
        tracer.kill()
        tracer.communicate()
    promised: dict[bytes, int] = {}
    heads: dict[int, bytes] = {}
    for line in told.splitlines(keepends=True):
        if line.endswith(b"\n"):
            index, size, root_hash, text = line[:-1].split(b" ", 3)
            promised[text] = int(index)
            root = bytes.fromhex(root_hash.decode())
            assert heads.setdefault(int(size), root) == root
    return Outcome(child.returncode, promised, heads, stderr.decode())


def check_heads(stores: EmbeddedStores, heads: dict[int, bytes]) -> None:
    """Every head that was shown is a state of the log as it is now."""
    store, objects = stores.open()
    try:
        records = recover(NAME, TextLog.codec, store, objects).records
        first = store.head(NAME).tree_size - len(records)
        for start in range(0, first, 256):
            bundle = objects.fetch(f"tile/entries/{start // 256:03d}")
            records[start:start] = TextLog.codec.split(bundle)
    finally:
        store.close()
    tree = GrowingTree()
    wanted = dict(heads)
    for record in records:
        tree.append([leaf_hash(record)])
        root_hash = wanted.pop(tree.size, None)
        assert root_hash in (None, tree.view().root_hash), f"another root at {tree.size}"
    assert not wanted, "heads were shown that the log never reached"


def cases() -> list[str]:
    """Some of all faults, the same for a seed."""
    chance = random.Random(SEED)
    kinds = [(call, fault) for call in _CALLS for fault in _FAULTS]
    chance.shuffle(kinds)
    return [
        f"{call}:{fault}:when={chance.randint(1, _CALLS[call])}"
        for call, fault in (kinds * (CASES // len(kinds) + 1))[:CASES]
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedStores:
    """A log of 250 entries: the next tile's edge is near."""
    stores = EmbeddedStores(tmp_path_factory.mktemp("base") / "log")

    async def begin(log: Log) -> None:
        await add_all(log, [f"base {number}" for number in range(250)])

    with_log(stores, begin, limits=_LIMITS)
    return stores


@pytest.mark.parametrize("fault", cases())
def test_a_failing_call_breaks_no_promise(base: EmbeddedStores, tmp_path: Path, fault: str) -> None:
    stores = EmbeddedStores(tmp_path / "log")
    shutil.copytree(base.path, stores.path)
    outcome = run(stores, "struck", fault)
    if "SIGKILL" in fault:
        assert outcome.status in (0, -signal.SIGKILL), outcome.stderr
    check_whole(stores, must_contain=outcome.promised)
    check_heads(stores, outcome.heads)

    async def go_on(log: Log) -> None:
        for text, index in outcome.promised.items():
            answer = await log.add(submission(text))
            assert (answer.index, answer.duplicate) == (index, True)
        await add_all(log, [f"after {number}" for number in range(40)])

    with_log(stores, go_on, limits=_LIMITS)
    report = check_whole(stores, must_contain=outcome.promised)
    assert report.published_size == report.tree_size
    check_heads(stores, outcome.heads)
