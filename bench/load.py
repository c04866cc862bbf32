# SPDX-License-Identifier: Apache-2.0
"""A closed-loop HTTP/1.1 load generator: ready-made requests over keep-alive connections."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class LoadResult:
    """What one run saw. `latencies_s` holds one figure a request, in seconds."""

    seconds: float
    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    replies: list[bytes] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Answered requests a second."""
        return len(self.latencies_s) / self.seconds


def post(path: str, body: bytes, content_type: str, **headers: str) -> bytes:
    """A ready-made POST."""
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def run_load(
    port: int, requests: Sequence[bytes], *, clients: int, keep: bool = False
) -> LoadResult:
    """Send each request once, `clients` at a time, and wait for all answers."""
    return asyncio.run(_run(port, iter(requests), clients, keep=keep))


async def _run(port: int, requests: Iterator[bytes], clients: int, *, keep: bool) -> LoadResult:
    result = LoadResult(0.0)
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    before = time.perf_counter()
    await asyncio.gather(
        *(_client(reader, writer, requests, result, keep=keep) for reader, writer in connections)
    )
    result.seconds = time.perf_counter() - before
    for _, writer in connections:
        writer.close()
    return result


async def _client(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    requests: Iterator[bytes],
    result: LoadResult,
    *,
    keep: bool,
) -> None:
    for request in requests:
        before = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(_content_length(head))
        result.latencies_s.append(time.perf_counter() - before)
        result.statuses[int(head[9:12])] += 1
        if keep:
            result.replies.append(body)


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.index(b"content-length:") + len(b"content-length:")
    return int(lowered[start : lowered.index(b"\r\n", start)])
