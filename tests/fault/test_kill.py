# SPDX-License-Identifier: Apache-2.0
"""kill -9 under load: whatever was acknowledged is there afterwards, with a valid proof.

Keeper, workers and supervisor are killed at seeded moments, thirty times, while clients post
entries and ask for certificates. Then: fsck of both logs, every acknowledged entry fetched and
verified, every tree head that anybody was shown is a state that the final log went through.
"""

import os
import random
import time
from pathlib import Path

import pytest

from countermark.app.inspection import Inspection
from countermark.core.bundle.trusted_root import TransparencyLog
from countermark.core.crypto import der
from countermark.core.crypto.certificate import OID_SCT_LIST, Certificate
from countermark.core.ct.sct import parse_sct_list
from countermark.core.tlog.integrate import GrowingTree
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.verify.log_entry import verify_inclusion_proof, verify_promise
from countermark.core.wire import rekor_v1
from tests.support.instance import Instance
from tests.support.load import Acknowledged, Client, Load, ct_identity, lasting, local_token

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("instance")]

KILLS = int(os.environ.get("COUNTERMARK_KILLS", "30"))
SEED = int(os.environ.get("COUNTERMARK_SEED", "20261122"))


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with Instance(tmp_path, "--workers", "2") as instance:
        log = instance.trusted_root().tlogs[0]
        token = local_token(instance.port, instance.data_dir.read_local_secret())
        with Load(instance.port, log, token) as load:
            load.wait_for_more()
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.02, 0.3))
                _kill(instance, chance)
                load.wait_for_more()
        seen = load.seen
        assert instance.stop() == 0, instance.said()

        checked = instance.command("log", "fsck", "--data", str(instance.data_dir.path))
        assert checked.returncode == 0, checked.stdout + checked.stderr
        check_certificates(instance, seen)
        check_heads(instance, seen)

        instance.start()
        check_entries(instance, log, seen)
    assert seen.wrong == []
    assert len(seen.entries) > KILLS
    assert len(seen.certificates) > KILLS / 10
    assert seen.conflicts


def _kill(instance: Instance, chance: random.Random) -> None:
    victim = chance.choices(["keeper", "worker", "supervisor"], [6, 3, 1])[0]
    running = instance.processes()
    if victim == "supervisor":
        children = [process for name, process in running.items() if name != "supervisor"]
        instance.kill("supervisor")
        deadline = time.monotonic() + 20
        while any(child.is_running() for child in children):
            assert time.monotonic() < deadline, "children outlive their supervisor"
            time.sleep(0.01)
        instance.start()
        return
    victims = sorted(name for name in running if name.startswith(victim))
    if victims:  # else it is being started again at this very moment
        instance.kill(chance.choice(victims))


def check_entries(instance: Instance, log: TransparencyLog, seen: Acknowledged) -> None:
    """Every acknowledged entry is shown as it was, provably in the log as it is now."""
    client = Client(instance.port)
    for entry_id, entry in seen.entries.items():
        status, _, data = client.get(f"/api/v1/log/entries/{entry_id}")
        assert status == 200, f"{entry_id} is lost"
        now = rekor_v1.parse_log_entry(data).entry
        assert lasting(now) == lasting(entry)
        assert now.inclusion_proof is not None
        verify_promise(now, log)
        assert verify_inclusion_proof(now, now.inclusion_proof, log) >= len(seen.entries)
    client.close()


def check_heads(instance: Instance, seen: Acknowledged) -> None:
    """Every root that a proof led to is one that the log had at that size: no second history."""
    shown: dict[int, bytes] = {}
    for entry in seen.entries.values():
        proof = entry.inclusion_proof
        assert proof is not None
        assert shown.setdefault(proof.tree_size, proof.root_hash) == proof.root_hash
    with Inspection.open(instance.data_dir) as inspection:
        records = inspection.records("rekor-v1-1")
        tree = GrowingTree()
        for record in records:
            tree.append([leaf_hash(record)])
            root_hash = shown.pop(tree.size, None)
            assert root_hash in (None, tree.view().root_hash)
    assert not shown, "heads were shown that the log never reached"


def check_certificates(instance: Instance, seen: Acknowledged) -> None:
    """The SCT in every issued certificate is the one that the CT log keeps for it."""
    with Inspection.open(instance.data_dir) as inspection:
        for leaf, issuer in seen.certificates:
            extension = Certificate.parse(leaf).extension(OID_SCT_LIST)
            assert extension is not None
            content = der.decode(extension.value, "SCT list", der.OCTET_STRING).content
            (sct,) = parse_sct_list(content)
            row = inspection.find("ct-main", ct_identity(leaf, issuer))
            assert row is not None, "a certificate was issued that the CT log does not hold"
            assert row.promise == sct.serialize()
