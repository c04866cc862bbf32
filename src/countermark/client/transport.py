# SPDX-License-Identifier: Apache-2.0
"""HTTP as the client needs it: few requests, bounded replies, errors that say what to do.

Redirects are never followed, since a redirect could carry an identity token to another host.
Plain http is for this machine only, for the same reason.
"""

import ipaddress
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import urllib3

from countermark.core.errors import (
    FormatError,
    Pushback,
    RequestRejected,
    SettingsError,
    UpstreamDown,
)

_MAX_REPLY_BYTES = 4 * 1024 * 1024
_MAX_ATTEMPTS = 3
_MAX_WAIT_S = 10
_BUSY = (429, 503)


class ConnectionLost(UpstreamDown):
    """The connection ended before the answer did; what was asked may have been done."""


class Reply(NamedTuple):
    """An answer. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Connections that are kept and shared; may be used from several threads."""

    def __init__(self, *, timeout_s: float = 30) -> None:
        self._timeout = urllib3.Timeout(connect=min(timeout_s, 10), read=timeout_s)
        self._direct = urllib3.PoolManager(num_pools=8, maxsize=8)
        self._proxied: dict[str, urllib3.ProxyManager] = {}

    def get(self, url: str, what: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """GET `url`, the address of `what`. Raises Unavailable or a subclass; see `check`."""
        return self._send("GET", url, what, None, dict(headers or {}))

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
        pool = self._pool_for(url, what)
        headers = {"User-Agent": "countermark", "Accept": "*/*", **headers}
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            last = attempt == _MAX_ATTEMPTS
            try:
                reply = self._send_once(pool, method, url, what, body, headers)
            except ConnectionLost:
                # A kept connection that its server gave up, or a server that starts again.
                if last:
                    raise
                continue
            if reply.status not in _BUSY or last:
                break
            time.sleep(min(_retry_after_s(reply), _MAX_WAIT_S))
        return reply

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
        try:
            response = pool.request(
                method,
                url,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=self._timeout,
            )
            try:
                data = response.read(_MAX_REPLY_BYTES + 1)
            finally:
                response.release_conn()
        except urllib3.exceptions.LocationValueError as error:
            raise SettingsError(f"{what}: {url!r} is not a usable address") from error
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(url, what, error) from error
        if len(data) > _MAX_REPLY_BYTES:
            raise FormatError(f"reply of {what}", f"is larger than {_MAX_REPLY_BYTES} bytes")
        return Reply(
            response.status, {name.lower(): value for name, value in response.headers.items()}, data
        )

    def _pool_for(self, url: str, what: str) -> urllib3.PoolManager:
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname or ""
        if is_loopback(host):
            return self._direct
        if scheme != "https":
            raise SettingsError(
                f"{what}: {url} is neither https nor on this machine, so nothing is sent there"
            )
        from urllib.request import getproxies, proxy_bypass  # slow, and not for this machine

        proxy = None if proxy_bypass(host) else getproxies().get("https")
        if not proxy:
            return self._direct
        if proxy not in self._proxied:
            self._proxied[proxy] = urllib3.ProxyManager(proxy)
        return self._proxied[proxy]


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
    if status in _BUSY:
        raise Pushback(f"{what} is too busy: {reason}", _retry_after_s(reply))
    if 400 <= status < 500:
        raise RequestRejected(f"{what} refused: {reason}")
    raise UpstreamDown(f"{what} failed: {reason}")


def unreachable(url: str, what: str, error: Exception) -> UpstreamDown:
    """The error for a server that does not answer, with what to do about it."""
    parts = urlsplit(url)
    address = f"{parts.scheme}://{parts.netloc}"
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
        down = UpstreamDown(f"{what} at {address} takes too long to answer")
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


def _retry_after_s(reply: Reply) -> int:
    value = reply.headers.get("retry-after", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 1
