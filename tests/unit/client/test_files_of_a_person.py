# SPDX-License-Identifier: Apache-2.0
"""What is kept on a person's machine: whole, durable, and of nobody else's making."""

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from countermark.client import spool
from countermark.client.choice import Instance
from countermark.client.files import write_whole
from countermark.client.finish import Prepared
from countermark.client.instances import load_instances, record_instance, write_private_file
from countermark.client.keys.files import create_file
from countermark.client.spool import Spool
from countermark.client.transport import Transport
from countermark.client.trust.installed import Installed, load_installed, store_installed
from countermark.client.trust.installing import _write as write_for_another_client
from countermark.client.trust.installing import install, uninstall
from countermark.client.trust.peers import Block, File, Link, Plan
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.signing_config import SigningConfig
from countermark.core.errors import CountermarkError, NotFound, SettingsError
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.policy import UnsafeAnyIdentity
from tests.support.forge import ARTIFACT, Forge

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and processes of Unix")
Writer = Callable[[Path], None]
_DATA = b"x" * 10_000


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(params=["bundle", "registry", "key", "another client's"])
def write(request: pytest.FixtureRequest) -> Writer:
    writers: dict[str, Writer] = {
        "bundle": lambda path: write_whole(path, _DATA),
        "registry": lambda path: write_private_file(str(path), _DATA),
        "key": lambda path: create_file(str(path), _DATA, 0o600),
        "another client's": lambda path: write_for_another_client(str(path), _DATA, 0o600),
    }
    return writers[request.param]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was synced, and when a file got its name."""
    made: list[str] = []

    def noting(name: str, note: Callable[..., str]) -> None:
        real = getattr(os, name)

        def call(*arguments: Any, **more: Any) -> Any:
            made.append(note(*arguments))
            return real(*arguments, **more)

        monkeypatch.setattr(os, name, call)

    def kind(descriptor: int) -> str:
        return "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"

    noting("fsync", kind)
    noting("replace", lambda *_: "name")
    noting("link", lambda *_: "name")
    return made


def test_a_full_disk_gets_its_room_back(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    with pytest.raises((SettingsError, OSError), match="No space left"):
        write(folder / "name")
    assert list(folder.iterdir()) == []


def test_bytes_are_durable_before_the_name(write: Writer, tmp_path: Path, calls: list[str]) -> None:
    write(tmp_path / "name")
    assert calls[:2] == ["file", "name"]


def test_a_bundle_and_a_key_are_durable_when_they_are_said_to_be(
    tmp_path: Path, calls: list[str]
) -> None:
    write_whole(tmp_path / "bundle", _DATA)
    create_file(str(tmp_path / "key"), _DATA, 0o600)
    write_for_another_client(str(tmp_path / "config"), _DATA, 0o600)
    assert calls == ["file", "name", "folder"] * 3


def test_what_is_going_to_be_done_is_noted_durably(home: Path, calls: list[str]) -> None:
    home.mkdir(mode=0o700)
    store_installed([Installed("cosign", "https://x.example", (), ())])
    assert calls == ["file", "name", "folder"]


def test_a_folder_that_cannot_be_listed_can_be_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o300)
    write_whole(folder / "bundle", _DATA)
    folder.chmod(0o700)
    assert (folder / "bundle").read_bytes() == _DATA


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_registry_in_a_folder_of_everybody_is_not_believed(
    home: Path, tmp_path: Path, mode: int
) -> None:
    """Whoever may write there could link to any file that its owner was made to save."""
    record_instance(
        "https://evil.example", "", trusted_root_json=b"", signing_config_json=b"",
        tuf_root_json=b"",
    )  # fmt: skip
    sent = tmp_path / "download.json"
    (home / "instances.json").rename(sent)
    (home / "instances.json").symlink_to(sent)
    home.chmod(mode)
    for attempt in (load_instances, load_installed_by_link(home, sent)):
        with pytest.raises(SettingsError, match="chmod 700"):
            attempt()
    with pytest.raises(SettingsError, match="chmod 700"):
        record_instance(
            "https://x.example", "", trusted_root_json=b"", signing_config_json=b"",
            tuf_root_json=b"",
        )  # fmt: skip


def load_installed_by_link(home: Path, to: Path) -> Callable[[], object]:
    (home / "installed.json").symlink_to(to)
    return load_installed


class _Signature:
    """A signature, made and timestamped, that waits for a log; and the log's answer to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        forge = Forge()
        self.whole = forge.bundle()
        self.instance = Instance("forged", "", forge.trusted_root(), SigningConfig((), (), ()))
        unlogged = self.whole._replace(tlog_entries=())
        self.prepared = Prepared(unlogged, "", BytesArtifact(ARTIFACT), UnsafeAnyIdentity())
        monkeypatch.setattr(spool, "instance_of", lambda *_: self.instance)
        monkeypatch.setattr(spool, "enter", lambda *_: self.whole)

    def put(self, target: Path) -> spool.Waiting:
        return Spool().put(
            self.instance, self.prepared, file="f", target=str(target), overwrite=False
        )


