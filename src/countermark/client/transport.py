# SPDX-License-Identifier: Apache-2.0
"""HTTP as the client needs it: few requests, bounded replies, errors that say what to do.

Redirects are never followed, since a redirect could carry an identity token to another host.
Plain http is for this machine only, for the same reason.
"""

import copy
import ipaddress
import random
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import urllib3

from countermark.client.deadline import Deadline, within
from countermark.core.errors import (
    FormatError,
    Pushback,
    RequestRejected,
    SettingsError,
    UpstreamDown,
)

_MAX_REPLY_BYTES = 4 * 1024 * 1024
_MAX_ATTEMPTS, _MAX_ATTEMPTS_IN_BUDGET = 3, 12
_MAX_WAIT_S = 10
_FIRST_WAIT_S = 0.25
_BUSY = (429, 503)
_GATEWAY = (502, 504)  # of a proxy whose server starts again; asked again within a budget only
_PIECE_BYTES = 64 * 1024
_CALL_TIMEOUTS = 4  # a call that has no deadline ends after so many times the wait for a byte
# The cloud's own server beside each of its machines: answers cross no network, and tell no name.
METADATA_ADDRESS, METADATA_HEADER = "169.254.169.254", "Metadata-Flavor"


class ConnectionLost(UpstreamDown):
    """The connection ended before the answer did; what was asked may have been done."""


class TooSlow(UpstreamDown):
    """The answer did not come in time; what was asked may have been done."""


