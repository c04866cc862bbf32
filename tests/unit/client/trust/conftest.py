# SPDX-License-Identifier: Apache-2.0
"""A repository, a mirror of it, and a user's own folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from countermark.client.trust.following import Followed, fetch
from tests.support.forge import Forge
from tests.support.tuf_mirror import Mirror, Repository, mirror_of


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def trusted_root() -> bytes:
    return Forge().trusted_root().serialize()


@pytest.fixture
def repository(trusted_root: bytes) -> Repository:
    made = Repository()
    made.publish({"trusted_root.json": trusted_root})
    return made


@pytest.fixture
def mirror(repository: Repository) -> Iterator[Mirror]:
    with mirror_of(repository.files) as mirror:
        yield mirror


@pytest.fixture
def known(repository: Repository, mirror: Mirror) -> Followed:
    """The instance, fetched once."""
    return fetch(mirror.url, pin=repository.first_root)