@pytest.fixture
def signature(monkeypatch: pytest.MonkeyPatch) -> _Signature:
    return _Signature(monkeypatch)


def _killed_at(count: int, work: Callable[[], object]) -> bool:
    """Do `work` in a process that is gone before its nth change of a file; whether it was."""
    child = os.fork()
    if child == 0:
        left = count

        def dying(name: str) -> None:
            real = getattr(os, name)

            def call(*arguments: Any, **more: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os._exit(99)
                return real(*arguments, **more)

            setattr(os, name, call)

        for name in ("mkdir", "open", "fsync", "replace", "unlink", "symlink", "rmdir"):
            dying(name)
        try:
            work()
        except BaseException:  # noqa: BLE001 - this process must not go on with the tests
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 99)
    return status == 99


def test_a_signature_is_in_the_spool_or_its_bundle_is_there(
    signature: _Signature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever putting it there or flushing is killed; and doing it again ends it."""
    for number in range(1, 60):
        monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / f"home {number}"))
        target = tmp_path / f"{number}.json"
        waiting = signature.put(target)

        def flush(waiting: spool.Waiting = waiting) -> None:
            Spool().flush(waiting.number, Transport())

        killed = _killed_at(number, flush)
        if Spool().numbers():
            flush()
        assert Bundle.parse(target.read_bytes()).signature == signature.whole.signature
        assert Spool().numbers() == []
        if not killed:
            break
    assert 5 < number < 59


def test_what_was_killed_on_its_way_into_the_spool_can_be_put_there(
    signature: _Signature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 60):
        monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / f"home {number}"))
        killed = _killed_at(number, lambda: signature.put(tmp_path / "x.json"))
        for waiting in map(Spool().get, Spool().numbers()):  # whole, if it is there
            assert waiting.bundle.signature == signature.whole.signature
        assert Spool().get(signature.put(tmp_path / "x.json").number)
        if not killed:
            break
    assert 5 < number < 59


def test_a_spool_of_everybody_is_not_used(
    signature: _Signature, home: Path, tmp_path: Path
) -> None:
    """A link there could be to a file that names any place of this user's to write to."""
    waiting = signature.put(tmp_path / "precious")
    (home / "spool").chmod(0o777)
    with pytest.raises(SettingsError, match="chmod 700"):
        Spool().flush(waiting.number, Transport())
    with pytest.raises(SettingsError, match="chmod 700"):
        signature.put(tmp_path / "another")
    assert not (tmp_path / "precious").exists()


def test_a_log_s_answer_about_another_signature_is_not_written(
    signature: _Signature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = signature.put(tmp_path / "x.json")
    other = Forge().bundle()
    lying = signature.prepared.bundle._replace(tlog_entries=other.tlog_entries)
    monkeypatch.setattr(spool, "enter", lambda *_: lying)
    with pytest.raises(CountermarkError):
        Spool().flush(waiting.number, Transport())
    assert not (tmp_path / "x.json").exists()
    assert Spool().numbers() == [waiting.number]


def _contents(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else path.is_dir()
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("killed_in", ["install", "uninstall"])
def test_what_was_killed_in_a_person_s_folders_is_undone(
    killed_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 60):
        folder = tmp_path / str(number)
        folder.mkdir(mode=0o700)
        monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / f"home {number}"))
        (folder / "gitconfig").write_text("[user]\n\tname = me")
        (folder / "old").write_text("old")
        before = _contents(folder)
        plan = Plan(
            (
                File(str(folder / "a/b/root.json"), b"root"),
                Link(str(folder / "a/link"), str(folder / "a/b")),
                Block(str(folder / "gitconfig"), "[gitsign]\n"),
                File(str(folder / "old"), b"new"),
            )
        )

        def set_up(plan: Plan = plan) -> None:
            install("cosign", "https://x.example", plan, replace=True)

        if killed_in == "uninstall":
            set_up()
        killed = _killed_at(
            number, set_up if killed_in == "install" else lambda: uninstall("cosign")
        )
        try:
            assert uninstall("cosign")[1] == []
        except NotFound:
            assert number < 8 or not killed  # before anything was noted, or all was done
        assert _contents(folder) == before
        if not killed:
            break
    assert 10 < number < 59
