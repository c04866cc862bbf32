# SPDX-License-Identifier: Apache-2.0
"""The manifest and the copying of files: what is refused, and what is left on the disk."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from countermark.app.backup_files import (
    BackedUpFile,
    BackedUpLog,
    Manifest,
    check_hashes,
    check_names,
    check_space,
    copy_file,
    in_threads,
    make_parents,
    mode_in_data_dir,
    read_manifest,
    write_file,
)
from countermark.core.errors import FormatError, SettingsError
from tests.support.backups import Seen

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def manifest(*paths: str) -> Manifest:
    return Manifest(
        layout=1,
        url="http://localhost:7446",
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        offline=True,
        verified=True,
        logs=(BackedUpLog("log", "origin", 3, EMPTY, 2, "signed\n"),),
        files=tuple(BackedUpFile(path, 0, EMPTY) for path in paths),
    )


def test_manifest_is_read_as_it_was_written() -> None:
    made = manifest("instance.json", "keys/ca.pem", "logs/ct-main/tile/0/000")
    assert Manifest.parse(made.serialize()) == made


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "keys/../../x", "keys//x", "keys", "keys/", "", "version", "run/x",
     "keys/.", "keys/a\0b", "instance.json/x", "checkpoints/x", "lock"],
)  # fmt: skip
def test_manifest_leads_nowhere_else(path: str) -> None:
    with pytest.raises(FormatError, match="no file of a backup"):
        Manifest.parse(manifest("instance.json", path).serialize())


def test_manifest_lists_each_file_once() -> None:
    with pytest.raises(FormatError, match="twice"):
        Manifest.parse(manifest("keys/a", "keys/a").serialize())


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"layout": 0}, {"created": "2026-01-02T03:04:05"}, {"surprise": 1},
     {"files": [{"path": "keys/a", "size": -1, "sha256": EMPTY}]},
     {"files": [{"path": "keys/a", "size": 1, "sha256": EMPTY.upper()}]}],
)  # fmt: skip
def test_damaged_manifest_is_refused(change: dict[str, object]) -> None:
    text = msgspec.json.decode(manifest("keys/a").serialize())
    with pytest.raises(FormatError, match="is damaged"):
        Manifest.parse(msgspec.json.encode({**text, **change}))


def test_every_truncation_of_a_manifest_is_refused() -> None:
    data = manifest("keys/a").serialize().rstrip()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            Manifest.parse(data[:length])


def test_folder_without_a_manifest_is_no_backup(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FormatError, match="is no backup, or one that was not finished"):
            read_manifest(path)
    (tmp_path / "backup.json").mkdir()
    with pytest.raises(FormatError, match="is not a plain file"):
        read_manifest(tmp_path)


def test_a_manifest_is_a_plain_file(tmp_path: Path) -> None:
    """Whatever waits for ever, or has no end, is not read."""
    os.mkfifo(tmp_path / "backup.json")
    with pytest.raises(FormatError, match="not a plain file"):
        read_manifest(tmp_path)
    (tmp_path / "backup.json").unlink()
    (tmp_path / "backup.json").symlink_to("/dev/zero")
    with pytest.raises(FormatError, match="not a plain file"):
        read_manifest(tmp_path)


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join(["keys", *"a" * 100])).mkdir(parents=True)
    with pytest.raises(FormatError, match="nested too deep"):
        check_names(tmp_path, manifest())


def test_names_must_be_those_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for name in ("keys/a", "keys/b", "backup.json"):
        (tmp_path / name).touch()
    check_names(tmp_path, manifest("keys/a", "keys/b"))
    with pytest.raises(FormatError, match="keys/c: is missing"):
        check_names(tmp_path, manifest("keys/a", "keys/b", "keys/c"))
    with pytest.raises(FormatError, match=r"keys/a: is not in the manifest \(and 1 more\)"):
        check_names(tmp_path, manifest())


def test_a_link_to_a_folder_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").touch()
    backup = tmp_path / "backup"
    backup.mkdir()
    (backup / "keys").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="keys/a: is missing"):
        check_names(backup, manifest("keys/a"))


@pytest.mark.parametrize("content", [b"", b"hellp", b"hell", b"hello!"])
def test_every_byte_is_compared(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").mkdir()
    size, digest = write_file(b"hello", tmp_path / "keys/a", 0o600)
    files = [BackedUpFile("keys/a", size, digest)]
    seen = Seen()
    seen.begin("", 5)
    check_hashes(tmp_path, files, seen)
    assert seen.done == [5]
    (tmp_path / "keys/a").write_bytes(content)
    with pytest.raises(FormatError, match=r"keys/a: (has|is not what was backed up)"):
        check_hashes(tmp_path, files, seen)


def test_copies_have_their_mode_from_the_beginning(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    old = os.umask(0)
    try:
        counted: list[int] = []
        copy_file(source, tmp_path / "copy", 0o600, counted.append)
    finally:
        os.umask(old)
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    assert sum(counted) == 3_000_000
    with pytest.raises(FileExistsError):
        copy_file(source, tmp_path / "copy", 0o600, counted.append)


def test_only_plain_files_are_copied(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="not a plain file"):
        copy_file(tmp_path / "pipe", tmp_path / "copy", 0o600, lambda _: None)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("path", "mode"),
    [("instance.json", 0o644), ("local-secret", 0o600), ("keys/ca.pem", 0o600),
     ("keys/ca-chain.pem", 0o644), ("offline/passphrase", 0o600), ("db/CURRENT", 0o600),
     ("logs/ct-main/checkpoint", 0o644), ("tuf/timestamp.json", 0o644)],
)  # fmt: skip
def test_modes_of_a_data_directory(path: str, mode: int) -> None:
    assert mode_in_data_dir(path) == mode


def test_folders_are_private_unless_a_web_server_may_read_them(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        make_parents(tmp_path, ["keys/a", "logs/l/tile/x", "instance.json"], public=True)
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("keys", "logs/l")}
    assert modes == {"keys": 0o700, "logs/l": 0o755}


def test_a_disk_that_is_too_small_is_known_before(tmp_path: Path) -> None:
    check_space(tmp_path, 0)
    with pytest.raises(SettingsError, match="no space left for it"):
        check_space(tmp_path, 1 << 62)


def test_first_failure_of_a_thread_ends_all() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 3:
            raise FormatError("three", "is refused")
        done.append(item)

    with pytest.raises(FormatError):
        list(in_threads(work, range(100_000)))
    assert len(done) < 100_000
