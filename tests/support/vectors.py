# SPDX-License-Identifier: Apache-2.0
"""Where the published test data is: `COUNTERMARK_VECTORS`, or `shared/vectors` beside the clone.

Tests that need it are skipped without it, and conftest makes that a failure in CI.
"""

import os
from pathlib import Path

import pytest

BEACON = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/"
    "workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
GITHUB = "https://token.actions.githubusercontent.com"


def vectors_dir() -> Path | None:
    """The folder, None if there is none."""
    chosen = os.environ.get("COUNTERMARK_VECTORS")
    folder = Path(chosen) if chosen else Path(__file__).parents[3] / "shared" / "vectors"
    return folder if folder.is_dir() else None


def vectors(*parts: str) -> Path:
    """A path in the folder; skips the test if the folder is absent."""
    folder = vectors_dir()
    if folder is None:
        pytest.skip("the test data is not beside the clone (COUNTERMARK_VECTORS)")
    return folder.joinpath(*parts)


def case_names(*parts: str) -> list[str]:
    """Names of the sub-folders of a folder, to parametrize by; one placeholder if it is absent."""
    folder = vectors_dir()
    if folder is None:
        return ["absent"]
    return sorted(path.name for path in folder.joinpath(*parts).iterdir() if path.is_dir())
