# SPDX-License-Identifier: Apache-2.0
"""The next shards: what ends, what begins, what clients are told, and what must not happen."""

import asyncio
import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from countermark.app.data_dir import DataDir
from countermark.app.init import initialise
from countermark.app.inspection import Inspection
from countermark.app.instance import InstanceConfig, load_instance, save_instance
from countermark.app.keyring import KeyRing
from countermark.app.logs import open_log, personality_of, shard_of
from countermark.app.opening import open_instance
from countermark.app.shards import open_next_shards
from countermark.core.bundle.trusted_root import TrustedRoot, Validity
from countermark.core.errors import InvariantBroken, LogFrozen, SettingsError
from countermark.core.rekor.set_payload import set_message
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.tlog.note import SignedNote
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.system import SystemEntropy
from countermark.tilelog.log import Limits, Log
from countermark.tlog.genesis import genesis_artifact
from countermark.tlog.personality import submission
from countermark.trust.repository import TufRepository
from countermark.trust.targets import NAMES
from tests.support.v1_log import SettableClock

URL = "http://localhost:7446"
ENTROPY = SystemEntropy()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    data_dir = DataDir.at(tmp_path_factory.mktemp("made") / "data")
    initialise(data_dir, URL, SettableClock(), ENTROPY)
    return data_dir


@pytest.fixture
def data_dir(made: DataDir, tmp_path: Path) -> DataDir:
    """A new instance."""
    shutil.copytree(made.path, tmp_path / "data")
    return DataDir.at(tmp_path / "data")


@pytest.fixture
def clock() -> SettableClock:
    """A day after the instance was made."""
    clock = SettableClock()
    clock.time_ms += 24 * 3600 * 1000
    return clock


def shard(data_dir: DataDir, clock: SettableClock, *, restored: bool = False) -> InstanceConfig:
    return open_next_shards(data_dir, clock, ENTROPY, restored=restored)


def root_of(data_dir: DataDir) -> TrustedRoot:
    return TrustedRoot.parse((data_dir.trust / "trusted_root.json").read_bytes())


def add(data_dir: DataDir, clock: SettableClock, name: str, *texts: str, limits: Limits) -> None:
    """Entries as a running instance would log them, and then the process is gone."""
    config = open_instance(data_dir)
    keys = KeyRing.load(data_dir, config)
    store = RocksLogStore(data_dir.db)
    log = config.log(name)
    objects = FileObjectStore(data_dir.log_folder(name))
    personality = personality_of(config, log, keys.signer(log.key))
    opened = Log.open(name, personality, store, objects, clock, limits)

    async def work() -> None:
        running = asyncio.create_task(opened.run())
        for text in texts:
            await opened.add(submission(text.encode(), ()))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())
    store.close()


def sound(data_dir: DataDir) -> dict[str, int]:
    """Sizes of the logs, all of them sound."""
    with Inspection.open(data_dir) as inspection:
        reports = inspection.check((), lambda *_: None, rows=False)
    assert [report.problems for report in reports] == [()] * len(reports)
    return {report.name: report.tree_size for report in reports}


