# SPDX-License-Identifier: Apache-2.0
"""How replies look on the wire: lengths, chunks, HEAD, and what is refused."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.unit.httpkit.serving import exchange, run, served

_GET = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def _start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def _body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def _answer(messages: Sequence[Message], request: bytes = _GET) -> bytes:
    """What a client sees of an application that sends these messages."""
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async def scenario() -> None:
        async with served(app) as connect:
            seen.append(await exchange(connect, request))

    run(scenario())
    return seen[0]


def test_a_reply_with_a_length() -> None:
    length = (b"content-length", b"5")
    reply = _answer([_start(201, length, (b"etag", b"abc")), _body(b"hello")])
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 Created\r\n")
    assert b"\r\netag: abc" in head
    assert head.endswith(b"\r\nconnection: close")
    assert body == b"hello"


def test_pieces_of_a_body_of_known_length() -> None:
    messages = [_start(200, (b"content-length", b"4")), _body(b"ab", more=True), _body(b"cd")]
    assert _answer(messages).endswith(b"\r\n\r\nabcd")


def test_a_body_of_unknown_length_is_chunked() -> None:
    messages = [_start(), _body(b"hello", more=True), _body(b"", more=True), _body(b"you")]
    reply = _answer(messages)
    assert b"\r\ntransfer-encoding: chunked\r\n" in reply
    assert reply.endswith(b"\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n")


def test_replies_without_a_body() -> None:
    for status in (204, 304):
        reply = _answer([_start(status), _body()])
        assert b"transfer-encoding" not in reply
        assert reply.endswith(b"\r\n\r\n")
    head = _GET.replace(b"GET", b"HEAD")
    reply = _answer([_start(200, (b"content-length", b"5")), _body(b"hello")], head)
    assert b"content-length: 5" in reply
    assert reply.endswith(b"\r\n\r\n")


def test_a_reply_may_close_the_connection() -> None:
    keep = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    length, close = (b"content-length", b"2"), (b"connection", b"close")
    reply = _answer([_start(200, length, close), _body(b"ok")], keep + keep)
    assert reply.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "messages",
    [
        [_start(200, (b"location", b"/a\r\nset-cookie: evil=1"))],
        [_start(200, (b"location", b"/a\nset-cookie: evil=1"))],
        [_start(200, (b"x\r\nevil", b"1"))],
        [_start(200, (b"location", b"/\0"))],
        [_body(b"no head")],
        [],
    ],
    ids=["crlf", "lf", "name", "nul", "no head", "nothing"],
)
def test_a_reply_that_must_not_leave_is_a_500(messages: list[Message]) -> None:
    reply = _answer(messages)
    assert reply.startswith(b"HTTP/1.1 500 ")
    assert b"evil" not in reply


@pytest.mark.parametrize(
    "messages",
    [
        [_start(200, (b"content-length", b"2")), _body(b"too long")],
        [_start(200, (b"content-length", b"20")), _body(b"short")],
        [_start(200, (b"content-length", b"2")), _body(b"a", more=True)],
    ],
    ids=["longer", "shorter", "unfinished"],
)
def test_a_length_that_does_not_fit_cuts_the_connection(messages: list[Message]) -> None:
    assert not _answer(messages).endswith(b"too long")


def test_nothing_may_follow_a_complete_reply(caplog: pytest.LogCaptureFixture) -> None:
    complete = [_start(200, (b"content-length", b"2")), _body(b"ok")]
    keep = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    failures: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in complete:
            await send(message)
        for message in (complete[0], complete[1]):
            try:
                await send(message)
            except RuntimeError as error:
                failures.append(error)

    async def scenario() -> None:
        async with served(app) as connect:
            reader, writer = await connect()
            writer.write(keep)
            assert (await reader.readexactly(10)).startswith(b"HTTP/1.1 ")
            await asyncio.sleep(0.05)

    run(scenario())
    assert len(failures) == 2
