# SPDX-License-Identifier: Apache-2.0
"""Stopping under load: nobody who asked is left without an answer, nothing promised is lost."""

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.support.instance import Instance
from tests.support.rekor import SigningKey, encode, hashedrekord

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("instance")]

CLIENTS = 32
# A request may cross the end of its connection on the way, as HTTP has it: it was never taken, and
# the sizes that are compared below show that nothing of it was logged.
_CROSSED = 2


@dataclass
class Crowd:
    """Clients on kept connections that post entries until the port is closed.

    Attributes:
        logged: entries acknowledged with 201.
        busy: requests answered with 503.
        closes: replies that said that they are the last of their connection.
        unanswered: how requests ended that got no answer, though they were sent.
        refused: clients that found the port closed, which begins nothing.
    """

    port: int
    logged: int = 0
    busy: int = 0
    closes: int = 0
    refused: int = 0
    unanswered: list[str] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.answers = [0] * CLIENTS
        key = SigningKey.new()
        self._bodies = [
            [encode(hashedrekord(key, b"%d of %d" % (turn, number))) for turn in range(150)]
            for number in range(CLIENTS)
        ]
        self._threads = [
            threading.Thread(target=self._work, args=(number,), daemon=True)
            for number in range(CLIENTS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self
            time.sleep(0.01)

    def _work(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=25)
        bodies = iter(self._bodies[number])
        while not self._over.is_set():
            if connection.sock is None:
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    with self._lock:
                        self.refused += 1
                    return
                except OSError:  # reset before it was made: nothing was sent
                    continue
            body = next(bodies, None)
            if body is None:
                return
            headers = {"content-type": "application/json"}
            try:
                connection.request("POST", "/api/v1/log/entries", body, headers)
                reply = connection.getresponse()
                reply.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    self.unanswered.append(repr(error))
                continue
            with self._lock:
                self.answers[number] += 1
                self.logged += reply.status == 201
                self.busy += reply.status == 503
                self.closes += reply.will_close
                if reply.status not in (201, 503):
                    self.others.append(reply.status)
        connection.close()


def _sizes(instance: Instance) -> tuple[int, int]:
    """Size and published size of the v1 log of an instance that does not run."""
    data = ("--data", str(instance.data_dir.path))
    told = json.loads(instance.command("log", "info", "--json", *data).stdout)
    log = next(each for each in told["logs"] if each["name"] == "rekor-v1-1")
    return log["treeSize"], log["publishedSize"]


def _sound(instance: Instance) -> bool:
    data = ("--data", str(instance.data_dir.path))
    return instance.command("log", "fsck", *data).returncode == 0


def test_a_stop_under_load_answers_everybody(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "2") as instance:
        crowd = Crowd(instance.port)
        with crowd:
            crowd.wait_until(lambda: crowd.logged > 200)
            begun = time.monotonic()
            assert instance.stop() == 0
            assert time.monotonic() - begun < 12
            crowd.wait_until(lambda: crowd.refused == CLIENTS)
        assert len(crowd.unanswered) <= _CROSSED, crowd.unanswered
        assert crowd.others == []
        assert crowd.closes >= CLIENTS / 2
        assert _sizes(instance) == (crowd.logged + 2, crowd.logged + 2)  # genesis
        assert _sound(instance)
        assert "was killed" not in instance.said()


def test_one_worker_is_stopped_under_load(tmp_path: Path) -> None:
    """Those that it served go on with another process."""
    with Instance(tmp_path, "--workers", "2") as instance:
        crowd = Crowd(instance.port)
        with crowd:
            crowd.wait_until(lambda: crowd.logged > 100)
            worker = instance.processes()["worker-1"]
            worker.send_signal(signal.SIGTERM)
            instance.wait("gone", lambda: not worker.is_running(), 15)
            before = list(crowd.answers)
            # Those that connected while it was gone waited for the next one.
            crowd.wait_until(lambda: all(map(int.__gt__, crowd.answers, before)))
            assert instance.stop() == 0
        assert len(crowd.unanswered) <= _CROSSED, crowd.unanswered
        assert crowd.others == []
        assert "worker-1 ended with status 0" in instance.said()
        assert _sizes(instance) == (crowd.logged + 2, crowd.logged + 2)


def test_the_keeper_is_stopped_under_load(tmp_path: Path) -> None:
    """It ends in order, and who asked meanwhile is answered 201 or 503."""
    with Instance(tmp_path, "--workers", "2") as instance:
        crowd = Crowd(instance.port)
        with crowd:
            crowd.wait_until(lambda: crowd.logged > 100)
            keeper = instance.processes()["keeper"]
            keeper.send_signal(signal.SIGTERM)
            instance.wait("gone", lambda: not keeper.is_running(), 15)
            before = crowd.logged
            crowd.wait_until(lambda: crowd.logged > before + 50)
            assert instance.stop() == 0
        assert len(crowd.unanswered) <= _CROSSED, crowd.unanswered
        assert crowd.others == []
        assert "keeper ended with status 0" in instance.said()
        size, published = _sizes(instance)
        assert size == published
        assert crowd.logged + 2 <= size <= crowd.logged + crowd.busy + 2


def test_a_second_signal_hurries_and_a_third_party_kill_loses_nothing(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "2") as instance:
        crowd = Crowd(instance.port)
        with crowd:
            crowd.wait_until(lambda: crowd.logged > 100)
            keeper = instance.processes()["keeper"]
            keeper.suspend()  # so that nothing can be finished
            process = psutil.Process(keeper.ppid())
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            time.sleep(1.0)
            assert process.is_running()
            process.send_signal(signal.SIGINT)
            assert instance.stop() == 0
            assert time.monotonic() - begun < 6
            crowd.wait_until(lambda: crowd.refused == CLIENTS)
        assert len(crowd.unanswered) <= _CROSSED, crowd.unanswered
        assert crowd.busy >= CLIENTS / 2
        assert _sound(instance)
        instance.start()
        instance.stop()
        assert _sizes(instance)[1] >= crowd.logged + 2


def test_a_kill_right_after_the_signal_loses_nothing(tmp_path: Path) -> None:
    """What `docker stop` does when its patience ends."""
    with Instance(tmp_path, "--workers", "2") as instance:
        crowd = Crowd(instance.port)
        with crowd:
            crowd.wait_until(lambda: crowd.logged > 100)
            group = list(instance.processes().values())
            group[0].send_signal(signal.SIGTERM)
            time.sleep(0.1)
            for process in group:
                process.send_signal(signal.SIGKILL)
            assert instance.stop() == -signal.SIGKILL
            crowd.wait_until(lambda: crowd.refused == CLIENTS)
        assert crowd.others == []
        assert _sound(instance)
        instance.start()
        assert instance.stop() == 0
        size, published = _sizes(instance)
        assert size == published >= crowd.logged + 2


def test_slow_and_idle_clients_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    with Instance(tmp_path, "--workers", "1") as instance:
        idle = socket.create_connection(("127.0.0.1", instance.port))
        idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        slow = socket.create_connection(("127.0.0.1", instance.port))
        head = b"POST /api/v1/log/entries HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        slow.sendall(head + b"content-length: 100\r\n\r\n{")
        time.sleep(0.2)
        begun = time.monotonic()
        assert instance.stop() == 0
        assert time.monotonic() - begun < 9
        assert idle.recv(65536) == b""  # an orderly end, no reset
        assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
        idle.close()
        slow.close()
