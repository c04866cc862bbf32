# SPDX-License-Identifier: Apache-2.0
"""Fetching an external issuer's documents, with a bound on everything.

Only configured issuers, and the address their discovery document names for keys, are ever
asked. Redirects stay on the host; bodies are neither decompressed nor read past their limit.
"""

import ssl
import time
from urllib.parse import urljoin, urlsplit

import urllib3

from countermark.core.errors import UpstreamDown
from countermark.core.hosts import is_loopback
from countermark.core.identity.jws import MAX_JWKS_BYTES

_DEADLINE_S = 10.0
_MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 16 * 1024


class IssuerFetcher:
    """Gets small JSON documents over HTTPS (plain HTTP on loopback). Blocks; thread-safe."""

    def __init__(self, ca_certificates: str | None = None) -> None:
        """Use the system's certificate authorities, or those of a PEM file."""
        context = ssl.create_default_context(cafile=ca_certificates)
        self._pool = urllib3.PoolManager(
            ssl_context=context,
            retries=False,
            timeout=urllib3.Timeout(connect=5.0, read=5.0),
            headers={"accept": "application/json", "accept-encoding": "identity"},
        )

    def fetch(self, url: str) -> bytes:
        """The body found at `url`. Raises UpstreamDown."""
        deadline = time.monotonic() + _DEADLINE_S
        for _ in range(_MAX_REDIRECTS + 1):
            check_reachable(url)
            try:
                status, location, body = self._get(url, deadline)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise UpstreamDown(
                    f"{_host(url)} did not answer: {type(error).__name__}"
                ) from error
            if status == 200:
                return body
            if status not in _REDIRECTS or not location:
                raise UpstreamDown(f"{_host(url)} answered with status {status}")
            url = _redirected(url, location)
        raise UpstreamDown(f"{_host(url)} redirects too often")

    def _get(self, url: str, deadline: float) -> tuple[int, str, bytes]:
        reply = self._pool.request(
            "GET", url, redirect=False, preload_content=False, decode_content=False
        )
        try:
            if reply.status != 200:
                return reply.status, reply.headers.get("location", ""), b""
            if reply.headers.get("content-encoding", "identity") != "identity":
                raise ValueError("the body is compressed")
            body = bytearray()
            for chunk in reply.stream(_CHUNK, decode_content=False):
                body += chunk
                if len(body) > MAX_JWKS_BYTES or time.monotonic() > deadline:
                    raise ValueError("the body is too long or too slow")
            return reply.status, "", bytes(body)
        finally:
            # Closed and not kept: a server that sends too much keeps its connection busy.
            reply.close()


def check_reachable(url: str) -> None:
    """Refuse addresses that are neither HTTPS nor this machine's. Raises UpstreamDown."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UpstreamDown("the address of an issuer's document is malformed") from error
    plain = parts.scheme == "http" and is_loopback(host)
    if not host or parts.username is not None or not (parts.scheme == "https" or plain):
        raise UpstreamDown("the address of an issuer's document is not HTTPS")
    if port == 0:
        raise UpstreamDown("the address of an issuer's document has no usable port")


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        stays = _origin(target) == _origin(url)
    except ValueError as error:
        raise UpstreamDown(f"{_host(url)} redirects to a malformed address") from error
    if not stays:
        raise UpstreamDown(f"{_host(url)} redirects to another host")
    return target


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _host(url: str) -> str:
    return urlsplit(url).netloc
