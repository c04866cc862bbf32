# SPDX-License-Identifier: Apache-2.0
"""The previous release, as git remembers it: what it writes must go on to work.

`COMMIT` is the last one before layout 2. Move it on with each release.
"""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.instance import Instance

COMMIT = "0161d2520747aab17221b58e8ff5c8af1d17a375"
LAYOUT = 1
_ROOT = Path(__file__).parents[2]


def unpack(folder: Path) -> Path:
    """Its sources below `folder`; skips the test where the clone does not reach that far back."""
    try:
        archive = subprocess.run(
            ["git", "-C", str(_ROOT), "archive", "--format=tar", COMMIT, "src"],
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the previous release, {COMMIT[:7]}, is not in this clone: {error}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "src"


class PreviousInstance(Instance):
    """An instance of the previous release, run by the libraries of this one."""

    def __init__(self, folder: Path, source: Path, *options: str) -> None:
        super().__init__(folder, *options)
        self._source = source

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(self._source)}
