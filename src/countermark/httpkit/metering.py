# SPDX-License-Identifier: Apache-2.0
"""What a worker counts of its requests, and the line that it may write about each.

An endpoint is named by its route's template, never by the path that somebody asked for: foreign
text must not make new series, nor get into logs.
"""

import ipaddress
import logging
import re
from collections.abc import Callable
from typing import Any, Final

from countermark.observe import catalogue
from countermark.observe.board import Region

ENDPOINT: Final = "countermark.endpoint"
"""Where the application leaves a request's template in its scope."""
OTHER: Final = "other"

_METHODS: Final = frozenset(("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"))
_LIMITS: Final = frozenset((408, 413, 414, 431, 503))
_REQUEST_ID_CHARS: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._:-]")

_access = logging.getLogger("access")


class RequestMeter:
    """Counts the requests of one worker."""

    def __init__(
        self,
        region: Region,
        service_of: Callable[[str], str],
        *,
        access_log: bool = False,
        behind_proxy: bool = False,
    ) -> None:
        """Count in `region`.

        Args:
            region: this worker's.
            service_of: the service that an endpoint template belongs to.
            access_log: whether each request gets a line.
            behind_proxy: whether X-Forwarded-For comes from a proxy of ours.
        """
        self._region = region
        self._service_of = service_of
        self._access_log = access_log
        self._behind_proxy = behind_proxy
        self._places: dict[tuple[str, str, int], tuple[int, int]] = {}
        self.held_body_bytes: Callable[[], int] = lambda: 0

    def finished(self, scope: Any, status: int, seconds: float) -> None:  # noqa: ANN401 - uvicorn's
        """A reply was written, `seconds` after its request was whole."""
        endpoint: str = scope.get(ENDPOINT, OTHER)
        key = (endpoint, scope["method"], status // 100)
        places = self._places.get(key)
        if places is None:
            places = self._places[key] = self._made(*key)
        requests, duration = places
        self._region.values[requests] += 1.0
        self._region.add_to(duration, catalogue.HTTP_DURATION, seconds)
        if status in _LIMITS:
            self._region.count(catalogue.HTTP_REFUSED, str(status))
        if self._access_log:
            self._write(scope, endpoint, status, seconds)

    def refused(self, status: int) -> None:
        """The protocol answered in place of the application."""
        self._region.count(catalogue.HTTP_REFUSED, str(status))

    def abandoned(self) -> None:
        """A client went away before its reply."""
        self._region.count(catalogue.HTTP_ABANDONED)

    def sampled(self, connections: int, unread_bytes: int) -> None:
        """Now and then: how many connections are open, and what their clients did not read."""
        self._region.show(catalogue.HTTP_CONNECTIONS, connections)
        self._region.show(catalogue.HTTP_UNREAD, unread_bytes)
        self._region.show(catalogue.HTTP_HELD, self.held_body_bytes())

    def _made(self, endpoint: str, method: str, hundreds: int) -> tuple[int, int]:
        labels = (
            self._service_of(endpoint),
            endpoint,
            method if method in _METHODS else OTHER,
            f"{hundreds}xx",
        )
        series = self._region.series
        return series(catalogue.HTTP_REQUESTS, *labels), series(catalogue.HTTP_DURATION, endpoint)

    def _write(self, scope: Any, endpoint: str, status: int, seconds: float) -> None:  # noqa: ANN401
        method: str = scope["method"]
        facts: dict[str, object] = {
            "method": method if method in _METHODS else OTHER,
            "endpoint": endpoint,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "remote": scope["client"][0] if scope["client"] else "",
        }
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                facts["request_id"] = _request_id(value)
            elif name == b"x-forwarded-for" and self._behind_proxy:
                facts["remote"] = _nearest(value) or facts["remote"]
        _access.info("request answered", extra=facts)


def _request_id(value: bytes) -> str:
    """What a client calls its request: bounded, and of harmless characters."""
    return _UNSAFE.sub("?", value[:_REQUEST_ID_CHARS].decode("latin-1"))


def _nearest(value: bytes) -> str:
    """The address that our proxy added, the last one; what stands before it anyone can write."""
    text = value.rpartition(b",")[2].strip()
    if b"%" in text:  # behind it any text may stand
        return ""
    try:
        return str(ipaddress.ip_address(text.decode("ascii")))
    except ValueError:
        return ""
