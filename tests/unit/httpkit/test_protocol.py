# SPDX-License-Identifier: Apache-2.0
"""Every limit of the protocol, by raw bytes over a real socket."""

import asyncio
import contextlib
import time

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from countermark.httpkit.body import BodyTooLarge, read_body
from countermark.httpkit.protocol import Limits
from tests.unit.httpkit.serving import exchange, read_all, read_reply, run, served


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how many bytes the body had; large replies on request."""
    request = Request(scope, receive, send)
    reply: Response
    if scope["path"] == "/big":
        reply = Response(bytes(64 * 1024 * 1024))
    elif scope["path"] == "/slow":
        await asyncio.sleep(0.3)
        reply = PlainTextResponse("slow")
    else:
        try:
            reply = PlainTextResponse(f"got {len(await read_body(request, limit=1000))}")
        except BodyTooLarge as error:
            reply = PlainTextResponse(str(error), 413)
    await reply(scope, receive, send)


_GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def test_plain_requests_keep_the_connection() -> None:
    async def scenario() -> None:
        async with served(_app) as connect:
            reader, writer = await connect()
            for _ in range(3):
                writer.write(_GET)
                assert (await read_reply(reader)).endswith(b"got 0")
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhel")
            await asyncio.sleep(0.05)
            writer.write(b"lo")
            assert (await read_reply(reader)).endswith(b"got 5")
            chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            writer.write(chunked + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
            assert (await read_reply(reader)).endswith(b"got 7")

    run(scenario())


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nbig: " + b"x" * 70_000 + b"\r\n\r\n", b" 431 "),
        (b"GET / HTTP/1.1\r\n" + b"many: x\r\n" * 8_000 + b"\r\n", b" 431 "),
        (b"GET /" + b"y" * 17_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", b" 414 "),
        (b"GET /?" + b"a&" * 9_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", b" 414 "),
    ],
    ids=["one giant header", "many headers", "giant path", "giant query"],
)
@pytest.mark.parametrize("pieces", [1, 40])
def test_giant_headers_are_refused(request_head: bytes, status: bytes, pieces: int) -> None:
    async def scenario() -> None:
        async with served(_app) as connect:
            reader, writer = await connect()
            step = len(request_head) // pieces + 1
            for start in range(0, len(request_head), step):
                writer.write(request_head[start : start + step])
                await asyncio.sleep(0.001)
            assert status in (await read_all(reader)).split(b"\r\n")[0]

    run(scenario())


def test_a_giant_header_without_end_is_refused_before_it_fills_memory() -> None:
    async def scenario() -> None:
        async with served(_app, Limits(header_bytes=10_000, discard_s=0.1)) as connect:
            reader, writer = await connect()
            writer.write(b"GET / HTTP/1.1\r\nbig: ")
            reply = asyncio.create_task(read_all(reader))
            sent = 0
            with contextlib.suppress(ConnectionError):
                while not reply.done() and sent < 10_000_000:
                    writer.write(b"x" * 1000)
                    await writer.drain()
                    sent += 1000
                    await asyncio.sleep(0.001)
            await reply
            assert sent < 200_000

    run(scenario())


def test_headers_below_the_limit_pass() -> None:
    async def scenario() -> None:
        async with served(_app) as connect:
            reader, writer = await connect()
            writer.write(b"GET / HTTP/1.1\r\nbig: " + b"x" * 60_000 + b"\r\n\r\n")
            assert b" 200 " in await read_reply(reader)

    run(scenario())


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET / HT", b" 408 "),
        (b"GET / HTTP/1.1\r\nhost: x\r\n", b" 408 "),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhel", b" 408 "),
    ],
    ids=["nothing", "half a request line", "headers without end", "body without end"],
)
def test_slow_clients_are_cut_off(sent: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        limits = Limits(header_s=0.15, body_s=0.15, idle_s=0.15, discard_s=0.1)
        async with served(_app, limits) as connect:
            begun = time.monotonic()
            reply = await exchange(connect, sent)
            assert answer in reply.split(b"\r\n")[0]
            assert 0.1 < time.monotonic() - begun < 1

    run(scenario())


def test_a_header_a_byte_at_a_time_does_not_extend_the_deadline() -> None:
    async def scenario() -> None:
        async with served(_app, Limits(header_s=0.2, discard_s=0.1)) as connect:
            reader, writer = await connect()
            reply = asyncio.create_task(read_all(reader))
            for byte in b"GET / HTTP/1.1\r\nslow: " + b"x" * 200:
                if reply.done():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.01)
            assert b" 408 " in await reply

    run(scenario())


def test_an_idle_connection_is_closed_after_its_reply() -> None:
    async def scenario() -> None:
        async with served(_app, Limits(idle_s=0.15)) as connect:
            reply = await exchange(connect, _GET)
            assert reply.count(b"HTTP/1.1") == 1
            assert reply.endswith(b"got 0")

    run(scenario())


def test_time_of_the_application_is_not_the_clients() -> None:
    async def scenario() -> None:
        limits = Limits(header_s=0.1, body_s=0.1, idle_s=0.1)
        async with served(_app, limits) as connect:
            reply = await exchange(connect, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            assert reply.endswith(b"slow")

    run(scenario())


def test_a_client_that_does_not_read_is_cut_off() -> None:
    async def scenario() -> None:
        async with served(_app, Limits(write_s=0.2)) as connect:
            reader, writer = await connect()
            writer.write(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.sleep(0.8)
            reply = await read_all(reader)
            assert len(reply) < 64 * 1024 * 1024

    run(scenario())


def test_a_body_too_large_is_refused_and_the_refusal_can_be_read() -> None:
    async def scenario() -> None:
        async with served(_app, Limits(discard_s=0.2)) as connect:
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 90000000\r\n\r\n")
            reply = asyncio.create_task(read_all(reader))
            begun = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while not reply.done():
                    writer.write(bytes(1000))
                    await writer.drain()
                    await asyncio.sleep(0.001)
            assert b" 413 " in await reply
            assert time.monotonic() - begun < 2

    run(scenario())


def test_a_chunked_body_is_counted() -> None:
    async def scenario() -> None:
        async with served(_app) as connect:
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(11):
                writer.write(b"64\r\n" + b"z" * 100 + b"\r\n")
            writer.write(b"0\r\n\r\n")
            assert b" 413 " in await read_reply(reader)
            writer.write(_GET)
            assert (await read_reply(reader)).endswith(b"got 0")

    run(scenario())


def test_requests_sent_ahead_are_answered_in_order_up_to_a_limit() -> None:
    async def scenario() -> None:
        async with served(_app, Limits(idle_s=0.2)) as connect:
            slow_first = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n" + _GET * 3
            reply = await exchange(connect, slow_first)
            assert reply.count(b"got 0") == 3
            assert reply.index(b"slow") < reply.index(b"got 0")
            flood = await exchange(connect, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n" + _GET * 500)
            assert b"got 0" not in flood

    run(scenario())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_once(garbage: bytes) -> None:
    async def scenario() -> None:
        async with served(_app) as connect:
            reply = await exchange(connect, garbage)
            assert reply.startswith(b"HTTP/1.1 400 ")
            assert reply.count(b"HTTP/1.1") == 1

    run(scenario())


def test_an_upgrade_is_answered_in_http_and_then_closed() -> None:
    async def scenario() -> None:
        async with served(_app) as connect:
            upgrade = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
            reply = await exchange(connect, upgrade + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert reply.startswith(b"HTTP/1.1 200 ")
            assert reply.endswith(b"got 0")

    run(scenario())


def test_one_connection_too_many_is_turned_away() -> None:
    async def scenario() -> None:
        async with served(_app, Limits(connections=2, discard_s=0.1)) as connect:
            first = await connect()
            await connect()
            third = await connect()
            reply = await read_all(third[0])
            assert b" 503 " in reply.split(b"\r\n")[0]
            assert b"retry-after: 1" in reply
            first[1].write(_GET)
            assert (await read_reply(first[0])).endswith(b"got 0")

    run(scenario())


def test_a_refusal_is_seen_by_who_is_still_sending() -> None:
    """With `Connection: close`; a reset would make the client lose the reply."""

    async def scenario() -> None:
        async with served(_app) as connect:
            reader, writer = await connect()
            head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            writer.write(head % 2_000_000 + bytes(500_000))
            await asyncio.sleep(0.05)
            writer.write(bytes(1_000_000))
            reply = await read_all(reader)
            assert reply.startswith(b"HTTP/1.1 413 ")
            assert reply.endswith(b"the request body is larger than 1000 bytes")

    run(scenario())


def test_an_early_reply_does_not_end_what_was_sent_ahead() -> None:
    async def scenario() -> None:
        async with served(_app) as connect:
            reader, writer = await connect()
            last = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\n"
            writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n" + last + b"ab")
            assert (await read_reply(reader)).endswith(b"slow")
            writer.write(b"cd")
            assert (await read_reply(reader)).endswith(b"got 4")

    run(scenario())


def test_replies_that_nobody_reads_share_a_bound() -> None:
    async def scenario() -> None:
        size = 64 * 1024 * 1024
        async with served(_app, Limits(unread_bytes=size + size // 2)) as connect:
            peers = []
            for _ in range(2):
                peers.append(await connect())
                peers[-1][1].write(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
                await asyncio.sleep(0.2)
            assert len(await read_all(peers[0][0])) < size  # it was there first
            assert len(await read_reply(peers[1][0])) > size

    run(scenario())
