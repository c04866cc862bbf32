# SPDX-License-Identifier: Apache-2.0
"""One running instance for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.running import Running, running


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("instance")) as up:
        yield up
