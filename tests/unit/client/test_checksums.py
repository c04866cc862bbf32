# SPDX-License-Identifier: Apache-2.0
"""Checksum files: the formats, and the traps in them."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from countermark.client.checksums import (
    Listed,
    check_listed,
    find_listed,
    listed_name,
    parse_checksums,
    path_of,
    serialize_checksums,
)
from countermark.core.errors import FormatError, NotFound, RequestRejected, SignatureInvalid
from countermark.core.verify.artifact import BytesArtifact

A, B = "ab" * 32, "cd" * 32
LONG = "ef" * 64


def read(text: str) -> dict[str, dict[str, str]]:
    entries = parse_checksums(text.encode("utf-8", "surrogateescape"))
    return {
        entry.name: {name: digest.hex() for name, digest in entry.digests.items()}
        for entry in entries
    }


@pytest.mark.parametrize(
    ("line", "name", "hash_name", "digits"),
    [
        (f"{A}  app.tar.gz", "app.tar.gz", "sha256", A),
        (f"{A} *app.tar.gz", "app.tar.gz", "sha256", A),
        (f"{A.upper()}  app", "app", "sha256", A),
        (f"{A}  app\r", "app", "sha256", A),
        (f"{A}   leading space", " leading space", "sha256", A),
        (f"{A}  a (b) = c", "a (b) = c", "sha256", A),
        (f"{LONG}  app", "app", "sha512", LONG),
        (f"SHA256 (app (1).gz) = {A}", "app (1).gz", "sha256", A),
        (f"SHA512 (app) = {LONG}", "app", "sha512", LONG),
        (f"SHA2-256(app)= {A}", "app", "sha256", A),
        (f"\\{A}  line\\nbreak\\\\slash", "line\nbreak\\slash", "sha256", A),
        (f"\\SHA256 (cr\\r) = {A}", "cr\r", "sha256", A),
        (f"{A}  back\\slash", "back\\slash", "sha256", A),
        (f"{A}  ./folder//app", "./folder//app", "sha256", A),
        (f"{A}  caf\udce9", "caf\udce9", "sha256", A),
        (f"{A}  ..app", "..app", "sha256", A),
    ],
)
def test_lines_that_list_a_file(line: str, name: str, hash_name: str, digits: str) -> None:
    assert read(f"# comment\n\n{line}\n") == {name: {hash_name: digits}}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no checksum", "is no checksum"),
        (f"{A} app", "is no checksum"),
        (f"{A}", "is no checksum"),
        (f"{A}  ", "is no checksum"),
        (f"{'a' * 32}  md5", "is of a hash"),
        (f"{'a' * 40}  sha1", "is of a hash"),
        (f"MD5 (app) = {'a' * 32}", "is of a hash"),
        (f"SHA512 (app) = {A}", "another length"),
        (f"SHA256 (app) = {LONG}", "another length"),
        (f"{'a' * 65}  odd", "is of a hash"),
        (f"\\{A}  bad\\escape", "escape"),
        (f"\\{A}  end\\", "escape"),
        (f"{A}  -", "names no file"),
        (f"{A}  .", "names no file"),
        (f"{A}  a\0b", "names no file"),
        (f"{A}  /etc/passwd", "whole disk"),
        (f"{A}  \\etc\\passwd", "whole disk"),
        (f"{A}  C:\\x", "whole disk"),
        (f"{A}  c:x", "whole disk"),
        (f"{A}  ../x", "outside the folder"),
        (f"{A}  a/../../x", "outside the folder"),
        (f"{A}  a/..", "outside the folder"),
        (f"{A}  a\\..\\x", "outside the folder"),
        (f"\\{A}  a/..\\\\..\\\\x", "outside the folder"),
        (f"{A}  {'x' * 4097}", "too long"),
        ("-----BEGIN PGP SIGNED MESSAGE-----", "is no checksum"),
        (f"\ufeff{A}  bom", "is no checksum"),
    ],
)
def test_lines_that_are_refused(line: str, said: str) -> None:
    with pytest.raises(FormatError, match=f"line 2 .*{said}"):
        read(f"{B}  good\n{line}\n{B}  more\n")


def test_a_file_that_is_listed_twice() -> None:
    assert read(f"{A}  a\n{A} *a\n{LONG}  a\n") == {"a": {"sha256": A, "sha512": LONG}}
    with pytest.raises(FormatError, match="line 2 lists a file twice"):
        read(f"{A}  a\n{B}  a\n")
    with pytest.raises(FormatError, match="line 2 lists a file twice"):  # one file all the same
        read(f"{A}  folder/a\n{B}  ./folder//a\n")


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_a_listing_of_nothing_speaks_for_nothing(text: str) -> None:
    with pytest.raises(FormatError, match="lists no file"):
        read(text)


def test_too_much() -> None:
    with pytest.raises(FormatError, match="larger than"):
        parse_checksums(b"#" * (16 * 1024 * 1024 + 1))
    with pytest.raises(FormatError, match="more than 100000 files"):
        read("".join(f"{A}  {number}\n" for number in range(100_001)))


def test_both_hashes_must_hold() -> None:
    data = b"content"
    right, other = hashlib.sha256(data).digest(), hashlib.sha512(b"x").digest()
    check_listed(Listed("a", {"sha256": right}), BytesArtifact(data))
    with pytest.raises(SignatureInvalid):
        check_listed(Listed("a", {"sha256": right, "sha512": other}), BytesArtifact(data))


def test_files_are_found_by_path_and_then_by_name(tmp_path: Path) -> None:
    listing = str(tmp_path / "SHA256SUMS")
    entries = parse_checksums(f"{A}  x/app\n{B}  y/app\n{A}  ./one\n{B}  two\n".encode())
    assert find_listed(entries, listing, str(tmp_path / "y" / "app")).digests["sha256"][0] == 0xCD
    assert find_listed(entries, listing, str(tmp_path / "one")).name == "./one"
    assert find_listed(entries, listing, "/elsewhere/two").name == "two"
    with pytest.raises(SignatureInvalid, match="2 files called app"):
        find_listed(entries, listing, "/elsewhere/app")
    with pytest.raises(SignatureInvalid, match="three is not listed"):
        find_listed(entries, listing, str(tmp_path / "three"))
    assert path_of(entries[0], listing) == str(tmp_path / "x" / "app")


def test_only_what_lies_below_can_be_listed(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    listing = str(folder / "SHA256SUMS")
    assert listed_name(str(folder / "a"), listing) == "a"
    with pytest.raises(RequestRejected, match="not in the folder"):
        listed_name(str(tmp_path / "b"), listing)
    with pytest.raises(NotFound):
        listed_name(str(folder / "c"), listing)
    with pytest.raises(RequestRejected):
        serialize_checksums([("../a", b"a" * 32)])


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_coreutils_and_we_read_each_others_listings(tmp_path: Path) -> None:
    names = ["plain", "with space", "back\\slash", "new\nline", "é", "*star", " lead", "-dash"]
    for name in names:
        (tmp_path / name).write_text(name)
    entries = [(name, hashlib.sha256(name.encode()).digest()) for name in names]
    (tmp_path / "OURS").write_bytes(serialize_checksums(entries))
    check = ["sha256sum", "--check", "--strict", "OURS"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for options in (["sha256sum"], ["sha256sum", "--tag"], ["sha512sum", "-b"]):
        made = subprocess.run(
            [*options, "--", *names], cwd=tmp_path, capture_output=True, check=True
        )
        found = parse_checksums(made.stdout)
        assert [entry.name for entry in found] == names
        for entry in found:
            check_listed(entry, BytesArtifact((tmp_path / entry.name).read_bytes()))
    assert os.sep == "/"
