# SPDX-License-Identifier: Apache-2.0
"""Requests that two HTTP parsers may cut in different places are refused, and end the connection.

A proxy in front would otherwise take one client's bytes for another client's request.
"""

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tests.unit.httpkit.serving import exchange, run, served

_SECOND = b"GET /second HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse(scope["path"])(scope, receive, send)


@pytest.mark.parametrize(
    "rest",
    [
        b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
        b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"content-length: 2, 2\r\n\r\n{}",
        b"content-length: +2\r\n\r\n{}",
        b"content-length: -2\r\n\r\n",
        b"content-length: 0x2\r\n\r\n{}",
        b"content-length: 2\x0b\r\n\r\n{}",
        b"content-length: 99999999999999999999\r\n\r\n{}",
        b"content-length : 2\r\n\r\n{}",
        b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        _CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
        _CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
        _CHUNKED + b"2\n{}\n0\n\n",
        _CHUNKED + b"2\r\n{}X\r\n0\r\n\r\n",
        _CHUNKED + b"fffffffffffffffff\r\n{}",
        _CHUNKED + b"2\r\n{}\r\n0\r\ncontent-length: 5\r\n\r\n",
        b"a: b\r\n c: folded\r\n\r\n",
        b"a: b\rc: d\r\n\r\n",
        b"a: b\nc: d\r\n\r\n",
        b"a: b\x00c\r\n\r\n",
        b"a\x00: b\r\n\r\n",
        b"a\r\n\r\n",
    ],
)
def test_ambiguous_requests(rest: bytes) -> None:
    async def scenario() -> None:
        async with served(_app) as connect:
            answer = await exchange(
                connect, b"POST /first HTTP/1.1\r\nhost: x\r\n" + rest + _SECOND
            )
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert answer.count(b"HTTP/1.1 ") == 1
            assert b"/second" not in answer

    run(scenario())


def test_a_body_is_not_the_next_request() -> None:
    async def scenario() -> None:
        async with served(_app) as connect:
            head = b"GET /first HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(_SECOND)
            answer = await exchange(connect, head + _SECOND + _SECOND.replace(b"second", b"third"))
            assert answer.count(b"HTTP/1.1 200 ") == 2
            assert answer.endswith(b"/third")
            assert b"/second" not in answer

    run(scenario())
