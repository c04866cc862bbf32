# SPDX-License-Identifier: Apache-2.0
"""instance.json: names and origins of a new instance, round trips, damage."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from countermark.app.instance import (
    CT_LOG,
    V1_LOG,
    Frozen,
    InstanceConfig,
    load_instance,
    new_instance,
    save_instance,
)
from countermark.core.errors import InvariantBroken, SettingsError

CREATED = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)


def test_names_of_a_local_instance() -> None:
    config = new_instance("http://localhost:7446", CREATED, 2605736670972794746)

    log = config.log(V1_LOG)
    assert log.origin == "localhost - 2605736670972794746"
    assert log.note_name == "localhost"
    assert log.base_url == "http://localhost:7446"
    ct_log = config.log(CT_LOG)
    assert ct_log.origin == ct_log.note_name == "localhost:7446/ctlog/main"
    assert ct_log.base_url == "http://localhost:7446/ctlog/main"
    assert config.issuer_url == "http://localhost:7446/oidc"
    assert config.tsa_url == "http://localhost:7446/api/v1/timestamp"
    assert config.tuf_url == "http://localhost:7446/tuf"


def test_names_without_a_port() -> None:
    config = new_instance("https://sign.example.org", CREATED, 1)
    assert config.log(V1_LOG).origin == "sign.example.org - 1"
    assert config.log(CT_LOG).origin == "sign.example.org/ctlog/main"
    with pytest.raises(InvariantBroken):
        config.log("other")


@pytest.mark.parametrize(
    ("host", "embedded"),
    [
        ("localhost", True),
        ("sign.localhost", True),
        ("127.0.0.1", True),
        ("sign.example.org", False),
        ("localhost.example.org", False),
        ("mylocalhost", False),
        ("127.0.0.1.example.org", False),
        ("10.0.0.1", False),
    ],
)
def test_only_local_instances_have_a_development_login(host: str, embedded: bool) -> None:
    assert new_instance(f"http://{host}:7446", CREATED, 1).embedded_issuer is embedded


@pytest.mark.parametrize(
    "url",
    [
        "localhost:7446",
        "ftp://localhost",
        "http://",
        "http://localhost/",
        "http://localhost/x",
        "http://localhost?x",
        "http://localhost#x",
        "http://user@localhost",
        "http://Localhost",
        "http://local host",
        "http://local\nhost",
        "http://localhost\n",
        "http://localhost:",
        "http://localhost:x",
        "http://localhost:0080",
        "http://localhost:0",
        "http://localhost:99999",
        "http://[::1]:80",
        "http://ex – ample",
        "HTTP://localhost",
    ],
)
def test_other_base_urls_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="base URL"):
        new_instance(url, CREATED, 1)


def test_saved_is_loaded(tmp_path: Path) -> None:
    config = new_instance("http://localhost:7446", CREATED, 2**63 - 1)
    save_instance(tmp_path / "instance.json", config)
    assert load_instance(tmp_path / "instance.json") == config


@pytest.mark.parametrize(
    "damage",
    [
        (b'"created": "2026-11-22T01:02:03Z"', b'"created": "2026-11-22T01:02:03"'),
        (b'"kind": "ct"', b'"kind": "gossip"'),
        (b'"embedded_issuer"', b'"unknown"'),
        (b"{", b""),
        (b"localhost", b"\xff"),
    ],
)
def test_damage_is_noticed(damage: tuple[bytes, bytes]) -> None:
    data = new_instance("http://localhost:7446", CREATED, 1).serialize()
    damaged = data.replace(*damage)
    assert damaged != data
    with pytest.raises(InvariantBroken, match=r"instance\.json is damaged"):
        InstanceConfig.parse(damaged)


def sharded() -> InstanceConfig:
    config = new_instance("http://localhost:7446", CREATED, 1)
    end = Frozen(at=CREATED + timedelta(1), tree_size=7, root_hash=bytes(32), spki=b"key")
    old = [msgspec.structs.replace(log, frozen=end) for log in config.logs]
    new = [
        msgspec.structs.replace(log, name=f"{log.name}-2", opened=CREATED + timedelta(1))
        for log in config.logs
    ]
    return msgspec.structs.replace(config, logs=(*old, *new))


def test_logs_with_an_end() -> None:
    config = sharded()
    assert InstanceConfig.parse(config.serialize()) == config
    assert config.open_log("rekor-v1").name == f"{V1_LOG}-2"
    assert config.open_log("ct").name == f"{CT_LOG}-2"
    assert [config.first_index(log) for log in config.logs_of("rekor-v1")] == [0, 7]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ((b'"at": "2026-11-23T01:02:03Z"', b'"at": "2026-11-23T01:02:03"'), "time zone"),
        ((b'"opened": "2026-11-23T01:02:03Z"', b'"opened": "2026-11-23T01:02:03"'), "time zone"),
        ((b'"tree_size": 7', b'"tree_size": "7"'), "tree_size"),
        ((b'"kind": "ct"', b'"kind": "rekor-v1"'), "not the last rekor-v1 log is open"),
    ],
)
def test_damaged_ends_are_noticed(damage: tuple[bytes, bytes], why: str) -> None:
    data = sharded().serialize()
    damaged = data.replace(*damage)
    assert damaged != data
    with pytest.raises(InvariantBroken, match=rf"instance\.json is damaged: .*{why}"):
        InstanceConfig.parse(damaged)


@pytest.mark.parametrize("kept", [(), (0,), (1, 2, 3), (2, 1, 0, 3), (0, 1, 2)])
def test_each_kind_has_one_open_log_and_it_is_the_last(kept: tuple[int, ...]) -> None:
    config = sharded()
    logs = tuple(config.logs[number] for number in kept)
    damaged = msgspec.structs.replace(config, logs=logs).serialize()
    if kept == (1, 2, 3):  # no older v1 shard: nothing says that there was one
        assert InstanceConfig.parse(damaged).logs == logs
    else:
        with pytest.raises(InvariantBroken, match="log is open"):
            InstanceConfig.parse(damaged)


def test_an_instance_json_of_layout_1_has_no_ended_logs() -> None:
    data = new_instance("http://localhost:7446", CREATED, 1).serialize()
    tree = msgspec.json.decode(data)
    for log in tree["logs"]:
        del log["opened"], log["frozen"]
    assert InstanceConfig.parse(msgspec.json.encode(tree)).serialize() == data


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_instance(tmp_path / "instance.json")
