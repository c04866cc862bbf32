# SPDX-License-Identifier: Apache-2.0
"""kill -9 under load: whatever was acknowledged is there afterwards, with a valid proof.

Keeper, workers and supervisor are killed at seeded moments, thirty times, while clients post
entries and ask for certificates. Every fifth or so is killed again before it has recovered.
Then: fsck of both logs, every acknowledged entry fetched and verified, every tree head that
anybody was shown is a state that the final log went through. Long runs look after each hundred
kills as well, and fetch only what is new since.
"""

import contextlib
import fcntl
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

from countermark.app.data_dir import DataDir
from countermark.app.inspection import Inspection
from countermark.core.bundle.trusted_root import TransparencyLog
from countermark.core.crypto import der
from countermark.core.crypto.certificate import OID_SCT_LIST, Certificate
from countermark.core.ct.sct import parse_sct_list
from countermark.core.tlog.integrate import GrowingTree
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.verify.log_entry import verify_inclusion_proof, verify_promise
from countermark.core.wire import rekor_v1
from tests.fault.conftest import RAN
from tests.support.instance import Instance
from tests.support.load import (
    Acknowledged,
    Client,
    Lasting,
    Load,
    ct_identity,
    lasting,
    local_token,
)

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("instance")]

KILLS = int(os.environ.get("COUNTERMARK_KILLS", "30"))
SEED = int(os.environ.get("COUNTERMARK_SEED", "20261122"))
_LOOK_EVERY = 100
_IMPATIENCE = 0.2


def test_nothing_acknowledged_is_lost(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(SEED)
    began = time.monotonic()
    killed: Counter[str] = Counter()
    seen = Acknowledged()
    checked: set[str] = set()
    with Instance(tmp_path, "--workers", "2") as instance:
        log = instance.trusted_root().tlogs[0]
        secret = instance.data_dir.read_local_secret()
        while killed.total() < KILLS:
            token = local_token(instance.port, secret)
            with Load(instance.port, log, token, seen=seen, secret=secret) as load:
                load.wait_for_more()
                for _ in range(min(_LOOK_EVERY, KILLS - killed.total())):
                    time.sleep(chance.uniform(0.02, 0.3))
                    killed[_kill(instance, chance)] += 1
                    if chance.random() > _IMPATIENCE:
                        load.wait_for_more()
                load.wait_for_more()
            check_stopped(instance, seen)
            instance.start()
            check_entries(instance, log, seen, seen.entries.keys() - checked)
            checked |= seen.entries.keys()
            told = (
                f"{killed.total()} of {KILLS} kills ({dict(killed)}, seed {SEED}) in "
                f"{time.monotonic() - began:.0f} s: {len(seen.entries)} entries and "
                f"{len(seen.certificates)} certificates acknowledged, none lost; "
                f"{len(seen.heads)} tree heads shown, one history"
            )
            print(told, flush=True)
    record_property(RAN, told)
    assert seen.wrong == []
    assert len(seen.entries) > KILLS
    assert len(seen.certificates) > KILLS / 10
    assert seen.conflicts


def _kill(instance: Instance, chance: random.Random) -> str:
    """Kill one process, which may be one that only just starts; returns what it was."""
    victim = chance.choices(["keeper", "worker", "supervisor"], [5, 3, 2])[0]
    if victim == "supervisor":
        children = [
            process for name, process in instance.processes().items() if name != "supervisor"
        ]
        instance.kill("supervisor")

        def alone() -> bool:
            # One that was just being started was not seen; it may have the lock.
            ended = not any(child.is_running() for child in children)
            return ended and _is_free(instance.data_dir)

        instance.wait("free of children", alone)
        instance.start()
        return victim
    found: list[psutil.Process] = []

    def there() -> bool:
        running = instance.processes()
        found[:] = [running[name] for name in sorted(running) if name.startswith(victim)]
        return bool(found)

    instance.wait(f"a {victim} to kill", there)
    with contextlib.suppress(psutil.NoSuchProcess):  # a start that was just ending by itself
        chance.choice(found).kill()
    return victim


def _is_free(data_dir: DataDir) -> bool:
    """Whether no process of an instance is left that has its lock."""
    with data_dir.lock_file.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def check_stopped(instance: Instance, seen: Acknowledged) -> None:
    """Stop, and look at all that is stored."""
    assert instance.stop() == 0, instance.said()
    checked = instance.command("log", "fsck", "--data", str(instance.data_dir.path))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    check_certificates(instance.data_dir, seen)
    check_history(instance.data_dir, seen)


def check_entries(
    instance: Instance, log: TransparencyLog, seen: Acknowledged, entry_ids: Iterable[str]
) -> None:
    """These acknowledged entries are shown as they were, provably in the log as it is now."""
    client = Client(instance.port)
    for entry_id in entry_ids:
        status, _, data = client.get(f"/api/v1/log/entries/{entry_id}")
        assert status == 200, f"{entry_id} is lost"
        now = rekor_v1.parse_log_entry(data).entry
        assert lasting(now) == seen.entries[entry_id]
        assert now.inclusion_proof is not None
        verify_promise(now, log)
        assert verify_inclusion_proof(now, now.inclusion_proof, log) >= len(seen.entries)
    client.close()


def check_history(data_dir: DataDir, seen: Acknowledged) -> None:
    """Every entry is where it was, and every root that a proof led to was one of the log's.

    So there is no second history.
    """
    wanted: dict[int, Lasting] = {entry.log_index: entry for entry in seen.entries.values()}
    assert len(wanted) == len(seen.entries)
    shown = dict(seen.heads)
    with Inspection.open(data_dir) as inspection:
        tree = GrowingTree()
        for index, record in enumerate(inspection.records("rekor-v1-1")):
            entry = wanted.pop(index, None)
            assert entry is None or entry.body_hash == sha256(record).digest(), f"entry {index}"
            tree.append([leaf_hash(record)])
            root_hash = shown.pop(tree.size, None)
            assert root_hash is None or root_hash == tree.view().root_hash
    assert not wanted, "entries were acknowledged that the log does not hold"
    assert not shown, "heads were shown that the log never reached"


def check_certificates(data_dir: DataDir, seen: Acknowledged) -> None:
    """The SCT in every issued certificate is the one that the CT log keeps for it."""
    with Inspection.open(data_dir) as inspection:
        for leaf, issuer in seen.certificates:
            extension = Certificate.parse(leaf).extension(OID_SCT_LIST)
            assert extension is not None
            content = der.decode(extension.value, "SCT list", der.OCTET_STRING).content
            (sct,) = parse_sct_list(content)
            row = inspection.find("ct-main", ct_identity(leaf, issuer))
            assert row is not None, "a certificate was issued that the CT log does not hold"
            assert row.promise == sct.serialize()