class Reply(NamedTuple):
    """An answer. `headers` has lower-case names; `server` is the address that gave it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    server: str = ""


class Transport:
    """Connections that are kept and shared; may be used from several threads."""

    def __init__(self, *, timeout_s: float = 30) -> None:
        self._direct = urllib3.PoolManager(num_pools=8, maxsize=8)
        self._proxied: dict[str, urllib3.ProxyManager] = {}
        self._timeout_s = timeout_s
        self._deadline: Deadline | None = None

    def until(self, deadline: Deadline) -> "Transport":
        """The same connections for calls that must all be over by `deadline`.

        Within it, a server that is busy, breaks off or hangs is asked again, with growing and
        somewhat random pauses, or after the time it names; not at all if that is too late.
        """
        other = copy.copy(self)
        other._deadline = deadline
        return other

    def sharing(self, others: int) -> "Transport":
        """For a call that leaves time for as many others, should it fail."""
        return self if self._deadline is None else self.until(self._deadline.share(others))

    def get(self, url: str, what: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """GET `url`, the address of `what`. Raises Unavailable or a subclass; see `check`."""
        return self._send("GET", url, what, None, dict(headers or {}))

    def open(self, url: str, what: str, *, timeout_s: float) -> urllib3.BaseHTTPResponse:
        """GET `url` and leave the body to be read, and to be bounded, by the caller.

        Any status is returned. Raises SettingsError for plain http to another machine, and
        urllib3's errors; each wait for bytes takes at most `timeout_s`.
        """
        pool = self._pool_for(url, what)
        url, headers = _without_resolving(url, {"User-Agent": "countermark", "Accept": "*/*"})
        return pool.request(
            "GET",
            url,
            headers=headers,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
        )

    def post(
        self,
        url: str,
        what: str,
        body: bytes,
        *,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """POST `body`. A busy server (429, 503) is asked again after the time it names, and one
        that breaks off at once: nothing that is posted does harm if it arrives twice.

        Raises UpstreamDown if it can't be reached or breaks off, SettingsError for plain http
        to another machine. Any status is returned; see `check`.
        """
        return self._send(
            "POST", url, what, body, {"Content-Type": content_type, **(headers or {})}
        )

    def close(self) -> None:
        """Drop all connections."""
        self._direct.clear()
        for pool in self._proxied.values():
            pool.clear()

    def _send(
        self, method: str, url: str, what: str, body: bytes | None, headers: dict[str, str]
    ) -> Reply:
        asks_cloud = method == "GET" and METADATA_HEADER in headers
        if asks_cloud and split(url, what).netloc == METADATA_ADDRESS:
            pool: urllib3.PoolManager = self._direct
        else:
            pool = self._pool_for(url, what)
        headers = {"User-Agent": "countermark", "Accept": "*/*", **headers}
        attempt = 0
        while True:
            attempt += 1
            reply: Reply | None = None
            failure: UpstreamDown | None = None
            try:
                reply = self._send_once(pool, method, url, what, body, headers)
            except (ConnectionLost, TooSlow) as error:
                failure = error
            wait_s = self._pause_s(attempt, reply, failure)
            if wait_s is not None:
                time.sleep(wait_s)
            elif reply is not None:
                return reply
            else:
                assert failure is not None
                raise failure

    def _pause_s(
        self, attempt: int, reply: Reply | None, failure: UpstreamDown | None
    ) -> float | None:
        """How long to wait before the next try; None if this was the last."""
        named_s = None if reply is None else _retry_after_s(reply)
        if self._deadline is None:
            retried = reply.status in _BUSY if reply else isinstance(failure, ConnectionLost)
            if not retried or attempt >= _MAX_ATTEMPTS:
                return None
            return 0.0 if reply is None else min(1 if named_s is None else named_s, _MAX_WAIT_S)
        if reply is not None and reply.status not in (*_BUSY, *_GATEWAY):
            return None
        if attempt == 1 and isinstance(failure, ConnectionLost):
            return 0.0  # a kept connection that its server gave up
        backoff_s = _FIRST_WAIT_S * 2 ** (attempt - 1)
        pause_s: float = min(_MAX_WAIT_S, backoff_s) if named_s is None else named_s
        pause_s += random.uniform(0, backoff_s / 2)  # noqa: S311 - so that not all come at once
        left_s = self._deadline.left_s()
        return pause_s if attempt < _MAX_ATTEMPTS_IN_BUDGET and pause_s < left_s else None

    def _send_once(
        self,
        pool: urllib3.PoolManager,
        method: str,
        url: str,
        what: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> Reply:
        url, headers = _without_resolving(url, headers)
        left_s = self._timeout_s * _CALL_TIMEOUTS
        if self._deadline is not None:
            left_s = self._deadline.left_s()
        if left_s <= 0:
            raise out_of_time(url, what)
        read_s = min(self._timeout_s, left_s)

        def call(given_up: threading.Event) -> Reply:
            response = pool.request(
                method,
                url,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=min(read_s, 10), read=read_s),
            )
            try:
                data = self._read(response, url, what, given_up)
            except BaseException:
                response.close()  # half read, so of no use to anybody else
                raise
            response.release_conn()
            names = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, names, data, _address(url))

        try:
            return within(left_s, call)
        except TimeoutError:
            raise out_of_time(url, what) from None
        except urllib3.exceptions.LocationValueError as error:
            raise SettingsError(f"{what}: {_readable(url)!r} is not a usable address") from error
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(url, what, error) from error
        except ValueError:  # which would show the header, and that may be a secret
            raise SettingsError(f"what was to be sent to {what} is no text for a header") from None

    def _read(
        self,
        response: urllib3.BaseHTTPResponse,
        url: str,
        what: str,
        given_up: threading.Event,
    ) -> bytes:
        """The body: bounded, and in time even if it comes byte by byte."""
        data = bytearray()
        while piece := response.read1(_PIECE_BYTES):
            data += piece
            if len(data) > _MAX_REPLY_BYTES:
                raise FormatError(f"reply of {what}", f"is larger than {_MAX_REPLY_BYTES} bytes")
            if given_up.is_set():
                raise out_of_time(url, what)
        return bytes(data)

    def _pool_for(self, url: str, what: str) -> urllib3.PoolManager:
        parts = split(url, what)
        host = parts.hostname or ""
        if is_loopback(host):
            return self._direct
        if parts.scheme != "https":
            raise SettingsError(
                f"{what}: {_address(url)} is neither https nor on this machine, so nothing is sent"
                " there"
            )
        from urllib.request import getproxies, proxy_bypass  # slow, and not for this machine

        proxy = None if proxy_bypass(host) else getproxies().get("https")
        if not proxy:
            return self._direct
        if proxy not in self._proxied:
            try:
                self._proxied[proxy] = urllib3.ProxyManager(proxy)
            except (urllib3.exceptions.HTTPError, ValueError):  # shows what may be a password
                raise SettingsError("the https proxy that is set is no http or https URL") from None
        return self._proxied[proxy]


def split(url: str, what: str) -> SplitResult:
    """A URL taken apart. Raises SettingsError for one that is none.

    Refused too is what others read differently: for urllib3 a backslash ends the host's name, and
    ``http://elsewhere\\@localhost`` would not be this machine.
    """
    try:
        parts = urlsplit(url)
        if parts.port != 0 and "\\" not in url and url.isprintable() and " " not in url:
            return parts
    except ValueError:
        pass
    raise SettingsError(f"{what}: {_readable(url)!r} is not a usable address")


def _without_resolving(url: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """For names below ``localhost``, the address and headers that ask this machine.

    RFC 6761 keeps such names for this machine, but many resolvers ask a name server, and whoever
    answers there would be sent tokens in the clear. With TLS, the certificate decides.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not (parts.hostname or "").endswith(".localhost"):
        return url, headers
    port = "" if parts.port is None else f":{parts.port}"
    here = parts._replace(netloc=f"localhost{port}").geturl()
    return here, {**headers, "Host": f"{parts.hostname}{port}"}