def test_old_logs_end_and_new_ones_begin(data_dir: DataDir, clock: SettableClock) -> None:
    before = open_instance(data_dir)
    keys = KeyRing.load(data_dir, before)
    config = shard(data_dir, clock)

    assert config == open_instance(data_dir)
    assert not data_dir.next_shards_file.exists()
    old_v1, old_ct, new_v1, new_ct = config.logs
    now = datetime.fromtimestamp(clock.time_ms // 1000, UTC)
    for log, was, size in ((old_v1, before.logs[0], 2), (old_ct, before.logs[1], 0)):
        end = log.frozen
        assert end is not None
        assert (end.tree_size, end.spki) == (size, keys.signer(log.key).public_key.spki)
        assert 0 < (end.at - now).total_seconds() <= 1
        assert (log.name, log.origin, log.base_url) == (was.name, was.origin, was.base_url)
    assert (new_v1.name, new_v1.base_url) == ("rekor-v1-2", URL)
    assert new_v1.origin == f"localhost - {new_v1.tree_id}"
    assert new_v1.tree_id not in (0, old_v1.tree_id)
    assert (new_ct.name, new_ct.base_url) == ("ct-main-2", f"{URL}/ctlog/main-2")
    assert new_ct.origin == "localhost:7446/ctlog/main-2"
    assert new_v1.opened == new_ct.opened == now
    assert config.first_index(new_v1) == 2
    assert sound(data_dir) == {"rekor-v1-1": 2, "ct-main": 0, "rekor-v1-2": 2, "ct-main-2": 0}


def test_clients_are_told_of_both(data_dir: DataDir, clock: SettableClock) -> None:
    before = root_of(data_dir)
    config = shard(data_dir, clock)
    keys = KeyRing.load(data_dir, config)
    root = root_of(data_dir)

    assert root.certificate_authorities == before.certificate_authorities
    assert root.timestamp_authorities == before.timestamp_authorities
    for listed, once, kind in (
        (root.tlogs, before.tlogs, "rekor-v1"),
        (root.ctlogs, before.ctlogs, "ct"),
    ):
        old, new = config.logs_of("ct" if kind == "ct" else "rekor-v1")
        assert old.frozen is not None
        assert new.opened is not None
        assert [log.public_key for log in listed] == [
            once[0].public_key,
            keys.signer(new.key).public_key,
        ]
        assert [log.validity for log in listed] == [
            Validity(config.created, old.frozen.at),
            Validity(new.opened),
        ]
    repository = TufRepository.open(FileObjectStore(data_dir.tuf), keys.signer("tuf-online"))
    assert repository.timestamp_version == 2
    for name in NAMES:
        (target,) = (path for path in data_dir.tuf.rglob(f"*{name}") if is_newest(path, data_dir))
        assert target.read_bytes() == (data_dir.trust / name).read_bytes()


def is_newest(path: Path, data_dir: DataDir) -> bool:
    digest = path.name.partition(".")[0]
    return digest in (data_dir.tuf / "2.targets.json").read_text()


def test_genesis_entries_stand_in_the_row_of_all_entries(
    data_dir: DataDir, clock: SettableClock
) -> None:
    config = shard(data_dir, clock)
    keys = KeyRing.load(data_dir, config)
    log = config.open_log("rekor-v1")
    with Inspection.open(data_dir) as inspection:
        records = list(inspection.records(log.name))
    assert len(records) == 2
    key = keys.signer(log.key).public_key
    described = genesis_artifact(shard_of(config, log, key), log.base_url, 1)
    digest = hashlib.sha256(described).hexdigest()
    assert json.loads(records[0])["spec"]["data"]["hash"]["value"] == digest
    store = RocksLogStore(data_dir.db)
    row = store.find(log.name, [leaf_hash(records[1])])[0]
    store.close()
    assert row is not None
    message = set_message(records[1], row.time_ms // 1000, key.key_id, 2 + 1)
    key.verify(row.promise, message)


def test_what_was_staged_is_published_first(data_dir: DataDir, clock: SettableClock) -> None:
    slow = Limits(quiet_s=60, coalesce_s=60)
    add(data_dir, clock, "rekor-v1-1", "one", "two", "three", limits=slow)
    with Inspection.open(data_dir) as inspection:
        status = inspection.status()[0]
        assert (status.tree_size, status.published_size, status.frozen) == (5, 2, False)
    config = shard(data_dir, clock)
    with Inspection.open(data_dir) as inspection:
        status = inspection.status()[0]
        assert (status.tree_size, status.published_size, status.frozen) == (5, 5, True)
    note = SignedNote.parse((data_dir.log_folder("rekor-v1-1") / "checkpoint").read_bytes())
    assert Checkpoint.parse(note.text).tree_size == 5
    assert config.first_index(config.open_log("rekor-v1")) == 5


def test_a_third_shard(data_dir: DataDir, clock: SettableClock) -> None:
    shard(data_dir, clock)
    add(data_dir, clock, "rekor-v1-2", "a", "b", limits=Limits())
    clock.time_ms += 1000
    config = shard(data_dir, clock)
    shards = config.logs_of("rekor-v1")
    assert [config.first_index(log) for log in shards] == [0, 2, 6]
    assert [log.name for log in config.logs_of("ct")] == ["ct-main", "ct-main-2", "ct-main-3"]
    assert len({log.tree_id for log in shards}) == 3
    root = root_of(data_dir)
    assert len({log.public_key for log in (*root.tlogs, *root.ctlogs)}) == 6
    assert sound(data_dir)["rekor-v1-2"] == 4


def test_a_clock_that_was_set_back_leaves_nothing_outside(
    data_dir: DataDir, clock: SettableClock
) -> None:
    add(data_dir, clock, "rekor-v1-1", "late", limits=Limits())
    late_s = clock.time_ms / 1000
    clock.time_ms -= 3600 * 1000
    old = shard(data_dir, clock).log("rekor-v1-1")
    assert old.frozen is not None
    assert old.frozen.at.timestamp() > late_s


def test_frozen_logs_need_no_private_key(data_dir: DataDir, clock: SettableClock) -> None:
    config = shard(data_dir, clock)
    for log in config.logs[:2]:
        data_dir.key_file(log.key).unlink()
    keys = KeyRing.load(data_dir, config)
    for log in config.logs[:2]:
        assert log.frozen is not None
        signer = keys.signer(log.key)
        assert signer.public_key.spki == log.frozen.spki
        with pytest.raises(InvariantBroken, match="signs nothing"):
            signer.sign(b"x")
    shard(data_dir, clock)
    assert len(sound(data_dir)) == 6


def test_a_frozen_log_opens_for_reading_alone(data_dir: DataDir, clock: SettableClock) -> None:
    config = shard(data_dir, clock)
    keys = KeyRing.load(data_dir, config)
    store = RocksLogStore(data_dir.db)
    try:
        log = config.log("rekor-v1-1")
        objects = FileObjectStore(data_dir.log_folder(log.name))
        personality = personality_of(config, log, keys.signer(log.key))
        opened = open_log(log, personality, store, objects, clock)
        with pytest.raises(LogFrozen):
            asyncio.run(opened.add(submission(b"x", ())))
    finally:
        store.close()


def test_a_frozen_log_that_went_on_is_noticed(data_dir: DataDir, clock: SettableClock) -> None:
    """As a program would have it that knows nothing of ends."""
    before = open_instance(data_dir)
    config = shard(data_dir, clock)
    save_instance(data_dir.instance_file, before)
    add(data_dir, clock, "rekor-v1-1", "too late", limits=Limits())
    save_instance(data_dir.instance_file, config)
    with Inspection.open(data_dir) as inspection:
        reports = inspection.check((), lambda *_: None, rows=False)
    (problem,) = (problem for report in reports for problem in report.problems)
    assert (problem.where, "frozen at 2 entries" in problem.what) == ("head", True)
    store = RocksLogStore(data_dir.db)
    try:
        log = config.log("rekor-v1-1")
        objects = FileObjectStore(data_dir.log_folder(log.name))
        keys = KeyRing.load(data_dir, config)
        personality = personality_of(config, log, keys.signer(log.key))
        with pytest.raises(InvariantBroken, match="frozen at 2 entries"):
            open_log(log, personality, store, objects, clock)
    finally:
        store.close()
    with pytest.raises(InvariantBroken, match="frozen at 2 entries"):
        shard(data_dir, clock)


def test_a_restored_instance_uses_nothing_that_the_world_may_have_seen(
    data_dir: DataDir, clock: SettableClock, tmp_path: Path
) -> None:
    shutil.copytree(data_dir.path, tmp_path / "lost")
    lost = DataDir.at(tmp_path / "lost")
    for _ in range(3):
        seen = shard(lost, clock)
    config = shard(data_dir, clock, restored=True)

    old = {log.origin for log in open_instance(lost).logs}
    assert {log.origin for log in config.logs[2:]} & old == set()
    assert {log.base_url for log in config.logs_of("ct")[1:]} & {
        log.base_url for log in seen.logs
    } == set()
    for name in ("snapshot", "targets"):
        newest = max(int(path.name.partition(".")[0]) for path in data_dir.tuf.glob(f"*.{name}.*"))
        known = max(int(path.name.partition(".")[0]) for path in lost.tuf.glob(f"*.{name}.*"))
        assert newest > known + 10_000
    keys = KeyRing.load(data_dir, config)
    repository = TufRepository.open(FileObjectStore(data_dir.tuf), keys.signer("tuf-online"))
    assert repository.timestamp_version > 10_000
    assert len(sound(data_dir)) == 4


def test_what_is_not_finished_is_not_opened(
    data_dir: DataDir, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_instance(data_dir)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("countermark.app.shards.write_trust_files", full)
        with pytest.raises(OSError, match="No space"):
            shard(data_dir, clock)
    assert load_instance(data_dir.instance_file) == before
    planned = load_instance(data_dir.next_shards_file)
    with pytest.raises(SettingsError, match="new shards are being opened"):
        open_instance(data_dir)
    keys = {path.name: path.read_bytes() for path in data_dir.keys.iterdir()}
    clock.time_ms += 1000_000

    assert shard(data_dir, clock) == planned == open_instance(data_dir)
    assert {path.name: path.read_bytes() for path in data_dir.keys.iterdir()} == keys
    assert len(sound(data_dir)) == 4


def test_killed_at_the_very_end_it_does_not_begin_again(
    data_dir: DataDir, clock: SettableClock
) -> None:
    config = shard(data_dir, clock)
    save_instance(data_dir.next_shards_file, config)
    before = {path: path.read_bytes() for path in data_dir.tuf.rglob("*.json")}
    assert shard(data_dir, clock) == config == open_instance(data_dir)
    assert {path: path.read_bytes() for path in data_dir.tuf.rglob("*.json")} == before


def test_another_passphrase_changes_nothing(data_dir: DataDir, clock: SettableClock) -> None:
    before = {path: path.read_bytes() for path in data_dir.trust.iterdir()}
    with pytest.raises(SettingsError, match="passphrase"):
        open_next_shards(data_dir, clock, ENTROPY, passphrase=b"wrong")
    assert not data_dir.next_shards_file.exists()
    assert {path: path.read_bytes() for path in data_dir.trust.iterdir()} == before
