# SPDX-License-Identifier: Apache-2.0
"""python-tuf's client follows the repository of a running instance, and believes nobody else."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from tests.support.matrix import Kind
from tests.support.peers import Did, Ours, Recorder
from tests.support.tuf import make_repository

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("python-tuf")]
TARGETS = ("trusted_root.json", "signing_config.v0.2.json", "trust_config.json")


class OnTheWay(FetcherInterface):
    """Changes what comes from the server."""

    def __init__(self, change: Callable[[str, bytes], bytes]) -> None:
        self._real = Urllib3Fetcher()
        self._change = change

    def _fetch(self, url: str) -> Iterator[bytes]:
        yield self._change(url, b"".join(self._real.fetch(url)))


@pytest.fixture
def did(recorder: Recorder) -> Did:
    return recorder("python-tuf", version("tuf"))


def updater(ours: Ours, root: bytes | None, fetcher: FetcherInterface | None = None) -> Updater:
    """A client with its cache in the test's folder."""
    for name in ("metadata", "targets"):
        (ours.folder / name).mkdir(exist_ok=True)
    address, _ = ours.tuf
    return Updater(
        metadata_dir=str(ours.folder / "metadata"),
        metadata_base_url=f"{address}/",
        target_dir=str(ours.folder / "targets"),
        target_base_url=f"{address}/targets/",
        fetcher=fetcher,
        bootstrap=root,
    )


def fetch(client: Updater) -> dict[str, bytes]:
    client.refresh()
    found = {}
    for name in TARGETS:
        info = client.get_targetinfo(name)
        assert info is not None, f"{name} is no target"
        found[name] = Path(client.download_target(info)).read_bytes()
    return found


def test_it_gets_what_the_instance_trusts(ours: Ours, did: Did) -> None:
    root = Path(ours.tuf[1]).read_bytes()
    expected = {name: (ours.trust / name).read_bytes() for name in TARGETS}
    assert fetch(updater(ours, root)) == expected
    assert fetch(updater(ours, None)) == expected  # from the root it keeps
    did(Kind.VERIFIED, "all targets")


def test_it_refuses_another_root(ours: Ours, did: Did) -> None:
    others = make_repository(ours.folder / "others").objects.data
    root = {**others.immutable, **others.mutable}["1.root.json"]
    with pytest.raises(RepositoryError):
        fetch(updater(ours, root))
    did(Kind.REFUSED, "root of somebody else")


@pytest.mark.parametrize(
    "what", ["timestamp.json", "snapshot.json", "targets.json", "trusted_root.json"]
)
def test_it_refuses_what_was_changed_on_the_way(ours: Ours, did: Did, what: str) -> None:
    def change(url: str, data: bytes) -> bytes:
        return data.replace(b"0", b"1", 1) if url.endswith(what) else data

    root = Path(ours.tuf[1]).read_bytes()
    with pytest.raises(RepositoryError) as refusal:
        fetch(updater(ours, root, OnTheWay(change)))
    assert not isinstance(refusal.value, DownloadHTTPError)
    did(Kind.REFUSED, f"changed {what.partition('.')[0].replace('_', ' ')}")
