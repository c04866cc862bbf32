# SPDX-License-Identifier: Apache-2.0
"""Rotations and the distrust list on an instance that does not run."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from countermark.app.data_dir import DataDir
from countermark.app.hands import Secrets, Stopped, hands_on
from countermark.app.init import initialise
from countermark.app.inspection import Inspection
from countermark.app.instance import InstanceConfig
from countermark.app.keyring import KeyRing
from countermark.app.opening import open_instance
from countermark.app.rotation import SERVICES, Rotator
from countermark.app.rotation_keys import KeyMaker
from countermark.app.shards import open_next_shards
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TrustedRoot, Validity
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import InvariantBroken, SettingsError
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.verifier import verify
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.keys.file import P256, create_key
from countermark.drivers.system import SystemClock, SystemEntropy
from countermark.trust.repository import TufRepository

CLOCK, ENTROPY = SystemClock(), SystemEntropy()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    data_dir = DataDir.at(tmp_path_factory.mktemp("made") / "data")
    initialise(data_dir, "http://localhost:7446", CLOCK, ENTROPY)
    return data_dir


@pytest.fixture
def data_dir(made: DataDir, tmp_path: Path) -> DataDir:
    shutil.copytree(made.path, tmp_path / "data")
    return DataDir.at(tmp_path / "data")


@pytest.fixture
def hands(data_dir: DataDir) -> Stopped:
    return Stopped(data_dir, CLOCK, ENTROPY, Secrets())


@pytest.fixture
def rotator(data_dir: DataDir, hands: Stopped) -> Rotator:
    return Rotator(data_dir, hands, CLOCK)


def begin(data_dir: DataDir, rotator: Rotator, service: str) -> None:
    (named,) = (item for item in SERVICES if item == service)
    maker = KeyMaker(data_dir, ENTROPY, datetime.now(UTC))
    rotator.begin(named, lambda config: maker.make(named, config, new_root=False))
    rotator.advance(named)


def published(data_dir: DataDir, config: InstanceConfig) -> TufRepository:
    """The repository, which must say what /trust/ does."""
    keys = KeyRing.load(data_dir, config)
    repository = TufRepository.open(FileObjectStore(data_dir.tuf), keys.signer("tuf-online"))
    names = repository.targets.targets
    assert repository.holds({name: (data_dir.trust / name).read_bytes() for name in names})
    return repository


def windows(root: TrustedRoot) -> list[list[Validity]]:
    """When each kind's keys are valid."""
    return [
        *([log.validity for log in listed] for listed in (root.tlogs, root.ctlogs)),
        [authority.validity for authority in root.certificate_authorities],
        [authority.validity for authority in root.timestamp_authorities],
    ]


def check_sound(data_dir: DataDir) -> None:
    with Inspection.open(data_dir) as inspection:
        reports = inspection.check((), lambda *_: None, rows=True)
    assert [report.problems for report in reports] == [()] * len(reports)


def test_every_key_of_a_stopped_instance(data_dir: DataDir, rotator: Rotator) -> None:
    for service in SERVICES:
        begin(data_dir, rotator, service)
        published(data_dir, rotator.config())
    between = TrustedRoot.parse((data_dir.trust / "trusted_root.json").read_bytes())
    assert [len(listed) for listed in between] == [2, 2, 2, 2]
    assert {window.end for listed in windows(between) for window in listed} == {None}
    for service in SERVICES:
        rotator.advance(service, at_once=True)
        published(data_dir, rotator.config())
    after = TrustedRoot.parse((data_dir.trust / "trusted_root.json").read_bytes())
    for (old, new), (old_before, new_before) in zip(windows(after), windows(between), strict=True):
        assert (old.end is None, new.end) == (False, None)
        assert (old.start, new.start) == (old_before.start, new_before.start)
        # No gap, and no key that ends before it was replaced.
        assert old.end is not None
        assert old.end >= new.start
    repository = published(data_dir, open_instance(data_dir))
    assert repository.root.version == 3
    assert len(repository.root.roles["timestamp"].keyids) == 1
    check_sound(data_dir)


def test_next_logs_are_opened_by_log_shard_but_never_after_a_restore(
    data_dir: DataDir, rotator: Rotator, tmp_path: Path
) -> None:
    begin(data_dir, rotator, "log")
    told = [coming.log for coming in rotator.config().next_logs]
    shutil.copytree(data_dir.path, tmp_path / "restored")
    config = open_next_shards(data_dir, CLOCK, ENTROPY)
    assert [log for log in config.logs if log.frozen is None] == told
    assert (config.next_logs, config.rotations) == ((), ())
    check_sound(data_dir)

    # The lost instance may have gone on in the logs that it had told of.
    restored = DataDir.at(tmp_path / "restored")
    config = open_next_shards(restored, CLOCK, ENTROPY, restored=True)
    assert {log.name for log in told}.isdisjoint(log.name for log in config.logs)
    assert {log.tree_id for log in told if log.tree_id}.isdisjoint(
        log.tree_id for log in config.logs
    )
    assert (config.next_logs, config.rotations) == ((), ())
    check_sound(restored)


def test_a_next_log_with_another_key_is_not_opened(data_dir: DataDir, rotator: Rotator) -> None:
    begin(data_dir, rotator, "log")
    file = data_dir.key_file("rekor-v1-2")
    file.unlink()
    create_key(file, P256, data_dir.keys_passphrase_file.read_bytes().strip())
    with pytest.raises(InvariantBroken, match="another key than clients were told of"):
        rotator.advance("log", at_once=True)


def test_the_tuf_key_needs_the_root_key_or_a_ceremony(
    data_dir: DataDir, rotator: Rotator, tmp_path: Path
) -> None:
    shutil.move(data_dir.offline, tmp_path / "safe")
    with pytest.raises(SettingsError, match="cannot sign the next TUF root"):
        begin(data_dir, rotator, "tuf")
    rotation = rotator.config().rotation_of("tuf")
    assert rotation is not None
    assert rotation.step == "made"
    shutil.move(tmp_path / "safe", data_dir.offline)
    rotator.advance("tuf", at_once=True)
    assert published(data_dir, rotator.config()).root.version == 3


def test_a_statement_is_logged_and_proves_itself(data_dir: DataDir, hands: Stopped) -> None:
    for data in (b"one", b"two"):
        logged = hands.log_statement(data)
        bundle = Bundle.parse(logged.bundle)
        pem = data_dir.key_file("statements").read_text()
        key = PublicKey.from_pem(pem[pem.index("-----BEGIN PUBLIC KEY") :])
        root = TrustedRoot.parse((data_dir.trust / "trusted_root.json").read_bytes())
        evidence = verify(bundle, BytesArtifact(data), root, key)
        assert evidence.records[0].log_index == logged.log_index
        assert evidence.times[0].time - datetime.now(UTC) < timedelta(minutes=1)
    check_sound(data_dir)


def test_one_at_a_time(data_dir: DataDir) -> None:
    def nothing(text: str) -> None:
        raise AssertionError(text)

    secrets = Secrets()
    with hands_on(data_dir, CLOCK, ENTROPY, secrets, nothing) as hands:
        assert isinstance(hands, Stopped)
        with (
            pytest.raises(SettingsError, match="another command changes keys"),
            hands_on(data_dir, CLOCK, ENTROPY, secrets, nothing),
        ):
            raise AssertionError("two at a time")
    with (
        pytest.raises(SettingsError, match="there is no instance"),
        hands_on(DataDir.at(data_dir.path / "nowhere"), CLOCK, ENTROPY, secrets, nothing),
    ):
        raise AssertionError("no instance")
