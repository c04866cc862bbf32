# SPDX-License-Identifier: Apache-2.0
"""Real clients that nobody here wrote, as `scripts/install-peers` leaves them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import Running, running


@pytest.fixture(scope="session")
def sigstore() -> str:
    """Path of sigstore-python's command."""
    folder = os.environ.get("COUNTERMARK_TOOLS") or Path.home() / ".cache" / "countermark-tools"
    path = Path(folder) / "sigstore-python" / "bin" / "sigstore"
    if not path.exists():
        pytest.skip("sigstore-python is not there: run scripts/install-peers")
    return str(path)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("instance")) as up:
        yield up
