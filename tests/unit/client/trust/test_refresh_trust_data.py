# SPDX-License-Identifier: Apache-2.0
"""The shipped trust is made anew by a script that writes nothing it did not verify."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tuf_mirror import Repository

SCRIPT = Path(__file__).parents[4] / "scripts/refresh-trust-data"


@pytest.fixture
def copy(repository: Repository, tmp_path: Path) -> Path:
    """A copy of a repository whose root rotated twice."""
    repository.rotate_root("root")
    repository.rotate_root("timestamp")
    repository.publish()
    folder = tmp_path / "copy"
    for name, data in repository.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (tmp_path / "to").mkdir()
    return folder


def refresh(copy: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "public", "--from", str(copy), "--to", "to", *more],
        cwd=copy.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_verified_files_are_written(
    copy: Path, repository: Repository, trusted_root: bytes
) -> None:
    done = refresh(copy, "--root", str(copy / "1.root.json"))
    assert done.returncode == 0, done.stderr
    assert "root 3," in done.stdout
    assert all(signer.public_key.keyid in done.stdout for signer in repository.signers["root"])
    written = {path.name: path.read_bytes() for path in (copy.parent / "to").iterdir()}
    assert written == {
        "public_good_tuf_root.json": repository.files["3.root.json"],
        "public_good_trusted_root.json": trusted_root,
    }


def test_strangers_and_changed_files_write_nothing(copy: Path) -> None:
    stranger = refresh(copy)  # from the root that is shipped
    assert (stranger.returncode, stranger.stdout) == (1, "")
    for path in (copy / "targets").iterdir():
        path.write_bytes(path.read_bytes().replace(b"{", b" ", 1))
    changed = refresh(copy, "--root", str(copy / "1.root.json"))
    assert (changed.returncode, "nothing was written" in changed.stderr) == (1, True)
    assert list((copy.parent / "to").iterdir()) == []
