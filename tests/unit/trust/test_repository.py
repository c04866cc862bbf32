# SPDX-License-Identifier: Apache-2.0
"""The TUF repository: what moves when, what a failed write leaves, what damage is noticed."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from countermark.core.errors import AlgorithmRefused, InvariantBroken, Unavailable
from countermark.drivers.keys.file import ED25519, RSA_2048, create_key
from countermark.trust.repository import TufRepository
from tests.support.tuf import START, TARGETS, MadeRepository, damage, make_repository


@pytest.fixture
def made(tmp_path: Path) -> MadeRepository:
    return make_repository(tmp_path)


def signed(made: MadeRepository, path: str) -> dict[str, Any]:
    part: dict[str, Any] = json.loads(made.objects.fetch(path))["signed"]
    return part


def versions(made: MadeRepository) -> tuple[int, int, int]:
    """Of timestamp, snapshot and targets, as a client finds them."""
    timestamp = signed(made, "timestamp.json")
    snapshot_version = timestamp["meta"]["snapshot.json"]["version"]
    snapshot = signed(made, f"{snapshot_version}.snapshot.json")
    return timestamp["version"], snapshot_version, snapshot["meta"]["targets.json"]["version"]


def test_new_repository(made: MadeRepository) -> None:
    assert versions(made) == (1, 1, 1)
    root = signed(made, "1.root.json")
    assert root["consistent_snapshot"] is True
    root_keys = root["roles"]["root"]["keyids"]
    online_keys = root["roles"]["timestamp"]["keyids"]
    assert root["roles"]["targets"]["keyids"] == root["roles"]["snapshot"]["keyids"] == online_keys
    assert len(root_keys) == len(online_keys) == 1
    assert root_keys != online_keys
    assert {key["scheme"] for key in root["keys"].values()} == {"ed25519"}
    assert {path.partition(".")[2] for path in made.objects.paths("targets/")} == set(TARGETS)


def test_an_older_copy_gets_beyond_what_clients_have_seen(made: MadeRepository) -> None:
    repository = TufRepository.open(made.objects, made.online)
    repository.publish({"trusted_root.json": b"{}"}, START, skip=100)
    assert versions(made) == (102, 102, 102)
    repository.publish({"trusted_root.json": b"{}\n"}, START)
    assert versions(made) == (103, 103, 103)
    repository = TufRepository.open(made.objects, made.online)
    repository.refresh(START + timedelta(days=1))
    assert versions(made) == (104, 103, 103)


def test_timestamp_alone_moves_day_by_day(made: MadeRepository) -> None:
    repository = TufRepository.open(made.objects, made.online)
    assert not repository.due(START + timedelta(hours=23))
    assert repository.due(START + timedelta(hours=25))

    for day in range(1, 4):
        now = START + timedelta(days=day)
        repository.refresh(now)
        assert versions(made) == (1 + day, 1, 1)
        assert repository.expires == now + timedelta(days=7)
        assert not repository.due(now)


def test_snapshot_and_targets_are_signed_anew_in_time(made: MadeRepository) -> None:
    repository = TufRepository.open(made.objects, made.online)
    repository.refresh(START + timedelta(days=200))
    assert versions(made) == (2, 2, 2)
    assert signed(made, "2.targets.json")["targets"] == signed(made, "1.targets.json")["targets"]
    repository.refresh(START + timedelta(days=201))
    assert versions(made) == (3, 2, 2)


def test_long_sleep_is_survived(made: MadeRepository) -> None:
    now = START + timedelta(days=2000)
    repository = TufRepository.open(made.objects, made.online)
    assert repository.due(now)
    repository.refresh(now)
    assert repository.expires == now + timedelta(days=7)


def test_clock_that_went_back_is_survived(made: MadeRepository) -> None:
    repository = TufRepository.open(made.objects, made.online)
    repository.refresh(START - timedelta(days=30))
    assert versions(made) == (2, 1, 1)
    assert TufRepository.open(made.objects, made.online).timestamp_version == 2


def test_publishing_replaces_the_set_of_targets(made: MadeRepository) -> None:
    repository = TufRepository.open(made.objects, made.online)
    repository.publish({"other.json": b"1", "folder/keys.json": b"2"}, START)
    assert versions(made) == (2, 2, 2)
    assert set(signed(made, "2.targets.json")["targets"]) == {"other.json", "folder/keys.json"}
    digest = hashlib.sha256(b"2").hexdigest()
    assert list(made.objects.paths("targets/folder/")) == [f"targets/folder/{digest}.keys.json"]


def test_failed_write_changes_nothing_and_is_made_up_for(
    made: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = TufRepository.open(made.objects, made.online)

    def full(path: str, data: bytes) -> None:
        raise Unavailable("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(made.objects), "replace", lambda self, path, data: full(path, data))
        with pytest.raises(Unavailable):
            repository.publish({"other.json": b"1"}, START)
    assert versions(made) == (1, 1, 1)
    assert repository.timestamp_version == 1

    # The versions that were written in vain are passed over, here and after a restart.
    repository.publish({"other.json": b"2"}, START + timedelta(seconds=1))
    assert versions(made) == (2, 3, 3)
    assert set(signed(made, "3.targets.json")["targets"]) == {"other.json"}


@pytest.mark.parametrize(
    "path", ["1.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
)
def test_damage_is_noticed(made: MadeRepository, path: str) -> None:
    data = made.objects.fetch(path)
    for damaged in (b"", b"{}", data[:-1], data.replace(b'"version":1', b'"version":7')):
        assert damaged != data
        damage(made, path, damaged)
        with pytest.raises(InvariantBroken, match=path.replace(".", r"\.")):
            TufRepository.open(made.objects, made.online)
    damage(made, path, None)
    with pytest.raises(InvariantBroken):
        TufRepository.open(made.objects, made.online)


def test_one_role_does_not_pass_for_another(made: MadeRepository) -> None:
    damage(made, "1.targets.json", made.objects.fetch("1.snapshot.json"))
    with pytest.raises(InvariantBroken, match="holds snapshot"):
        TufRepository.open(made.objects, made.online)


def test_another_online_key_is_refused(made: MadeRepository, tmp_path: Path) -> None:
    stranger = create_key(tmp_path / "stranger.pem", ED25519, b"secret")
    with pytest.raises(InvariantBroken, match="another online key"):
        TufRepository.open(made.objects, stranger)
    rsa = create_key(tmp_path / "rsa.pem", RSA_2048, b"secret")
    with pytest.raises(AlgorithmRefused):
        TufRepository.open(made.objects, rsa)