def check(reply: Reply, what: str, message: str = "") -> Reply:
    """The reply, if it is a success.

    Raises Pushback for 429 and 503, UpstreamDown for other 5xx and for redirects,
    RequestRejected for 4xx.

    Args:
        reply: any reply.
        what: the service, as a person would call it.
        message: the server's own words, read out of the body.
    """
    status = reply.status
    if 200 <= status < 300:
        return reply
    reason = printable(message) or f"status {status}"
    if reply.server:
        what = f"{what} at {reply.server}"
    if status in _BUSY:
        waits = _retry_after_s(reply)
        raise Pushback(f"{what} is too busy: {reason}", 1 if waits is None else waits)
    if 400 <= status < 500:
        raise RequestRejected(f"{what} refused: {reason}")
    raise UpstreamDown(f"{what} failed: {reason}")


def out_of_time(url: str, what: str) -> TooSlow:
    """The error for a call whose time is over."""
    error = TooSlow(f"{what} at {_address(url)} takes too long to answer")
    error.add_note("give the services more time with --timeout, or try again later")
    return error


def unreachable(url: str, what: str, error: Exception) -> UpstreamDown:
    """The error for a server that does not answer, with what to do about it."""
    parts = urlsplit(url)
    address = _address(url)
    if isinstance(error, urllib3.exceptions.SSLError):
        down = UpstreamDown(f"{what} at {address} has no certificate that this machine trusts")
        down.add_note("if its CA is private, name its file in SSL_CERT_FILE")
    elif isinstance(error, urllib3.exceptions.NewConnectionError):
        down = UpstreamDown(f"{what} at {address} does not answer")
        if is_loopback(parts.hostname or ""):
            down.add_note("start it with `countermark up`")
    elif isinstance(error, urllib3.exceptions.ProtocolError):
        down = ConnectionLost(f"{what} at {address} broke off")
    elif isinstance(error, urllib3.exceptions.TimeoutError):
        down = TooSlow(f"{what} at {address} takes too long to answer")
    else:
        down = UpstreamDown(f"{what} at {address} cannot be used: {printable(str(error))}")
    return down


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine whatever a name server says."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def printable(text: str, limit: int = 300) -> str:
    """Foreign text as one line without control characters, for terminals and logs."""
    cleaned = "".join(char if char.isprintable() else " " for char in text[: 2 * limit])
    line = " ".join(cleaned.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _readable(url: str) -> str:
    """What can be shown of a text that is no URL: no query, and no password before a host."""
    scheme, slashes, rest = url.partition("?")[0].partition("#")[0].partition("://")
    return printable(f"{scheme}{slashes}{rest.rpartition('@')[2]}")


def _retry_after_s(reply: Reply) -> int | None:
    """What Retry-After says (RFC 9110 section 10.2.3); None if it says nothing usable."""
    value = reply.headers.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return int(value) if len(value) < 6 else None
    if not value:
        return None
    from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

    try:
        return max(0, min(99_999, round(parsedate_to_datetime(value).timestamp() - time.time())))
    except (ValueError, OverflowError, OSError):
        return None
