# SPDX-License-Identifier: Apache-2.0
"""A real server on a real socket, for talking to it in raw bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from countermark.httpkit.metering import RequestMeter
from countermark.httpkit.protocol import Connections, Limits

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_LIMITS = Limits(discard_s=0.3)
Connect = Callable[[], Awaitable[Peer]]


@asynccontextmanager
async def served(
    app: ASGIApp, limits: Limits = _LIMITS, meter: RequestMeter | None = None
) -> AsyncIterator[Connect]:
    """Serve `app`; yields what opens a connection."""
    config = Config(
        app, lifespan="off", access_log=False, log_config=None, ws="none", proxy_headers=False
    )
    config.load()
    state = ServerState()
    connections = Connections(limits, tick_s=0.01, meter=meter)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: connections(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opened.append(writer)
        return reader, writer

    try:
        yield connect
    finally:
        for writer in opened:
            writer.close()
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        await asyncio.sleep(0.02)


async def exchange(connect: Connect, request: bytes) -> bytes:
    """Everything that comes back until the server closes, or for a second."""
    reader, writer = await connect()
    writer.write(request)
    return await read_all(reader)


async def read_all(reader: asyncio.StreamReader, seconds: float = 3.0) -> bytes:
    """All bytes until the server closes; fails if it does not within `seconds`."""
    parts: list[bytes] = []
    async with asyncio.timeout(seconds):
        try:
            while part := await reader.read(65536):
                parts.append(part)
        except ConnectionResetError:
            parts.append(b"<reset>")
    return b"".join(parts)


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """One reply with a Content-Length."""
    async with asyncio.timeout(3):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return head + await reader.readexactly(length)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run under uvloop, as workers do."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scenario, 30))
