# SPDX-License-Identifier: Apache-2.0
"""The steps of a rotation: their order, what is written when, and going on from every one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from countermark.app.data_dir import DataDir
from countermark.app.init import initialise
from countermark.app.instance import (
    InstanceConfig,
    Rotated,
    load_instance,
    new_instance,
    save_instance,
)
from countermark.app.keyring import KeyRing
from countermark.app.rotation import SERVICES, WAIT, Material, Rotator
from countermark.app.rotation_keys import KeyMaker
from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import InvariantBroken, SettingsError, Unavailable
from countermark.drivers.keys.file import P256, create_key
from countermark.drivers.system import SystemClock, SystemEntropy

NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)


class Clock:
    """Goes on when told."""

    def __init__(self) -> None:
        self.now = NOW

    def now_ms(self) -> int:
        return int(self.now.timestamp() * 1000)


class Hands:
    """Notes what was asked for, and how instance.json was then; fails when told to."""

    def __init__(self, data_dir: DataDir, clock: Clock) -> None:
        self.done: list[tuple[str, str]] = []
        self.fail_at = -1
        self._data_dir = data_dir
        self._clock = clock

    def _do(self, what: str) -> None:
        if len(self.done) == self.fail_at:
            self.fail_at = -1
            raise Unavailable("killed")
        rotations = load_instance(self._data_dir.instance_file).rotations
        self.done.append((what, rotations[0].step if rotations else "none"))

    def publish(self) -> None:
        self._do("publish")

    def publish_root(self) -> None:
        self._do("publish root")

    def switch(self, decided: datetime) -> datetime:
        self._do("switch")
        assert decided <= self._clock.now
        config = load_instance(self._data_dir.instance_file)
        if config.rotation_of("log"):  # as `open_next_shards` leaves it
            save_instance(
                self._data_dir.instance_file, replaced(config, rotations=(), next_logs=())
            )
        return self._clock.now


def replaced(config: InstanceConfig, **changes: object) -> InstanceConfig:
    import msgspec

    return msgspec.structs.replace(config, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    data_dir = DataDir.at(tmp_path_factory.mktemp("made") / "data")
    initialise(data_dir, "http://localhost:7446", SystemClock(), SystemEntropy())
    return data_dir


@pytest.fixture
def data_dir(made: DataDir, tmp_path: Path) -> DataDir:
    """Keys and instance.json of an instance; no logs."""
    import shutil

    copy = DataDir.at(tmp_path / "data")
    copy.path.mkdir(mode=0o700)
    for folder in ("keys", "offline"):
        shutil.copytree(made.path / folder, copy.path / folder)
    shutil.copy(made.instance_file, copy.instance_file)
    return copy


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hands(data_dir: DataDir, clock: Clock) -> Hands:
    return Hands(data_dir, clock)


@pytest.fixture
def rotator(data_dir: DataDir, hands: Hands, clock: Clock) -> Rotator:
    return Rotator(data_dir, hands, clock)


def maker(
    data_dir: DataDir, service: Rotated, *, new_root: bool = False
) -> Callable[[InstanceConfig], Material]:
    making = KeyMaker(data_dir, SystemEntropy(), NOW)
    return lambda config: making.make(service, config, new_root=new_root)


@pytest.mark.parametrize("service", SERVICES)
def test_clients_learn_of_the_key_before_it_signs(
    service: Rotated, data_dir: DataDir, rotator: Rotator, hands: Hands, clock: Clock
) -> None:
    tell = "publish root" if service == "tuf" else "publish"
    rotator.begin(service, maker(data_dir, service))
    waiting = rotator.advance(service)
    assert waiting is not None
    assert (waiting.step, waiting.wait_until) == ("published", NOW + WAIT)
    assert hands.done == [(tell, "made")]
    clock.now = NOW + WAIT - timedelta(seconds=1)
    assert rotator.advance(service) == waiting
    assert len(hands.done) == 1
    clock.now = NOW + WAIT
    assert rotator.advance(service) is None
    steps = [(tell, "made"), ("switch", "switching"), (tell, "switched")]
    assert hands.done == (steps[:2] if service == "log" else steps)
    assert rotator.config().rotations == ()


@pytest.mark.parametrize("service", ["ca", "tsa", "login", "tuf"])
@pytest.mark.parametrize("fail_at", [0, 1, 2])
def test_it_goes_on_from_every_step_with_the_same_key(
    service: Rotated,
    fail_at: int,
    data_dir: DataDir,
    rotator: Rotator,
    hands: Hands,
    clock: Clock,
) -> None:
    rotator.begin(service, maker(data_dir, service))
    assert service != "log"
    noted = rotator.config().keys_of(service)
    hands.fail_at = fail_at
    with pytest.raises(Unavailable):
        rotator.advance(service, at_once=True)
    rotator.begin(service, maker(data_dir, service))  # makes nothing: one is under way
    clock.now += timedelta(hours=1)
    assert rotator.advance(service, at_once=True) is None
    old, new = rotator.config().keys_of(service)
    assert [key.spki for key in (old, new)] == [key.spki for key in noted]
    assert (old.state, new.state) == ("old", "active")
    assert old.end is not None
    assert new.end is None
    # Not before the switch, and a certificate's ten minutes are covered.
    least = clock.now if fail_at < 2 else NOW
    assert least < old.end <= least + timedelta(minutes=15, seconds=1)
    assert (old.end - least >= timedelta(minutes=10)) is (service in ("ca", "login"))
    assert new.start == NOW
    assert old.start == rotator.config().created


@pytest.mark.parametrize("service", ["ca", "tsa"])
def test_certificates_of_a_second_and_third_key(
    service: Rotated, data_dir: DataDir, rotator: Rotator
) -> None:
    assert service != "log"
    for new_root in (False, True, False):
        rotator.begin(service, maker(data_dir, service, new_root=new_root))
        rotator.advance(service, at_once=True)
    keys = rotator.config().keys_of(service)
    assert [key.key for key in keys] == [service, *(f"{service}-{n}" for n in (2, 3, 4))]
    chains = [[Certificate.parse(data) for data in key.chain] for key in keys]
    for key, (leaf, root) in zip(keys, chains, strict=True):
        assert leaf.spki == key.spki
        leaf.verify_signature(root.public_key)
        assert root.not_after >= leaf.not_after
    roots = [root.der for _, root in chains]
    assert roots[0] == roots[1] != roots[2] == roots[3]
    ring = KeyRing.load(data_dir, rotator.config())
    assert ring.signer(service).public_key.spki == keys[-1].spki
    assert (ring.ca_chain if service == "ca" else ring.tsa_chain) == keys[-1].chain


def test_without_the_root_key_nothing_is_made(data_dir: DataDir, rotator: Rotator) -> None:
    data_dir.offline_key_file("tsa-root").unlink()
    before = rotator.config()
    with pytest.raises(SettingsError, match="root key of tsa is not in"):
        rotator.begin("tsa", maker(data_dir, "tsa"))
    assert rotator.config() == before
    assert not data_dir.key_file("tsa-2").exists()
    with pytest.raises(SettingsError, match="has no root certificate"):
        rotator.begin("login", maker(data_dir, "login", new_root=True))


def test_a_key_exchanged_on_the_way_is_refused(data_dir: DataDir, rotator: Rotator) -> None:
    rotator.begin("tsa", maker(data_dir, "tsa"))
    secret = data_dir.keys_passphrase_file.read_bytes().strip()
    file = data_dir.key_file("tsa-2")
    file.unlink()
    create_key(file, P256, secret)
    rotator.advance("tsa", at_once=True)
    with pytest.raises(InvariantBroken, match="another key than clients were told of"):
        KeyRing.load(data_dir, rotator.config())


def test_what_was_not_used_can_be_taken_back(
    data_dir: DataDir, rotator: Rotator, hands: Hands
) -> None:
    with pytest.raises(SettingsError, match="no rotation of ca is under way"):
        rotator.abandon("ca")
    for service in ("ca", "log"):
        rotator.begin(service, maker(data_dir, service))
        rotator.advance(service)
        rotator.abandon(service)
        assert hands.done[-1] == ("publish", "none")
    config = rotator.config()
    assert (config.rotations, config.next_logs) == ((), ())
    assert [key.state for key in config.keys] == ["active"]
    rotator.begin("ca", maker(data_dir, "ca"))
    hands.fail_at = len(hands.done) + 1
    with pytest.raises(Unavailable):
        rotator.advance("ca", at_once=True)
    with pytest.raises(SettingsError, match="in use already"):
        rotator.abandon("ca")


def test_several_services_at_a_time(data_dir: DataDir, rotator: Rotator) -> None:
    for service in SERVICES:
        rotator.begin(service, maker(data_dir, service))
        rotator.advance(service)
    assert {item.service for item in rotator.config().rotations} == set(SERVICES)
    for service in SERVICES:
        rotator.advance(service, at_once=True)
    assert rotator.config().rotations == ()


@pytest.mark.parametrize(
    "damage",
    [
        (b'"state": "active"', b'"state": "old"'),
        (b'"state": "next"', b'"state": "active"'),
        (b'"key": "tsa-2"', b'"key": "../tsa"'),
        (b'"key": "tsa-2"', b'"key": "tsa"'),
        (b'"key": "tsa-2"', b'"key": "ct-main"'),
        (b'"start": "2026-11-22T07:00:00Z"', b'"start": "2026-11-22T07:00:00"'),
        (b'"step": "made"', b'"step": "done"'),
    ],
)
def test_a_damaged_instance_json_is_noticed(
    damage: tuple[bytes, bytes], data_dir: DataDir, rotator: Rotator
) -> None:
    rotator.begin("tsa", maker(data_dir, "tsa"))
    data = data_dir.instance_file.read_bytes()
    assert damage[0] in data
    with pytest.raises(InvariantBroken, match="damaged"):
        InstanceConfig.parse(data.replace(*damage))


def test_an_instance_without_rotations_lists_no_keys() -> None:
    config = new_instance("http://localhost:7446", NOW, 1)
    assert (config.keys, config.next_logs, config.rotations) == ((), (), ())
    assert config.active_key("ca") is None
    assert config.key_name("tuf") == "tuf-online"
