# SPDX-License-Identifier: Apache-2.0
"""Instances out of backups: what they hold, and which backups and directories are refused."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from countermark.app import bring_up
from countermark.app import restore as restoring
from countermark.app.backup_files import mode_in_data_dir
from countermark.app.data_dir import VERSION, DataDir, State
from countermark.app.init import Passphrases, initialise
from countermark.app.inspection import Inspection
from countermark.app.keyring import KeyRing
from countermark.app.opening import open_instance
from countermark.app.restore import restore
from countermark.app.settings import Settings
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import FormatError, InvariantBroken, SettingsError
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.system import SystemClock, SystemEntropy
from countermark.trust.repository import TufRepository
from tests.support.backups import URL, Seen, back_up, contents, new_instance, restore_into
from tests.support.logs import ManualClock


@pytest.fixture(autouse=True)
def loose_umask() -> Iterator[None]:
    """What is secret is so whatever the umask is."""
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup, beside the directory that it is of."""
    folder = tmp_path_factory.mktemp("made")
    back_up(new_instance(folder / "data"), folder / "backup")
    return folder / "backup"


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    """One that a test may damage."""
    shutil.copytree(made, tmp_path / "backup")
    return tmp_path / "backup"


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    return DataDir.at(tmp_path / "new" / "data")


def _repository(data_dir: DataDir) -> TufRepository:
    keys = KeyRing.load(data_dir, open_instance(data_dir))
    return TufRepository.open(FileObjectStore(data_dir.tuf), keys.signer("tuf-online"))


def _check(data_dir: DataDir) -> None:
    with bring_up.locked(data_dir), Inspection.open(data_dir) as inspection:
        reports = inspection.check((), lambda *_: None, rows=True)
    assert all(report.ok for report in reports), reports


def test_restored_logs_are_frozen_and_others_open(made: Path, data_dir: DataDir) -> None:
    original = DataDir.at(made.parent / "data")
    restored = restore_into(made, data_dir)

    assert data_dir.state() is State.COMPLETE
    assert data_dir.version() == VERSION
    config = open_instance(data_dir)
    assert config == restored.config
    assert config.base_url == URL
    _check(data_dir)

    before = open_instance(original)
    heads = {log.name: log for log in restored.manifest.logs}
    for old, now in zip(before.logs, config.logs, strict=False):
        assert (now.name, now.origin, now.key) == (old.name, old.origin, old.key)
        assert now.frozen is not None
        assert now.frozen.tree_size == heads[now.name].tree_size
        assert now.frozen.root_hash.hex() == heads[now.name].root_hash
    new = config.logs[len(before.logs) :]
    assert {log.kind for log in new} == {"rekor-v1", "ct"}
    assert all(log.frozen is None for log in new)
    known = {each for log in before.logs for each in (log.name, log.origin, log.key)}
    assert not known & {each for log in new for each in (log.name, log.origin, log.key)}
    # The next shard goes on where the restored one ends.
    assert config.first_index(config.open_log("rekor-v1")) == heads["rekor-v1-1"].tree_size


def test_trust_root_vouches_for_old_and_new_logs(made: Path, data_dir: DataDir) -> None:
    config = restore_into(made, data_dir).config
    root = TrustedRoot.parse((data_dir.trust / "trusted_root.json").read_bytes())
    for logs, kind in ((root.tlogs, "rekor-v1"), (root.ctlogs, "ct")):
        old, new = logs
        assert old.validity.end is not None
        assert old.validity.end == next(
            log.frozen.at for log in config.logs if log.kind == kind and log.frozen
        )
        assert new.validity.end is None
        assert new.public_key != old.public_key
    # Clients that saw the lost instance's later metadata must take the new.
    older = _repository(DataDir.at(made.parent / "data")).timestamp_version
    assert _repository(data_dir).timestamp_version > older + 10_000


