# SPDX-License-Identifier: Apache-2.0
"""Downloads for python-tuf's client: bounded in bytes and in time, wherever they come from.

A mirror is not trusted. It may send endless data, or so slowly that each single wait is short and
all of them together never end; it may redirect. Whatever it sends is judged by signed metadata.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO
from urllib.parse import unquote, urlsplit

import countermark.core.light_tuf  # noqa: F401 - before tuf itself

# isort: split
import urllib3
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    SlowRetrievalError,
)
from tuf.ngclient.fetcher import FetcherInterface

from countermark.client.deadline import within
from countermark.client.transport import Transport
from countermark.core.errors import RequestRejected

MAX_FILE_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 16 * 1024
_NOT_FOUND = 404


class HTTPFetcher(FetcherInterface):
    """Downloads over https, or over http from this machine; all within one span of time."""

    def __init__(self, transport: Transport, *, total_s: float, gap_s: float = 10) -> None:
        """Time begins to run.

        Args:
            transport: whose connections are used; it follows no redirect.
            total_s: all downloads together take no longer.
            gap_s: nor is any single byte waited for longer.
        """
        self._transport = transport
        self._gap_s = gap_s
        self._deadline = time.monotonic() + total_s

    def _fetch(self, url: str) -> Iterator[bytes]:
        yield self._download(url, MAX_FILE_BYTES)

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """As the base class, and never more than `MAX_FILE_BYTES`."""
        yield BytesIO(self._download(url, min(max_length, MAX_FILE_BYTES)))

    def _download(self, url: str, limit: int) -> bytes:
        left_s = max(self._deadline - time.monotonic(), 0)
        gap_s = min(self._gap_s, max(left_s, 0.1))
        try:
            return within(left_s, lambda given_up: self._read(url, limit, gap_s, given_up))
        except TimeoutError:
            raise SlowRetrievalError(f"{url} took too long") from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise DownloadError(f"{url} cannot be had: {error}") from error

    def _read(self, url: str, limit: int, gap_s: float, given_up: threading.Event) -> bytes:
        response = self._transport.open(url, "the TUF repository", timeout_s=gap_s)
        try:
            if response.status != 200:
                raise DownloadHTTPError(f"status {response.status} for {url}", response.status)
            data = bytearray()
            while piece := response.read1(_PIECE_BYTES):
                data += piece
                if len(data) > limit:
                    raise DownloadLengthMismatchError(f"{url} is larger than {limit} bytes")
                if given_up.is_set():
                    raise SlowRetrievalError(f"{url} took too long")
            return bytes(data)
        finally:
            response.close()


class FolderFetcher(FetcherInterface):
    """Reads a copy of a repository that somebody carried here, as if from `base_url`."""

    def __init__(self, base_url: str, folder: str) -> None:
        self._base_url = base_url
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        yield self._read(url, MAX_FILE_BYTES)

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """As the base class."""
        yield BytesIO(self._read(url, min(max_length, MAX_FILE_BYTES)))

    def _read(self, url: str, limit: int) -> bytes:
        parts = unquote(url.removeprefix(self._base_url)).strip("/").split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise DownloadError(f"{url} is no name of a file")
        path = os.path.join(self._folder, *parts)
        try:
            with open(path, "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError as error:
            raise DownloadHTTPError(f"there is no {path}", _NOT_FOUND) from error
        except OSError as error:
            raise DownloadError(f"{path} cannot be read: {error.strerror}") from error
        if len(data) > limit:
            raise DownloadLengthMismatchError(f"{path} is larger than {limit} bytes")
        return data


def folder_of(mirror: str) -> str | None:
    """The folder that a ``file:`` URL or a path names; None for what is neither.

    Raises RequestRejected for a ``file:`` URL of another machine.
    """
    parts = urlsplit(mirror)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise RequestRejected(f"{mirror} is a file of another machine")
        return unquote(parts.path)
    return None if parts.scheme in ("http", "https") else mirror
