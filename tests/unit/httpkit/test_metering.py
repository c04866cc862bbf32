# SPDX-License-Identifier: Apache-2.0
"""What is counted of requests, and what is written about them: nothing that strangers choose."""

import asyncio
import logging

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from countermark.httpkit.application import Application
from countermark.httpkit.body import read_body
from countermark.httpkit.metering import RequestMeter
from countermark.httpkit.protocol import Limits
from countermark.httpkit.replies import bytes_reply
from countermark.observe.board import Region
from tests.unit.httpkit.serving import exchange, read_reply, run, served


async def _hello(_: Request) -> Response:
    return bytes_reply(b"hello", "text/plain")


async def _take(request: Request) -> Response:
    return bytes_reply(await read_body(request, limit=10), "text/plain")


async def _sleep(_: Request) -> Response:
    await asyncio.sleep(5)
    return bytes_reply(b"", "text/plain")


_ROUTES = [
    Route("/hello", _hello),
    Route("/take", _take, methods=["POST"]),
    Route("/things/{name}", _hello),
    Route("/sleep", _sleep),
]


def _meter(*, access_log: bool = False, behind_proxy: bool = False) -> tuple[Region, RequestMeter]:
    region = Region()
    meter = RequestMeter(
        region,
        lambda endpoint: "greeting" if endpoint == "/hello" else "other",
        access_log=access_log,
        behind_proxy=behind_proxy,
    )
    return region, meter


def _get(target: str, *headers: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "host: x", "connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _counted(region: Region, name: str) -> dict[tuple[str, ...], float]:
    return {
        each.labels: sum(each.values[:-1]) if len(each.values) > 1 else each.values[0]
        for each in region.read()
        if each.family.name == name
    }


def test_requests_are_counted_by_template() -> None:
    region, meter = _meter()

    async def scenario() -> None:
        async with served(Application(_ROUTES), meter=meter) as connect:
            for target in ("/hello", "//hello/", "/things/a", "/things/b", "/nowhere", "/no?a=b"):
                await exchange(connect, _get(target))
            post = b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n" + b"a" * 11
            await exchange(connect, post.replace(b"host", b"connection: close\r\nhost"))
            await exchange(connect, _get("/hello").replace(b"GET", b"PROPFIND"))
            await exchange(connect, b"nonsense\r\n\r\n")
            await exchange(connect, _get("/hello", "a: " + "a" * 70_000))

    run(scenario())
    assert _counted(region, "http_requests_total") == {
        ("greeting", "/hello", "GET", "2xx"): 2,
        ("other", "/things/{name}", "GET", "2xx"): 2,
        ("other", "other", "GET", "4xx"): 2,
        ("other", "/take", "POST", "4xx"): 1,
        ("greeting", "/hello", "other", "4xx"): 1,
    }
    assert _counted(region, "http_request_duration_seconds")["/hello",] == 3
    assert _counted(region, "http_refused_total") == {("413",): 1, ("400",): 1, ("431",): 1}


def test_slow_and_vanished_clients_are_counted() -> None:
    region, meter = _meter()
    limits = Limits(body_s=0.05, discard_s=0.05)

    async def scenario() -> None:
        async with served(Application(_ROUTES), limits, meter=meter) as connect:
            head = b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"
            assert (await exchange(connect, head)).startswith(b"HTTP/1.1 408 ")
            _, writer = await connect()
            writer.write(b"GET /sleep HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.sleep(0.05)
            assert _counted(region, "http_connections")[()] >= 1
            writer.close()
            await asyncio.sleep(0.05)

    run(scenario())
    assert _counted(region, "http_refused_total") == {("408",): 1}
    assert _counted(region, "http_abandoned_total") == {(): 1}


def test_an_access_line_holds_no_foreign_text(caplog: pytest.LogCaptureFixture) -> None:
    _, meter = _meter(access_log=True, behind_proxy=True)

    async def scenario() -> None:
        async with served(Application(_ROUTES), meter=meter) as connect:
            forwarded = "x-forwarded-for: evil\x9b, 192.0.2.7"
            given = ("authorization: Bearer secret", forwarded, "x-request-id: a\x9b[2J" + "b" * 99)
            await exchange(connect, _get("/things/secret?token=secret", *given))
            await exchange(connect, _get("/hello", "x-forwarded-for: 192.0.2.7, evil"))
            zone = "x-forwarded-for: fe80::1%remote=192.0.2.7 " + "b" * 999
            await exchange(connect, _get("/hello", zone))
            await exchange(connect, _get("/hello", "x-forwarded-for: 2001:db8::7"))

    with caplog.at_level(logging.INFO, "access"):
        run(scenario())
    first, second, third, fourth = (vars(record) for record in caplog.records)
    assert first["endpoint"] == "/things/{name}"
    assert (first["method"], first["status"], first["remote"]) == ("GET", 200, "192.0.2.7")
    assert first["request_id"] == "a??2J" + "b" * 59
    assert 0 < first["duration_ms"] < 5000
    assert "secret" not in repr(first)
    assert second["remote"] == "127.0.0.1"
    assert "request_id" not in second
    assert third["remote"] == "127.0.0.1"
    assert fourth["remote"] == "2001:db8::7"


def test_without_a_proxy_nobody_says_where_requests_come_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, meter = _meter(access_log=True)

    async def scenario() -> None:
        async with served(Application(_ROUTES), meter=meter) as connect:
            await exchange(connect, _get("/hello", "x-forwarded-for: 192.0.2.7"))

    with caplog.at_level(logging.INFO, "access"):
        run(scenario())
    assert vars(caplog.records[0])["remote"] == "127.0.0.1"


def test_a_kept_connection_is_counted_once_a_request() -> None:
    region, meter = _meter()

    async def scenario() -> None:
        async with served(Application(_ROUTES), meter=meter) as connect:
            reader, writer = await connect()
            for _ in range(3):
                writer.write(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n")
                await read_reply(reader)
            writer.write(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n" * 2)  # pipelined
            for _ in range(2):
                await read_reply(reader)

    run(scenario())
    assert _counted(region, "http_requests_total") == {("greeting", "/hello", "GET", "2xx"): 5}
