# SPDX-License-Identifier: Apache-2.0
"""instance.json: names and origins of a new instance, round trips, damage."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from countermark.app.instance import (
    CT_LOG,
    V1_LOG,
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


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_instance(tmp_path / "instance.json")
