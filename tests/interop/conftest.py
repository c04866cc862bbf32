# SPDX-License-Identifier: Apache-2.0
"""Real clients that nobody here wrote, as `scripts/install-peers` leaves them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.matrix import PROPERTY, Deed, Kind
from tests.support.peers import Did, Ours, Recorder, installed
from tests.support.running import Running, running


@pytest.fixture(scope="session")
def sigstore() -> str:
    """Path of sigstore-python's command."""
    return installed("sigstore-python", "bin", "sigstore")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("instance")) as up:
        yield up


@pytest.fixture
def ours(instance: Running, tmp_path: Path) -> Ours:
    return Ours(instance, tmp_path)


@pytest.fixture
def recorder(record_property: Callable[[str, object], None]) -> Recorder:
    """For a client and its version: a function to say what it did in this test."""

    def of(client: str, version: str) -> Did:
        def did(kind: Kind, *whats: str) -> None:
            for what in whats:
                record_property(PROPERTY, "\t".join(Deed(client, version, kind, what).encode()))

        return did

    return of
