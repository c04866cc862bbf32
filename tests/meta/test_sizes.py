# SPDX-License-Identifier: Apache-2.0
"""Rules about the repository itself."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 600


def tracked(*patterns: str) -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_source_files_stay_small() -> None:
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py")
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not too_long


def test_every_source_file_names_its_licence() -> None:
    missing = [
        str(path.relative_to(ROOT))
        for path in tracked("*.py")
        if "SPDX-License-Identifier: Apache-2.0" not in path.read_text()[:200]
    ]
    assert not missing


@pytest.mark.parametrize(
    "pattern",
    [
        r"registry\.npm" + r"js|files\.python" + r"hosted|//py" + r"pi\.org|deb\.deb" + r"ian\.org",
        r"proxy\.go" + r"lang\.org",
        r"(?<![A-Za-z0-9_}])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/[a-z]+)/[a-z]",
        r"-----BEGIN (?:EC |RSA |ENCRYPTED )?PRIV" + r"ATE KEY-----\n[A-Za-z0-9+/]{40}",
    ],
    ids=["registry host", "module proxy", "machine path", "private key"],
)
def test_nothing_is_committed_that_must_not_be(pattern: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if re.search(pattern, path.read_text(errors="replace"))
    ]
    assert not found


def test_text_has_no_unfinished_marks() -> None:
    pattern = re.compile("TO" + "DO|FIX" + "ME|XX" + "X|NotImplemented" + "Error")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("*.py", "*.md", "Makefile", "scripts/*")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found
