# SPDX-License-Identifier: Apache-2.0
"""The key for the instance's own statements: made once, whole, whatever happens meanwhile."""

import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from countermark.app.data_dir import DataDir
from countermark.app.statements import STATEMENT_KEY, statement_signer
from countermark.core.errors import RequestRejected

_PASSPHRASE = b"of the online keys"


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path)
    made.keys.mkdir(mode=0o700)
    return made


def key_id(data_dir: DataDir) -> bytes:
    return statement_signer(data_dir, STATEMENT_KEY, _PASSPHRASE).public_key.key_id


def test_it_is_made_when_it_is_first_needed(data_dir: DataDir) -> None:
    first = key_id(data_dir)
    assert key_id(data_dir) == first
    (file,) = data_dir.keys.iterdir()
    assert file == data_dir.key_file(STATEMENT_KEY)
    assert file.stat().st_mode & 0o777 == 0o600


def in_a_process(work: Callable[[], object]) -> None:
    """Do it in a process of its own, which may end in the middle of it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_a_disk_that_was_full_is_no_obstacle_later(data_dir: DataDir) -> None:
    def with_room_for_half_a_key() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        with pytest.raises(OSError, match="too large"):
            key_id(data_dir)

    in_a_process(with_room_for_half_a_key)
    assert [file.stat().st_size for file in data_dir.keys.iterdir()] == [100]
    assert key_id(data_dir) == key_id(data_dir)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_a_kill_while_it_is_made_is_no_obstacle_later(data_dir: DataDir, count: int) -> None:
    def killed() -> None:
        left = count

        def dying(name: str) -> None:
            real: Callable[..., object] = getattr(os, name)

            def call(*arguments: object, **more: object) -> object:
                nonlocal left
                made = real(*arguments, **more)
                left -= 1
                if left == 0:
                    os._exit(0)
                return made

            setattr(os, name, call)

        for name in ("open", "fsync", "replace"):
            dying(name)
        key_id(data_dir)

    in_a_process(killed)
    assert key_id(data_dir) == key_id(data_dir)
    assert [file.name for file in data_dir.keys.iterdir()] == [f"{STATEMENT_KEY}.pem"]


def test_all_who_need_it_at_once_get_the_same(data_dir: DataDir) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: key_id(data_dir), range(4)))
    assert len(found) == 1


def test_no_other_key_signs_statements(data_dir: DataDir) -> None:
    with pytest.raises(RequestRejected, match="signs no statements"):
        statement_signer(data_dir, "../ca", _PASSPHRASE)