def test_every_other_file_is_as_it_was(made: Path, data_dir: DataDir) -> None:
    restore_into(made, data_dir)
    now = contents(data_dir.path)
    for path, data in contents(made).items():
        if path.startswith(("keys/", "offline/", "local-secret", "logs/")):
            assert now[path] == data, path
        if path.startswith("tuf/") and path != "tuf/timestamp.json":
            assert now[path] == data, path


def test_nothing_secret_is_readable_by_others(made: Path, data_dir: DataDir) -> None:
    restore_into(made, data_dir)
    data_dir.check_secrecy()
    for path in data_dir.path.rglob("*"):
        name = str(path.relative_to(data_dir.path))
        if path.is_file() and name.startswith(("keys/", "offline/")):
            assert stat.S_IMODE(path.stat().st_mode) == mode_in_data_dir(name), name


def test_passphrase_that_is_kept_elsewhere(tmp_path: Path, data_dir: DataDir) -> None:
    original = DataDir.at(tmp_path / "original")
    secret = Passphrases(online=b"online secret", offline=b"offline secret")
    initialise(original, URL, SystemClock(), SystemEntropy(), secret)
    back_up(original, tmp_path / "backup", offline=False)
    for wrong in (None, b"wrong"):
        with pytest.raises(SettingsError):
            restore_into(tmp_path / "backup", data_dir, wrong)
        assert data_dir.state() is State.EMPTY
    restore_into(tmp_path / "backup", data_dir, b"online secret")
    KeyRing.load(data_dir, open_instance(data_dir), b"online secret")
    assert list(data_dir.offline.iterdir()) == []


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [_flip, _truncate, Path.unlink])
@pytest.mark.parametrize(
    "name",
    ["db/CURRENT", "keys/ca.pem", "offline/ca-root.pem", "logs/rekor-v1-1/checkpoint",
     "logs/rekor-v1-1/tile/entries32/000.p/2", "tuf/1.root.json", "trust/trusted_root.json"],
)  # fmt: skip
def test_damage_is_named_and_leaves_nothing(
    backup: Path, data_dir: DataDir, name: str, damage: Callable[[Path], None]
) -> None:
    damage(backup / name)
    with pytest.raises(FormatError) as caught:
        restore_into(backup, data_dir)
    assert str(backup / name) in str(caught.value)
    assert data_dir.state() is State.EMPTY
    assert not set(contents(data_dir.path)) - {"lock"}


def test_file_too_many_is_refused(backup: Path, data_dir: DataDir) -> None:
    (backup / "keys" / "extra.pem").touch()
    with pytest.raises(FormatError, match=r"keys/extra.pem: is not in the manifest"):
        restore_into(backup, data_dir)
    assert not data_dir.path.exists()


@pytest.mark.parametrize("damage", [_truncate, Path.unlink])
def test_manifest_is_needed_whole(
    backup: Path, data_dir: DataDir, damage: Callable[[Path], None]
) -> None:
    manifest = backup / "backup.json"
    manifest.write_bytes(manifest.read_bytes().rstrip())
    damage(manifest)
    with pytest.raises(FormatError):
        restore_into(backup, data_dir)
    assert not data_dir.path.exists()


def test_newer_backup_is_refused(backup: Path, data_dir: DataDir) -> None:
    _change_manifest(backup, layout=VERSION + 1)
    with pytest.raises(SettingsError, match="newer Countermark"):
        restore_into(backup, data_dir)


def test_unchecked_backup_is_checked_now(tmp_path: Path, data_dir: DataDir) -> None:
    original = new_instance(tmp_path / "original")
    bundle = original.log_folder("rekor-v1-1") / "tile/entries32/000.p/2"
    whole = bundle.read_bytes()
    _flip(bundle)
    back_up(original, tmp_path / "damaged", verify=False)
    with pytest.raises(InvariantBroken, match="rekor-v1-1 is not sound"):
        restore_into(tmp_path / "damaged", data_dir)
    assert data_dir.state() is State.EMPTY
    bundle.write_bytes(whole)
    back_up(original, tmp_path / "sound", verify=False)
    restore_into(tmp_path / "sound", data_dir)
    _check(data_dir)


