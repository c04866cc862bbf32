# SPDX-License-Identifier: Apache-2.0
"""The same entry from many clients, over two workers, while processes are killed: one entry."""

import http.client
import json
import threading
import time
from pathlib import Path

import pytest

from tests.support.instance import Instance
from tests.support.rekor import SigningKey, encode, hashedrekord

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("instance")]

ENTRIES = "/api/v1/log/entries"
CLIENTS, KILLED = 8, ("keeper", "worker-1", "keeper", "worker-2", "keeper")


class Storm:
    """Clients that post the same bodies, one after the other, until they are stopped."""

    def __init__(self, port: int, bodies: list[bytes]) -> None:
        self.added: dict[int, list[str]] = {number: [] for number in range(len(bodies))}
        self.addresses: dict[int, set[str]] = {number: set() for number in range(len(bodies))}
        self.duplicates = 0
        self.odd: list[tuple[int, bytes]] = []
        self._port, self._bodies = port, bodies
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> "Storm":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self) -> None:
        while not self._ended.is_set():
            for number, body in enumerate(self._bodies):
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
                try:
                    status, address, data = post(connection, body)
                except (OSError, http.client.HTTPException):
                    time.sleep(0.02)
                    continue
                finally:
                    connection.close()
                with self._lock:
                    self._note(number, status, address, data)

    def _note(self, number: int, status: int, address: str, data: bytes) -> None:
        if status in (201, 409):
            self.addresses[number].add(address)
            self.duplicates += status == 409
            if status == 201:
                self.added[number].append(address)
        elif status != 503:
            self.odd.append((status, data))


def post(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, str, bytes]:
    connection.request("POST", ENTRIES, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    return reply.status, reply.headers.get("location", ""), reply.read()


def test_one_entry_whatever_is_killed_meanwhile(tmp_path: Path) -> None:
    trees = [hashedrekord(SigningKey.new(), b"artifact %d" % number) for number in range(3)]
    bodies = [encode(tree) for tree in trees]
    with Instance(tmp_path, "--workers", "2") as instance:
        before = size(instance)
        with Storm(instance.port, bodies) as storm:
            for victim in KILLED:
                seen = storm.duplicates
                instance.wait("answering", lambda seen=seen: storm.duplicates > seen + 20)  # type: ignore[misc]
                instance.wait(f"{victim} there", lambda name=victim: name in instance.processes())  # type: ignore[misc]
                instance.kill(victim)
            seen = storm.duplicates
            instance.wait("answering again", lambda: storm.duplicates > seen + 20)
        assert storm.odd == []
        assert size(instance) == before + len(bodies)
        for number, body in enumerate(bodies):
            # Whoever added it may have been cut off before the answer.
            assert len(storm.added[number]) <= 1
            (address,) = storm.addresses[number]
            connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=30)
            spelt = json.dumps(trees[number], indent=3).encode()
            for again in (body, spelt):
                status, told, _ = post(connection, again)
                assert (status, told) == (409, address)
            connection.close()
        instance.stop()
        instance.start()
        connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=30)
        for number, body in enumerate(bodies):
            assert post(connection, body)[:2] == (409, *storm.addresses[number])
        connection.close()
        instance.stop()
        checked = instance.command("log", "fsck", "--data", str(instance.data_dir.path))
        assert checked.returncode == 0, checked.stdout + checked.stderr


def size(instance: Instance) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=30)
    connection.request("GET", "/api/v1/log")
    found = json.loads(connection.getresponse().read())["treeSize"]
    connection.close()
    assert isinstance(found, int)
    return found
