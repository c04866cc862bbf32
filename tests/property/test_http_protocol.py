# SPDX-License-Identifier: Apache-2.0
"""Whatever bytes arrive, a connection answers in HTTP or closes, and never breaks the worker."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.server import ServerState

from countermark.httpkit.application import Application
from countermark.httpkit.body import read_body
from countermark.httpkit.protocol import BoundedHttp, Limits
from fuzz.targets.processes import Wire

_PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /echo?x=1 HTTP/1.1\r\n",
        b"POST /e%63ho HTTP/1.0\r\n",
        b"host: x\r\n",
        b"content-length: 3\r\n",
        b"content-length: 30000\r\n",
        b"transfer-encoding: chunked\r\n",
        b"connection: close\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"expect: 100-continue\r\n",
        b"\r\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n",
        b"x" * 300,
    ]
)


async def _echo(request: Request) -> Response:
    return Response(await read_body(request, limit=1000))


_CONFIG = Config(
    Application([Route("/echo", _echo, methods=["GET", "POST"])]),
    lifespan="off",
    access_log=False,
    log_config=None,
    ws="none",
    proxy_headers=False,
)
_CONFIG.load()


async def _feed(chunks: list[bytes]) -> Wire:
    state = ServerState()
    connection = BoundedHttp(Limits(header_bytes=400), _CONFIG, state, {})
    wire = Wire()
    connection.connection_made(wire)
    for chunk in chunks:
        connection.data_received(chunk)
        await asyncio.sleep(0)
    connection.expire(connection.loop.time() + 1000)
    connection.expire(connection.loop.time() + 2000)
    connection.connection_lost(None)
    if state.tasks:
        await asyncio.wait_for(asyncio.gather(*state.tasks), 5)
    return wire


@given(st.lists(_PIECES | st.binary(min_size=1, max_size=40), max_size=14))
def test_any_bytes_are_answered_in_http_or_not_at_all(chunks: list[bytes]) -> None:
    wire = asyncio.run(_feed(chunks))
    assert wire.written == b"" or wire.written.startswith(b"HTTP/1.1 ")
    assert b"HTTP/1.1 500" not in wire.written
    assert wire.closed
