# SPDX-License-Identifier: Apache-2.0
"""What every `ObjectStore` does."""

from pathlib import Path

import pytest

from countermark.core.errors import FormatError, InvariantBroken, NotFound
from countermark.drivers.embedded.files import FileObjectStore
from countermark.ports.objects import ObjectStore
from tests.support.logs import EmbeddedStores, MemoryStores, Stores


@pytest.fixture(params=["memory", "embedded"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    return MemoryStores() if request.param == "memory" else EmbeddedStores(tmp_path)


@pytest.fixture
def objects(stores: Stores) -> ObjectStore:
    store, objects = stores.open()
    store.close()
    return objects


def test_objects_are_read_back(objects: ObjectStore) -> None:
    objects.put_all([("tile/0/000.p/3", b"abc"), ("tile/0/x001/000", b""), ("checkpointish", b"c")])
    assert objects.fetch("tile/0/000.p/3") == b"abc"
    assert objects.fetch("tile/0/x001/000") == b""
    assert objects.fetch("checkpointish") == b"c"


@pytest.mark.parametrize("path", ["tile", "tile/0", "tile/0/001", "tile/0/000/1", "checkpoint"])
def test_what_is_not_there_is_not_found(objects: ObjectStore, path: str) -> None:
    objects.put_all([("tile/0/000", b"x")])
    with pytest.raises(NotFound):
        objects.fetch(path)


def test_putting_the_same_again_is_no_error(objects: ObjectStore) -> None:
    objects.put_all([("a/b", b"1"), ("a/c", b"2")])
    objects.put_all([("a/c", b"2"), ("a/d", b"3")])
    assert sorted(objects.paths("a/")) == ["a/b", "a/c", "a/d"]


def test_an_object_is_never_changed(objects: ObjectStore) -> None:
    objects.put_all([("a/b", b"1")])
    with pytest.raises(InvariantBroken):
        objects.put_all([("a/c", b"2"), ("a/b", b"other")])
    assert objects.fetch("a/b") == b"1"


def test_the_checkpoint_is_replaced(objects: ObjectStore) -> None:
    objects.replace("checkpoint", b"1")
    objects.replace("checkpoint", b"22")
    assert objects.fetch("checkpoint") == b"22"


def test_deleting(objects: ObjectStore) -> None:
    objects.put_all([("t/000.p/1", b"1"), ("t/000.p/2", b"2"), ("t/000", b"3")])
    objects.delete_all(["t/000.p/1", "t/000.p/7"])
    assert sorted(objects.paths("t/")) == ["t/000", "t/000.p/2"]
    objects.delete_all(["t/000.p/2"])
    objects.delete_all([])
    assert list(objects.paths("t/")) == ["t/000"]
    objects.put_all([("t/000.p/1", b"again")])
    assert objects.fetch("t/000.p/1") == b"again"


def test_paths_by_prefix(objects: ObjectStore) -> None:
    paths = ["tile/0/000.p/1", "tile/0/000.p/12", "tile/0/000", "tile/1/000", "tile/entries/000"]
    objects.put_all([(path, path.encode()) for path in paths])
    objects.replace("checkpoint", b"c")
    assert sorted(objects.paths("")) == sorted([*paths, "checkpoint"])
    assert sorted(objects.paths("tile/0/000.p/")) == ["tile/0/000.p/1", "tile/0/000.p/12"]
    assert sorted(objects.paths("tile/0/000.p/1")) == ["tile/0/000.p/1", "tile/0/000.p/12"]
    assert sorted(objects.paths("tile/e")) == ["tile/entries/000"]
    assert list(objects.paths("nothing/")) == []


def test_objects_survive_a_restart(stores: Stores, objects: ObjectStore) -> None:
    objects.put_all([("a/b", b"1")])
    objects.replace("checkpoint", b"c")
    store, again = stores.open()
    store.close()
    assert again.fetch("a/b") == b"1"
    assert again.fetch("checkpoint") == b"c"
    assert sorted(again.paths("")) == ["a/b", "checkpoint"]


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".incoming/0", "a/.hidden", "a b"]
)
def test_paths_that_could_lead_elsewhere_are_refused(tmp_path: Path, path: str) -> None:
    objects = FileObjectStore(tmp_path / "o")
    with pytest.raises(FormatError):
        objects.put_all([(path, b"x")])
    with pytest.raises(FormatError):
        objects.fetch(path)
