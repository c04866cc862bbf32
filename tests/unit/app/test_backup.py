# SPDX-License-Identifier: Apache-2.0
"""Backups of stopped instances: what is in them, what is not, and what is refused."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from countermark.app import backup as backing_up
from countermark.app import bring_up
from countermark.app.backup_files import FILES, FOLDERS, read_manifest
from countermark.app.checkpoints import checkpoint_folder, clear_checkpoints
from countermark.app.data_dir import VERSION, DataDir
from countermark.app.opening import open_instance
from countermark.core.errors import Conflict, InvariantBroken, NotFound, SettingsError
from countermark.core.tlog.bundles import ENTRIES32
from countermark.core.tlog.tiles import BundleName, TileName
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.system import SystemClock
from countermark.ports.log_store import Head, StagedLeaf
from tests.support.backups import Seen, back_up, check_whole, contents, new_instance

# What a data directory holds besides, and why no backup does.
NOT_BACKED_UP = {
    "version": "a folder with it can be brought up; the manifest says the layout",
    "lock": "of whoever uses the directory now",
    "run": "sockets",
    "checkpoints": "of backups",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_instance(tmp_path_factory.mktemp("made") / "data").path


@pytest.fixture
def data_dir(made: Path, tmp_path: Path) -> DataDir:
    shutil.copytree(made, tmp_path / "data")
    return DataDir.at(tmp_path / "data")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "today"


def test_everything_is_in_it_and_nothing_of_it_is_for_others(
    data_dir: DataDir, target: Path
) -> None:
    manifest = back_up(data_dir, target)
    assert read_manifest(target) == manifest
    check_whole(target, manifest)

    here = contents(target)
    for path, data in contents(data_dir.path).items():
        top = path.partition("/")[0]
        if top in NOT_BACKED_UP or path in ("db/LOCK",) or path.startswith("db/LOG"):
            assert path not in here
        elif not path.startswith("tuf/.incoming"):
            assert here.pop(path) == data, path
    assert list(here) == ["backup.json"]
    for each in [target, *target.rglob("*")]:
        assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600)

    assert manifest.layout == VERSION
    assert manifest.url == "http://localhost:7446"
    assert manifest.offline
    assert manifest.verified
    v1, ct = manifest.logs
    assert (v1.name, v1.tree_size, v1.published_size) == ("rekor-v1-1", 2, 2)
    assert v1.checkpoint.encode() == (data_dir.log_folder("rekor-v1-1") / "checkpoint").read_bytes()
    assert (ct.name, ct.tree_size) == ("ct-main", 0)


def test_whatever_is_added_to_a_data_directory_is_decided_upon(data_dir: DataDir) -> None:
    with bring_up.locked(data_dir):
        bring_up.open_for_change(data_dir, print)
    names = {path.name for path in data_dir.path.iterdir()}
    assert names - {*FILES, *FOLDERS} <= NOT_BACKED_UP.keys(), "back it up, or say why not"
    assert names >= {*FILES, *FOLDERS}


def test_source_is_not_touched(data_dir: DataDir, target: Path) -> None:
    before = contents(data_dir.path)
    back_up(data_dir, target)
    assert {**contents(data_dir.path), "lock": b""} == {**before, "lock": b""}


def test_root_keys_can_stay_at_home(data_dir: DataDir, target: Path) -> None:
    manifest = back_up(data_dir, target, offline=False)
    assert not manifest.offline
    assert not (target / "offline").exists()

    data_dir.offline.rename(data_dir.path.parent / "safe")
    assert not back_up(data_dir, target.with_name("two")).offline


def test_unchecked_backup_says_so(data_dir: DataDir, target: Path) -> None:
    manifest = back_up(data_dir, target, verify=False)
    assert not manifest.verified
    check_whole(target, manifest)


def test_progress_reaches_its_end(data_dir: DataDir, target: Path) -> None:
    seen = Seen()
    backing_up.make_backup(data_dir, target, SystemClock(), seen, offline=True, verify=True)
    assert [what for what, _ in seen.stages] == [
        "copying the database",
        "copying tiles and keys",
        "reading the copy",
        "checking the logs",
    ]
    for (what, total), done in zip(seen.stages, seen.done, strict=True):
        # Partial tiles are only found when they are copied.
        assert done == total or (what == "copying tiles and keys" and done > total), what


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_target_must_be_new_or_empty(data_dir: DataDir, target: Path, kind: str) -> None:
    target.parent.mkdir()
    if kind == "file":
        target.touch()
    else:
        (target / "x").mkdir(parents=True)
    with pytest.raises(SettingsError, match="is there already"):
        back_up(data_dir, target)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_empty_target_is_taken(data_dir: DataDir, target: Path) -> None:
    target.mkdir(parents=True)
    back_up(data_dir, target)
    assert read_manifest(target)


@pytest.mark.parametrize("where", [".", "logs/backup", "backup"])
def test_target_inside_the_data_directory_is_refused(data_dir: DataDir, where: str) -> None:
    with pytest.raises(SettingsError, match="inside the data directory"):
        back_up(data_dir, data_dir.path / where)
    link = data_dir.path.parent / "link"
    link.symlink_to(data_dir.path)
    with pytest.raises(SettingsError, match="inside the data directory"):
        back_up(data_dir, link / "backup")


def test_what_a_killed_backup_left_is_replaced(data_dir: DataDir, target: Path) -> None:
    left = target.with_name("today.unfinished")
    (left / "db").mkdir(parents=True)
    (left / "db" / "CURRENT").write_bytes(b"half")
    for name in ("current", "current.tmp"):
        (data_dir.checkpoints / name).mkdir(parents=True)
        (data_dir.checkpoints / name / "000001.sst").touch()
    back_up(data_dir, target)
    assert not left.exists()
    assert list(data_dir.checkpoints.iterdir()) == []


def test_a_folder_of_somebody_else_is_left_alone(data_dir: DataDir, target: Path) -> None:
    left = target.with_name("today.unfinished")
    left.mkdir(parents=True)
    (left / "thesis.tex").touch()
    with pytest.raises(SettingsError, match=r"in the way.*thesis.tex"):
        back_up(data_dir, target)
    assert (left / "thesis.tex").exists()


def test_one_backup_at_a_time(data_dir: DataDir, target: Path) -> None:
    with checkpoint_folder(data_dir) as held:
        held.mkdir()
        clear_checkpoints(data_dir)  # what `up` does: nothing is taken from under a backup
        assert held.exists()
        with pytest.raises(Conflict, match="another backup"):
            back_up(data_dir, target)
    assert not target.parent.exists()


def test_there_must_be_an_instance(tmp_path: Path, target: Path) -> None:
    with pytest.raises(SettingsError, match="there is no instance"):
        back_up(DataDir.at(tmp_path / "nowhere"), target)
    assert not (tmp_path / "nowhere").exists()
    assert not target.parent.exists()


def test_backup_of_a_damaged_log_is_refused_unless_asked_for(
    data_dir: DataDir, target: Path
) -> None:
    bundle = data_dir.log_folder("rekor-v1-1") / "tile/entries32/000.p/2"
    data = bytearray(bundle.read_bytes())
    data[100] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(InvariantBroken, match="log rekor-v1-1 is not sound"):
        back_up(data_dir, target)
    assert list(target.parent.iterdir()) == []
    back_up(data_dir, target, verify=False)


def test_missing_tile_is_named(data_dir: DataDir, target: Path) -> None:
    (data_dir.log_folder("rekor-v1-1") / "tile/0/000.p/2").unlink()
    with pytest.raises(InvariantBroken, match=r"tile/0/000.p/2 is missing"):
        back_up(data_dir, target, verify=False)
    assert list(target.parent.iterdir()) == []


def test_a_name_that_no_manifest_can_hold_is_told(data_dir: DataDir, target: Path) -> None:
    (data_dir.keys / os.fsdecode(b"caf\xe9.pem")).touch(0o600)
    with pytest.raises(SettingsError, match="no UTF-8"):
        back_up(data_dir, target)
    assert not target.exists()


def test_missing_secret_is_named(data_dir: DataDir, target: Path) -> None:
    data_dir.local_secret_file.unlink()
    with pytest.raises(SettingsError, match=r"No such file.*local-secret"):
        back_up(data_dir, target)
    assert list(target.parent.iterdir()) == []


def test_log_that_the_database_does_not_have_is_refused(data_dir: DataDir, target: Path) -> None:
    text = json.loads(data_dir.instance_file.read_bytes())
    text["logs"][1]["name"] = "ct-other"
    data_dir.instance_file.write_text(json.dumps(text))
    with pytest.raises(InvariantBroken, match="ct-other"):
        back_up(data_dir, target)


def test_last_write_that_a_power_cut_left_in_pieces_is_cut_off(
    data_dir: DataDir, target: Path
) -> None:
    store = RocksLogStore(data_dir.db)
    head = store.head("rekor-v1-1")
    leaves = [StagedLeaf(2, bytes(32), os.urandom(50_000), head.time_ms, b"")]
    store.commit_round("rekor-v1-1", head, Head(3, bytes(32), head.time_ms, b""), leaves)
    shutil.copytree(data_dir.db, target.parents[1] / "cut")  # a close would tidy up
    store.close()
    shutil.rmtree(data_dir.db)
    (target.parents[1] / "cut").rename(data_dir.db)
    [log] = data_dir.db.glob("*.log")
    data = bytearray(log.read_bytes())
    data[20_000:24_096] = bytes(4096)  # a page that never reached the disk
    log.write_bytes(data)

    manifest = back_up(data_dir, target)
    check_whole(target, manifest)
    assert manifest.logs[0].tree_size == head.tree_size
    assert log.read_bytes() == data  # what is backed up is left to the next start


def test_partial_that_became_wider_is_cut_to_what_the_head_covers(tmp_path: Path) -> None:
    objects = FileObjectStore(tmp_path)
    records = [b"record %d" % index for index in range(256)]
    frames = [ENTRIES32.frame(record) for record in records]
    tile, bundle = TileName(0, 0, 3), BundleName("entries32", 0, 3)
    hashes = bytes(range(256)) * 32

    for width in (5, 256):  # the wider partial, then the full one alone
        objects.delete_all([TileName(0, 0, 5).path, BundleName("entries32", 0, 5).path])
        objects.put_all(
            [
                (TileName(0, 0, width).path, hashes[: width * 32]),
                (BundleName("entries32", 0, width).path, b"".join(frames[:width])),
            ]
        )
        assert backing_up._partial(objects, tile, ENTRIES32) == hashes[:96]
        assert backing_up._partial(objects, bundle, ENTRIES32) == b"".join(frames[:3])


def test_partial_that_vanishes_while_it_is_read_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FileObjectStore(tmp_path)
    name = TileName(0, 0, 3)
    tries: list[int] = []

    def vanishing(_: object, wanted: TileName) -> bytes:
        tries.append(wanted.width)
        if len(tries) < 3:
            raise NotFound("there is no object")
        return bytes(5 * 32)

    monkeypatch.setattr(backing_up, "fetch_wide", vanishing)
    assert backing_up._partial(objects, name, ENTRIES32) == bytes(96)
    assert len(tries) == 3


def test_nobody_brings_up_a_backup(data_dir: DataDir, target: Path) -> None:
    back_up(data_dir, target)
    inside = DataDir.at(target)
    with pytest.raises(SettingsError, match="is a backup"):
        open_instance(inside)
    with pytest.raises(SettingsError, match="is a backup"), bring_up.locked(inside):
        pass
    assert not inside.lock_file.exists()
