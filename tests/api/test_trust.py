# SPDX-License-Identifier: Apache-2.0
"""/tuf and /trust over real HTTP: python-tuf's client, headers, and names that must not exist."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError

from countermark.drivers.memory import MemoryObjectStore
from countermark.trust.api import routes
from countermark.trust.keeper import TrustKeeper
from countermark.trust.repository import TufRepository
from tests.support.http_server import serving
from tests.support.tuf import (
    START,
    TARGETS,
    MadeRepository,
    fetch_targets,
    make_repository,
    ngclient,
)

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class SettableClock:
    """Stands still until told."""

    now_s: float

    def now_ms(self) -> int:
        return int(self.now_s * 1000)


@pytest.fixture
def made(tmp_path: Path) -> MadeRepository:
    return make_repository(tmp_path / "made")


@pytest.fixture
def url(made: MadeRepository, tmp_path: Path) -> Iterator[str]:
    trust = MemoryObjectStore()
    for name, data in TARGETS.items():
        trust.replace(name, data)
    trust.replace("other.json", b"not for the public")
    made.objects.replace("secret.json", b"not for the public")
    with serving(routes(made.objects, trust)) as url:
        yield url


def ask(url: str, path: str, method: str = "GET", **headers: str) -> Reply:
    """Send the path exactly as it is spelled."""
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, named, response.read())


def test_new_client_gets_every_target(made: MadeRepository, url: str, tmp_path: Path) -> None:
    root = made.objects.fetch("1.root.json")
    assert fetch_targets(ngclient(tmp_path / "client", url, root)) == TARGETS


def test_client_follows_new_timestamps_and_targets(
    made: MadeRepository, url: str, tmp_path: Path
) -> None:
    root = made.objects.fetch("1.root.json")
    fetch_targets(ngclient(tmp_path / "client", url, root))

    made.repository.refresh(START + timedelta(hours=1))
    assert fetch_targets(ngclient(tmp_path / "client", url, None)) == TARGETS

    changed = TARGETS | {"trusted_root.json": b'{"mediaType": "newer root"}\n'}
    made.repository.publish(changed, START + timedelta(hours=2))
    assert fetch_targets(ngclient(tmp_path / "client", url, None)) == changed


def test_client_with_another_root_gets_nothing(
    made: MadeRepository, url: str, tmp_path: Path
) -> None:
    stranger = make_repository(tmp_path / "stranger")
    root = stranger.objects.fetch("1.root.json")
    with pytest.raises(RepositoryError):
        fetch_targets(ngclient(tmp_path / "client", url, root))


def test_expired_repository_is_mended_by_the_keeper_at_start(url: str, tmp_path: Path) -> None:
    old = make_repository(tmp_path / "old", START - WEEK - timedelta(minutes=1))
    root = old.objects.fetch("1.root.json")
    with serving(routes(old.objects, old.objects)) as old_url:
        with pytest.raises(ExpiredMetadataError):
            fetch_targets(ngclient(tmp_path / "early", old_url, root))
        keeper = TrustKeeper(old.objects, old.online, SettableClock(START.timestamp()))
        asyncio.run(run_until(keeper, old, timestamp_version=2))
        assert fetch_targets(ngclient(tmp_path / "late", old_url, root)) == TARGETS


def test_keeper_signs_again_when_a_day_has_gone_by(made: MadeRepository) -> None:
    clock = SettableClock(START.timestamp())
    keeper = TrustKeeper(made.objects, made.online, clock)

    async def two_days() -> None:
        running = asyncio.ensure_future(keeper.run(check_every_s=0.005))
        await until(made, timestamp_version=2)
        await asyncio.sleep(0.05)
        assert version(made) == 2, "it signed without need"
        for day in (1, 2):
            clock.now_s += 86_401
            await until(made, timestamp_version=2 + day)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(two_days())


def test_headers(made: MadeRepository, url: str) -> None:
    for path in ("/tuf/1.root.json", "/tuf/1.targets.json", "/tuf/1.snapshot.json"):
        reply = ask(url, path)
        assert reply.status == 200
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["x-content-type-options"] == "nosniff"
    for path in ("/tuf/timestamp.json", "/trust/trusted_root.json"):
        reply = ask(url, path)
        assert reply.status == 200
        assert reply.headers["cache-control"] == "no-cache"
        again = ask(url, path, **{"if-none-match": reply.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        head = ask(url, path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(reply.body))
    # The next root is asked for every time; nobody may remember that it was not there.
    missing = ask(url, "/tuf/2.root.json")
    assert (missing.status, missing.headers["cache-control"]) == (404, "no-store")


def test_trust_files_are_the_targets(url: str) -> None:
    for name, data in TARGETS.items():
        assert ask(url, f"/trust/{name}").body == data
        digest = hashlib.sha256(data).hexdigest()
        assert ask(url, f"/tuf/targets/{digest}.{name}").body == data
        assert ask(url, f"/tuf/targets/{name}").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/trust/other.json",
        "/trust/../tuf/timestamp.json",
        "/trust/%2e%2e/tuf/timestamp.json",
        "/trust/..%2ftuf%2ftimestamp.json",
        "/tuf/secret.json",
        "/tuf/../online.pem",
        "/tuf/%2e%2e/online.pem",
        "/tuf/..%2fonline.pem",
        "/tuf/targets/../../online.pem",
        f"/tuf/targets/{'0' * 64}.../../../online.pem",
        "/tuf//timestamp.json",
        "/tuf/%0a1.root.json",
        "/tuf/1.root.json%00",
        "/tuf/01.root.json",
        "/tuf/0.root.json",
        "/tuf/%D9%A1.root.json",
        "/tuf/timestamp.json/",
        "/tuf/",
        "/tuf/targets/",
    ],
)
def test_other_names_do_not_exist(url: str, path: str) -> None:
    assert ask(url, path).status == 404


@pytest.mark.parametrize("path", ["/trust/other.json", "/tuf/9.root.json", "/tuf/secret.json"])
def test_missing_files_are_problems_like_others(url: str, path: str) -> None:
    reply = ask(url, path)
    problem = {"code": 404, "message": "no such file", "error": "not-found"}
    assert (reply.status, json.loads(reply.body)) == (404, problem)


def test_nothing_can_be_written(made: MadeRepository, url: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(url, "/tuf/timestamp.json", method).status == 405
        assert ask(url, "/trust/trusted_root.json", method).status == 405


def version(made: MadeRepository) -> int:
    return TufRepository.open(made.objects, made.online).timestamp_version


async def until(made: MadeRepository, *, timestamp_version: int) -> None:
    for _ in range(2000):
        if version(made) >= timestamp_version:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("no newer timestamp was signed")


async def run_until(keeper: TrustKeeper, made: MadeRepository, *, timestamp_version: int) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(keeper.run())
        await until(made, timestamp_version=timestamp_version)
        running.cancel()