@pytest.mark.parametrize("there", ["an instance", "a stranger", "an unfinished init"])
def test_directory_must_be_empty(
    made: Path, data_dir: DataDir, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there == "an instance":
        new_instance(data_dir.path)
    elif there == "a stranger":
        data_dir.path.mkdir(parents=True)
        (data_dir.path / "thesis.tex").touch()
    else:
        data_dir.path.mkdir(parents=True)
        data_dir.unfinished_file.touch()
    before = contents(data_dir.path)
    with pytest.raises(SettingsError, match="empty"):
        restore_into(made, data_dir)
    assert {**contents(data_dir.path), "lock": b""} == {**before, "lock": b""}


def test_unfinished_restore_is_touched_by_nothing_but_restore(
    made: Path, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill: the marker stands, and some of what was copied."""
    data_dir.make_folders()
    data_dir.restoring_file.touch()
    shutil.copytree(made / "keys", data_dir.keys, dirs_exist_ok=True)
    shutil.copy(made / "instance.json", data_dir.instance_file)
    before = contents(data_dir.path)
    for action in (
        lambda: open_instance(data_dir),
        lambda: bring_up.prepare(Settings(), data_dir, print),
        lambda: initialise(data_dir, URL, SystemClock(), SystemEntropy()),
        lambda: bring_up.locked(data_dir).__enter__(),
    ):
        with pytest.raises(SettingsError, match="was not finished"):
            action()
    assert contents(data_dir.path) == before
    restore_into(made, data_dir)
    assert not data_dir.restoring_file.exists()
    _check(data_dir)


def test_marker_beside_the_version_is_of_no_account(made: Path, data_dir: DataDir) -> None:
    """Killed between the last two changes: the instance is complete."""
    restore_into(made, data_dir)
    data_dir.restoring_file.touch()
    with pytest.raises(SettingsError, match="not empty"):
        restore_into(made, data_dir)
    open_instance(data_dir)
    assert not data_dir.restoring_file.exists()


def test_failure_after_copying_leaves_nothing(
    made: Path, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restoring, "open_next_shards", full)
    with pytest.raises(SettingsError, match="could not be restored: No space left on device"):
        restore_into(made, data_dir)
    assert data_dir.state() is State.EMPTY


def test_twice_from_one_backup_is_never_the_same_instance(made: Path, tmp_path: Path) -> None:
    one, two = DataDir.at(tmp_path / "one"), DataDir.at(tmp_path / "two")
    first, second = restore_into(made, one).config, restore_into(made, two).config
    for kind in ("rekor-v1", "ct"):
        a, b = first.open_log(kind), second.open_log(kind)
        assert a.origin != b.origin
        assert a.name != b.name


def test_second_restore_is_newer_than_whatever_the_first_one_signed(
    made: Path, tmp_path: Path
) -> None:
    """Clients refuse TUF metadata that is older than what they saw."""
    now_ms = SystemClock().now_ms()
    versions = []
    for number, days in enumerate((1, 31)):
        data_dir = DataDir.at(tmp_path / str(number))
        clock = ManualClock(now_ms + days * 86_400_000)
        restore(made, data_dir, clock, SystemEntropy(), Seen(), print)
        versions.append(_repository(data_dir).timestamp_version)
    assert versions[1] >= versions[0] + 30 * 24 * 60


def _replace_in_backup(backup: Path, name: str, data: bytes) -> None:
    """As somebody would who can write the manifest, too."""
    (backup / name).write_bytes(data)
    entry = {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    files = json.loads((backup / "backup.json").read_bytes())["files"]
    _change_manifest(backup, files=[entry if file["path"] == name else file for file in files])


@pytest.mark.parametrize("field", ["name", "key"])
@pytest.mark.parametrize("value", ["../../outside", "/tmp/outside", "", "..", "a\nb", "tile/0"])
def test_an_instance_of_somebody_else_leads_nowhere_else(
    backup: Path, data_dir: DataDir, field: str, value: str
) -> None:
    instance = json.loads((backup / "instance.json").read_bytes())
    instance["logs"][0][field] = value
    _replace_in_backup(backup, "instance.json", json.dumps(instance).encode())
    with pytest.raises(InvariantBroken, match="no name of a log"):
        restore_into(backup, data_dir)
    assert data_dir.state() is State.EMPTY


@pytest.mark.parametrize("url", ["http://localhost:7446\x1b[2J", "ftp://localhost", "http://a/b"])
def test_an_instance_of_somebody_else_has_a_plain_url(
    backup: Path, data_dir: DataDir, url: str
) -> None:
    instance = json.loads((backup / "instance.json").read_bytes())
    _replace_in_backup(backup, "instance.json", json.dumps({**instance, "base_url": url}).encode())
    with pytest.raises(InvariantBroken, match="base URL"):
        restore_into(backup, data_dir)
    assert data_dir.state() is State.EMPTY


def test_heads_are_those_of_the_database_whatever_the_manifest_says(
    backup: Path, data_dir: DataDir
) -> None:
    logs = json.loads((backup / "backup.json").read_bytes())["logs"]
    sizes = [log["tree_size"] for log in logs]
    lies = [{**log, "tree_size": 7_000_000, "root_hash": "00" * 32} for log in logs]
    _change_manifest(backup, logs=lies)
    config = restore_into(backup, data_dir).config
    assert [log.frozen.tree_size for log in config.logs if log.frozen] == sizes
    _check(data_dir)


@pytest.mark.parametrize("name", ["keys/ca.pem", "logs/rekor-v1-1/checkpoint"])
def test_a_link_in_a_backup_is_not_followed(
    backup: Path, data_dir: DataDir, name: str, tmp_path: Path
) -> None:
    (backup / name).rename(tmp_path / "elsewhere")
    (backup / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="is not a plain file"):
        restore_into(backup, data_dir)
    assert data_dir.state() is State.EMPTY


def test_a_file_larger_than_its_manifest_says_is_not_copied(
    backup: Path, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(backup / "keys" / "ca.pem", 1 << 26)  # takes no room there, but would here
    seen = Seen()
    with pytest.raises(FormatError, match="bytes, but"):
        restore(backup, data_dir, SystemClock(), SystemEntropy(), seen, print)
    assert sum(seen.done) < 1 << 24


def test_nothing_is_restored_into_its_backup(backup: Path, tmp_path: Path) -> None:
    before = contents(backup)
    (tmp_path / "link").symlink_to(backup)
    for path in (backup / "keys" / "new", tmp_path / "link" / "new"):
        with pytest.raises(SettingsError, match="is inside the backup"):
            restore_into(backup, DataDir.at(path))
    assert contents(backup) == before


@pytest.mark.parametrize("left", [".version.new", ".instance.json.new", ".next-shards.json.new"])
def test_killed_while_a_small_file_was_replaced(made: Path, data_dir: DataDir, left: str) -> None:
    data_dir.make_folders()
    data_dir.restoring_file.touch()
    (data_dir.path / left).touch()
    restore_into(made, data_dir)
    assert not (data_dir.path / left).exists()
    _check(data_dir)


def test_interrupted_when_all_is_there_takes_nothing_away(
    made: Path, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: DataDir) -> None:
        data_dir.write_version()
        raise KeyboardInterrupt

    monkeypatch.setattr(restoring, "_finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore_into(made, data_dir)
    _check(data_dir)


def _change_manifest(backup: Path, **changes: object) -> None:
    path = backup / "backup.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))
