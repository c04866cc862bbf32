# SPDX-License-Identifier: Apache-2.0
"""Clients that ask an instance for something all the time, and note whoever was not served."""

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.rekor import SigningKey, hashedrekord

_PAUSE_S = 0.01
_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Served:
    """What one client got.

    Attributes:
        count: requests that were answered as they should.
        refused: statuses of the others, or names of errors.
        longest_s: the longest time to an answer.
    """

    count: int = 0
    refused: list[str] = field(default_factory=list)
    longest_s: float = 0.0


class SteadyClients:
    """One client that logs entries and one that asks for timestamps, until the context ends."""

    def __init__(self, url: str) -> None:
        self._netloc = urlsplit(url).netloc
        self._stop = threading.Event()
        self.entries, self.timestamps = Served(), Served()
        self._threads = [
            threading.Thread(target=self._work, args=(served, path, make), daemon=True)
            for served, path, make in (
                (self.entries, "/api/v1/log/entries", self._entry),
                (self.timestamps, "/api/v1/timestamp", self._timestamp),
            )
        ]
        self._key = SigningKey.new()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S)

    def _entry(self, number: int) -> dict[str, Any]:
        return hashedrekord(self._key, f"artifact {number}".encode())

    def _timestamp(self, number: int) -> dict[str, Any]:
        return {"artifactHash": "A" * 43 + "=", "hashAlgorithm": "sha256"}

    def _work(self, served: Served, path: str, make: Any) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            body = json.dumps(make(number))
            begun = time.monotonic()
            try:
                status = self._ask(path, body)
            except (OSError, http.client.HTTPException) as error:
                served.refused.append(repr(error))
            else:
                if status in (200, 201):
                    served.count += 1
                else:
                    served.refused.append(str(status))
            served.longest_s = max(served.longest_s, time.monotonic() - begun)
            time.sleep(_PAUSE_S)

    def _ask(self, path: str, body: str) -> int:
        connection = http.client.HTTPConnection(self._netloc, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        return response.status
