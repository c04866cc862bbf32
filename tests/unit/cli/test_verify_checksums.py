# SPDX-License-Identifier: Apache-2.0
"""`countermark verify --checksums`: the listing's signature, and each file that it lists."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from countermark.cli.exits import MALFORMED, NO_ARTIFACT, NO_SIGNATURE, NOT_PROVEN, OK, USAGE
from countermark.cli.verify_command import run
from tests.support.forge import ISSUER, NAME, Forge

FORGE = Forge()
POLICY = ["--identity", NAME, "--issuer", ISSUER]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release: two files, one of them in a folder, and a signed listing of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    (tmp_path / "root.json").write_bytes(FORGE.trusted_root().serialize())
    (tmp_path / "sub").mkdir()
    for name in ("app.tar.gz", "sub/doc"):
        (tmp_path / name).write_text(name)
    listing = "".join(
        f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n"
        for name in ("app.tar.gz", "sub/doc")
    )
    sign(tmp_path / "SHA256SUMS", listing.encode())
    return tmp_path


def sign(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    bundle = FORGE.bundle(artifact=data)
    Path(f"{path}.sigstore.json").write_bytes(bundle.serialize())


def verify(*arguments: str) -> int:
    return run([*POLICY, "--trusted-root", "root.json", "--checksums", "SHA256SUMS", *arguments])


def results(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["results"]
    return found


def test_the_listing_and_all_that_it_lists(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify() == OK
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"SHA256SUMS: verified, signed by {NAME}")
    assert said[1:] == [f"{name}: verified, as listed in SHA256SUMS" for name in
                        ("app.tar.gz", "sub/doc")]  # fmt: skip
    assert verify("--json") == OK
    listing, app, doc = results(capsys)
    assert listing["identity"] == NAME
    assert (app["file"], app["verified"], app["listed"]["name"]) == (
        "app.tar.gz",
        True,
        app["file"],
    )
    assert len(doc["listed"]["digests"]["sha256"]) == 64


def test_one_file_through_the_listing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sub" / "doc").unlink()  # nobody asked for it
    assert verify("app.tar.gz") == OK
    elsewhere = folder / "downloads"
    elsewhere.mkdir()
    (elsewhere / "app.tar.gz").write_text("app.tar.gz")
    assert verify(str(elsewhere / "app.tar.gz")) == OK
    (elsewhere / "app.tar.gz").write_text("changed")
    assert verify(str(elsewhere / "app.tar.gz")) == NOT_PROVEN
    (folder / "other").write_text("app.tar.gz")  # right bytes, but listed by another name
    assert verify("other") == NOT_PROVEN
    assert "other is not listed" in capsys.readouterr().err


def test_a_changed_file_fails_and_the_others_are_still_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "app.tar.gz").write_text("changed")
    assert verify("--json") == NOT_PROVEN
    assert [item["verified"] for item in results(capsys)] == [True, False, True]


def test_a_missing_file_is_told_unless_that_is_ignored(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "app.tar.gz").unlink()
    assert verify() == NO_ARTIFACT
    assert "no file app.tar.gz" in capsys.readouterr().err
    assert verify("--ignore-missing") == OK
    assert "1 listed files are not there" in capsys.readouterr().out
    assert verify("--ignore-missing", "app.tar.gz") == NO_ARTIFACT  # it was asked for
    (folder / "sub" / "doc").write_text("changed")
    assert verify("--ignore-missing") == NOT_PROVEN
    (folder / "sub" / "doc").unlink()
    assert verify("--ignore-missing") == NO_ARTIFACT  # nothing was verified


def test_nothing_is_believed_of_a_listing_that_nobody_signed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = folder / "SHA256SUMS"
    evil = f"{hashlib.sha256(b'evil').hexdigest()}  app.tar.gz\n"
    (folder / "app.tar.gz").write_text("evil")
    listing.write_text(listing.read_text() + evil)
    assert verify("--json") == NOT_PROVEN
    assert len(results(capsys)) == 1
    (folder / "SHA256SUMS.sigstore.json").unlink()
    assert verify() == NO_SIGNATURE
    listing.unlink()
    assert verify() == NO_ARTIFACT
    assert verify("app.tar.gz") == NO_ARTIFACT


@pytest.mark.parametrize(
    "line", ["../secret", "/etc/passwd", "sub/../../secret", "C:secret", "sub\\..\\..\\secret"]
)
def test_a_signed_listing_that_leads_elsewhere_is_refused_whole(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    digest = hashlib.sha256(b"app.tar.gz").hexdigest()
    sign(folder / "SHA256SUMS", f"{digest}  app.tar.gz\n{digest}  {line}\n".encode())
    assert verify("app.tar.gz") == MALFORMED
    assert "line 2" in capsys.readouterr().err


def test_no_file_that_never_ends_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import os

    (folder / "app.tar.gz").unlink()
    os.mkfifo(folder / "app.tar.gz")
    assert verify("app.tar.gz") == USAGE
    assert "named pipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--ignore-missing", "file"], ["--checksums", "L", "--type", "vuln"], ["--checksums", ""]],
)
def test_what_makes_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*POLICY, *arguments]) == USAGE
