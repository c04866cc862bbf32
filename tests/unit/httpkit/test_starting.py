# SPDX-License-Identifier: Apache-2.0
"""A worker that cannot serve yet answers all the same."""

import asyncio

from countermark.httpkit import health
from countermark.httpkit.application import Application
from countermark.httpkit.starting import Starting
from tests.unit.httpkit.serving import exchange, run, served


def _get(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % path


async def _nothing() -> None:
    return


def test_requests_wait_for_the_application() -> None:
    async def scenario() -> None:
        front = Starting()
        async with served(front) as connect:
            asked = asyncio.create_task(exchange(connect, _get(b"/nowhere")))
            await asyncio.sleep(0.05)
            assert not asked.done()
            front.begin(Application(health.routes(_nothing)))
            assert (await asked).startswith(b"HTTP/1.1 404 ")
            assert (await exchange(connect, _get(b"/readyz"))).startswith(b"HTTP/1.1 200 ")

    run(scenario())


def test_requests_wait_no_longer_than_that() -> None:
    async def scenario() -> None:
        front = Starting(patience_s=0.05)
        async with served(front) as connect:
            reply = await exchange(connect, _get(b"/nowhere"))
            assert reply.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: " in reply.lower()
            assert b"is starting" in reply
            front.begin(Application(health.routes(_nothing)))
            assert (await exchange(connect, _get(b"/healthz"))).startswith(b"HTTP/1.1 200 ")

    run(scenario())


def test_a_starting_worker_is_alive_and_not_ready() -> None:
    async def scenario() -> None:
        async with served(Starting(patience_s=60)) as connect:
            assert (await exchange(connect, _get(b"/healthz"))).startswith(b"HTTP/1.1 200 ")
            assert (await exchange(connect, _get(b"/readyz"))).startswith(b"HTTP/1.1 503 ")

    run(scenario())


def test_who_waits_is_told_when_there_will_be_no_application() -> None:
    async def scenario() -> None:
        front = Starting(patience_s=60)
        async with served(front) as connect:
            asked = asyncio.create_task(exchange(connect, _get(b"/nowhere")))
            await asyncio.sleep(0.05)
            front.give_up()
            assert (await asked).startswith(b"HTTP/1.1 503 ")

    run(scenario())


def test_requests_wait_while_an_application_is_exchanged() -> None:
    async def scenario() -> None:
        front = Starting(patience_s=60)
        front.begin(Application(health.routes(_nothing)))
        async with served(front) as connect:
            front.hold()
            assert (await exchange(connect, _get(b"/readyz"))).startswith(b"HTTP/1.1 503 ")
            asked = asyncio.create_task(exchange(connect, _get(b"/nowhere")))
            await asyncio.sleep(0.05)
            assert not asked.done()
            front.resume()  # all is as before
            assert (await asked).startswith(b"HTTP/1.1 404 ")
            front.hold()
            asked = asyncio.create_task(exchange(connect, _get(b"/nowhere")))
            await asyncio.sleep(0.05)
            front.begin(Application(health.routes(_nothing)))
            assert (await asked).startswith(b"HTTP/1.1 404 ")
            front.resume()  # nothing is held any more
            assert (await exchange(connect, _get(b"/readyz"))).startswith(b"HTTP/1.1 200 ")

    run(scenario())
