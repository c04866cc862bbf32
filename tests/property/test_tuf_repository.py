# SPDX-License-Identifier: Apache-2.0
"""A damaged TUF repository is refused in our own words, or is none the worse for it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import InvariantBroken
from countermark.drivers.memory import MemoryObjectData, MemoryObjectStore
from countermark.trust.repository import TufRepository
from tests.support.tuf import MadeRepository, make_repository

FILES = ["1.root.json", "1.targets.json", "1.snapshot.json", "timestamp.json"]


@cache
def made() -> MadeRepository:
    with TemporaryDirectory() as folder:
        return make_repository(Path(folder))


def opened(path: str, data: bytes) -> TufRepository | None:
    """The repository with another file in place of one of its own; None if it is refused."""
    content = MemoryObjectData(dict(made().objects.data.immutable), {path: data})
    content.immutable.pop(path, None)
    for name, kept in made().objects.data.mutable.items():
        content.mutable.setdefault(name, kept)
    try:
        return TufRepository.open(MemoryObjectStore(content), made().online)
    except InvariantBroken:
        return None


@given(
    path=st.sampled_from(FILES),
    position=st.integers(0, 100_000),
    replacement=st.binary(max_size=4),
    cut=st.integers(0, 4),
)
def test_damage_never_changes_what_is_believed(
    path: str, position: int, replacement: bytes, cut: int
) -> None:
    data = made().objects.fetch(path)
    position %= len(data)
    repository = opened(path, data[:position] + replacement + data[position + cut :])
    if repository is not None:
        assert repository.timestamp_version == made().repository.timestamp_version
        assert repository.expires == made().repository.expires


@given(path=st.sampled_from(FILES), data=st.binary(max_size=200))
def test_garbage_is_refused(path: str, data: bytes) -> None:
    assert opened(path, data) is None


def test_undamaged_repository_is_opened() -> None:
    for path in FILES:
        assert opened(path, made().objects.fetch(path)) is not None
