# SPDX-License-Identifier: Apache-2.0
"""What is checked before an instance starts: lock, port, and that it is still what it was."""

import fcntl
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from countermark.app import bring_up, sockets
from countermark.app.data_dir import DataDir
from countermark.app.secrets import resolve_passphrase
from countermark.app.settings import Settings
from countermark.core.errors import SettingsError


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """An instance created as http://localhost:7446."""
    data_dir = DataDir.at(tmp_path_factory.mktemp("instance") / "data")
    said: list[str] = []
    with bring_up.locked(data_dir):
        config = bring_up.prepare(Settings(), data_dir, said.append)
    assert config.base_url == "http://localhost:7446"
    assert any("creating keys" in text for text in said)
    return data_dir


def test_one_instance_at_a_time(tmp_path: Path) -> None:
    data_dir = DataDir.at(tmp_path / "new" / "data")
    with (
        bring_up.locked(data_dir),
        pytest.raises(SettingsError, match="an instance runs"),
        bring_up.locked(data_dir),
    ):
        pass
    with bring_up.locked(data_dir):
        pass


@pytest.mark.parametrize("target", ["there", "absent"])
def test_a_lock_that_leads_elsewhere_is_not_followed(tmp_path: Path, target: str) -> None:
    """In a directory that somebody else prepared, it would make us write over our own files."""
    precious = tmp_path / "precious"
    if target == "there":
        precious.write_text("mine")
    data_dir = DataDir.at(tmp_path / "data")
    data_dir.path.mkdir()
    data_dir.lock_file.symlink_to(precious)
    with pytest.raises(SettingsError, match="cannot be used"), bring_up.locked(data_dir):
        pass
    assert precious.exists() == (target == "there")
    assert target == "absent" or precious.read_text() == "mine"


@pytest.mark.parametrize("content", ["", "-1", "0", "99999999999999999999999", "x", "1\n2"])
def test_whatever_stands_in_a_lock_that_nobody_holds(tmp_path: Path, content: str) -> None:
    data_dir = DataDir.at(tmp_path)
    data_dir.lock_file.write_text(content)
    with bring_up.locked(data_dir):
        assert data_dir.lock_file.read_text() == f"{os.getpid()}\n"


def test_a_directory_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    data_dir = DataDir.at(tmp_path)
    with pytest.raises(SettingsError, match="neither empty nor"), bring_up.locked(data_dir):
        pass
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_later_runs_use_what_is_there(existing: DataDir) -> None:
    said: list[str] = []
    for settings in (Settings(), Settings(port=7446), Settings(base_url="http://localhost:7446")):
        bring_up.prepare(settings, existing, said.append)
    bring_up.prepare(Settings(workers=7, behind_proxy=True), existing, said.append)
    assert said == []


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (Settings(port=7447), "leave out --port"),
        (Settings(base_url="https://sigstore.example"), "make another one"),
        (Settings(tls_cert="c", tls_key="k"), "takes no certificate"),
    ],
)
def test_what_was_fixed_for_ever_is_not_changed(
    existing: DataDir, settings: Settings, why: str
) -> None:
    with pytest.raises(SettingsError, match=why):
        bring_up.prepare(settings, existing, lambda _: None)


def test_a_new_instance_needs_a_url_that_others_can_use() -> None:
    assert bring_up.new_base_url(Settings(port=9)) == "http://localhost:9"
    assert bring_up.new_base_url(Settings(tls_cert="c", tls_key="k")) == "https://localhost:7446"
    assert bring_up.new_base_url(Settings(base_url="https://x")) == "https://x"
    for settings in (Settings(behind_proxy=True), Settings(host="192.0.2.1", tls_cert="c")):
        with pytest.raises(SettingsError, match="never changes"):
            bring_up.new_base_url(settings)


def test_a_taken_port_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} is taken"):
            bring_up.listen(Settings(port=port), DataDir.at(tmp_path))


def test_every_worker_listens_at_both_loopback_addresses() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    groups = sockets.listen("127.0.0.1", port, 3)
    try:
        with pytest.raises(SettingsError, match="is taken"):
            sockets.listen("127.0.0.1", port, 1)
        families = {listener.family for group in groups for listener in group}
        assert len(groups) == 3
        for family in families:
            address = "127.0.0.1" if family == socket.AF_INET else "::1"
            with socket.create_connection((address, port), 1):
                pass
    finally:
        for group in groups:
            for listener in group:
                listener.close()


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(SettingsError, match=r"listen at"):
        sockets.listen(host, 7446, 1)


def test_passphrases_are_named_never_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b"from a file\n")
    file.chmod(0o600)
    monkeypatch.setenv("PASSPHRASE", "from the environment")
    assert resolve_passphrase("") is None
    assert resolve_passphrase(str(file)) == b"from a file"
    assert resolve_passphrase("env:PASSPHRASE") == b"from the environment"
    with pytest.raises(SettingsError, match="ABSENT"):
        resolve_passphrase("env:ABSENT")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="read by others"):
        resolve_passphrase(str(file))


def test_children_of_a_killed_supervisor_are_waited_for(tmp_path: Path) -> None:
    data_dir = DataDir.at(tmp_path)
    ended = subprocess.Popen(["true"])  # whoever took the lock; somebody else holds it still
    ended.wait()
    data_dir.lock_file.write_text(f"{ended.pid}\n")
    held = os.open(data_dir.lock_file, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    released = threading.Timer(0.5, os.close, [held])
    begun = time.monotonic()
    released.start()
    with bring_up.locked(data_dir):
        assert time.monotonic() - begun > 0.4
        assert data_dir.lock_file.read_text() == f"{os.getpid()}\n"
    released.join()
