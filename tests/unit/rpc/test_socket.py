# SPDX-License-Identifier: Apache-2.0
"""Worker and keeper over a real Unix socket: order, errors, restarts, limits."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from countermark.core.errors import (
    DuplicateEntry,
    FormatError,
    InvariantBroken,
    Pushback,
    Unavailable,
)
from countermark.rpc import client as client_module
from countermark.rpc import framing
from countermark.rpc.address import KeeperAddress
from countermark.rpc.client import RemoteKeeper
from countermark.rpc.message import Handlers, Request
from countermark.rpc.server import KeeperServer


class Answer(msgspec.Struct, frozen=True):
    data: bytes


class Echo(Request[Answer], tag="test.echo", frozen=True):
    data: bytes
    delay_s: float = 0.0


class Fail(Request[Answer], tag="test.fail", frozen=True):
    how: str


class Unknown(Request[Answer], tag="test.unknown", frozen=True):
    pass


async def _echo(request: Echo) -> Answer:
    await asyncio.sleep(request.delay_s)
    return Answer(request.data)


async def _fail(request: Fail) -> Answer:
    if request.how == "ours":
        raise DuplicateEntry("here already", 41)
    raise ZeroDivisionError("a bug")


_HANDLERS: Handlers = {Echo: _echo, Fail: _fail}


@asynccontextmanager
async def _served(address: KeeperAddress) -> AsyncIterator[KeeperServer]:
    server = KeeperServer(_HANDLERS)
    task = asyncio.create_task(server.run(address.listen()))
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _connected(
    address: KeeperAddress, *, patience_s: float = 5.0
) -> AsyncIterator[RemoteKeeper]:
    keeper = RemoteKeeper(address.path, patience_s=patience_s)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _calls_overlap_and_errors_cross(address: KeeperAddress) -> None:
    async with _served(address), _connected(address) as keeper:
        order: list[bytes] = []

        async def ask(data: bytes, delay_s: float) -> None:
            order.append((await keeper.call(Echo(data, delay_s))).data)

        await asyncio.gather(ask(b"slow", 0.05), ask(b"quick", 0.0))
        assert order == [b"quick", b"slow"]

        many = await asyncio.gather(*(keeper.call(Echo(b"%d" % n)) for n in range(3000)))
        assert [answer.data for answer in many] == [b"%d" % n for n in range(3000)]

        with pytest.raises(DuplicateEntry, match="here already") as raised:
            await keeper.call(Fail("ours"))
        assert raised.value.log_index == 41
        with pytest.raises(InvariantBroken, match="internal error"):
            await keeper.call(Fail("bug"))
        with pytest.raises(FormatError, match=r"test\.unknown"):
            await keeper.call(Unknown())
        assert (await keeper.call(Echo(b"still there"))).data == b"still there"


async def _large_messages(address: KeeperAddress) -> None:
    async with _served(address), _connected(address) as keeper:
        large = bytes(framing.MAX_PAYLOAD_BYTES - 64)
        assert (await keeper.call(Echo(large))).data == large
        with pytest.raises(FormatError, match="too many for the keeper"):
            await keeper.call(Echo(bytes(framing.MAX_PAYLOAD_BYTES)))


async def _restart(address: KeeperAddress) -> None:
    async with _connected(address) as keeper:
        early = asyncio.create_task(keeper.call(Echo(b"early")))
        await asyncio.sleep(0.1)
        async with _served(address):
            assert (await early).data == b"early", "waits for a keeper that is still starting"
            sent = asyncio.create_task(keeper.call(Echo(b"sent", 30)))
            await asyncio.sleep(0.05)
        with pytest.raises(Unavailable, match="may have done"):
            await sent
        waiting = asyncio.create_task(keeper.call(Echo(b"waiting")))
        await asyncio.sleep(0.1)
        async with _served(address):
            assert (await waiting).data == b"waiting"


async def _planned_restart(address: KeeperAddress) -> None:
    """What a keeper that restarts did not take is sent again to the next one, once."""
    first = KeeperServer(_HANDLERS)
    running = asyncio.create_task(first.run(address.listen()))
    async with _connected(address) as keeper:
        begun = asyncio.create_task(keeper.call(Echo(b"begun", 0.2)))
        await asyncio.sleep(0.05)
        first.stop(restarting=True)
        late = [asyncio.create_task(keeper.call(Echo(b"%d" % n))) for n in range(3)]
        assert (await begun).data == b"begun"
        await running
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in late)
        async with _served(address):
            assert [(await task).data for task in late] == [b"0", b"1", b"2"]


async def _stopping_is_no_restart(address: KeeperAddress) -> None:
    server = KeeperServer(_HANDLERS)
    running = asyncio.create_task(server.run(address.listen()))
    async with _connected(address) as keeper:
        begun = asyncio.create_task(keeper.call(Echo(b"begun", 0.1)))
        await asyncio.sleep(0.05)
        server.stop()
        with pytest.raises(Unavailable, match="is stopping"):
            await keeper.call(Echo(b"late"))
        assert (await begun).data == b"begun"
    await running


async def _restart_without_successor(address: KeeperAddress) -> None:
    server = KeeperServer(_HANDLERS)
    running = asyncio.create_task(server.run(address.listen()))
    async with _connected(address, patience_s=0.1) as keeper:
        begun = asyncio.create_task(keeper.call(Echo(b"begun", 0.05)))
        await asyncio.sleep(0.02)
        server.stop(restarting=True)
        with pytest.raises(Unavailable, match="not there"):
            await keeper.call(Echo(b"late"))
        await begun
    await running


async def _another_keeper_that_does_not_fit(address: KeeperAddress) -> None:
    """A connection is given up if what its user knows is old; who waits is told."""
    fits = True
    seen: list[str] = []
    keeper = RemoteKeeper(
        address.path,
        still_fits=lambda: fits,
        on_loss=lambda: seen.append("loss"),
        on_return=lambda: seen.append("return"),
    )
    running = asyncio.create_task(keeper.run())
    for _ in range(2):
        async with _served(address):
            assert (await keeper.call(Echo(b"x"))).data == b"x"
        await asyncio.sleep(0.05)
    fits = False
    waiting = asyncio.create_task(keeper.call(Echo(b"waiting")))
    await asyncio.sleep(0.05)
    async with _served(address):
        with pytest.raises(Unavailable, match="other logs now"):
            await waiting
        await running
        with pytest.raises(Unavailable, match="other logs now"):
            await keeper.call(Echo(b"later"))
    assert seen == ["return", "loss", "return", "loss"]


async def _no_keeper(address: KeeperAddress) -> None:
    async with _connected(address, patience_s=0.05) as keeper:
        with pytest.raises(Unavailable, match="not there"):
            await keeper.call(Echo(b"x"))


async def _stop_answers_first(address: KeeperAddress) -> None:
    server = KeeperServer(_HANDLERS)
    running = asyncio.create_task(server.run(address.listen()))
    async with _connected(address) as keeper:
        sent = asyncio.create_task(keeper.call(Echo(b"begun", 0.1)))
        await asyncio.sleep(0.03)
        server.stop()
        assert (await sent).data == b"begun"
        await asyncio.wait_for(running, 1)


async def _too_much_in_flight(address: KeeperAddress) -> None:
    async with _served(address), _connected(address) as keeper:
        await keeper.call(Echo(b"connect"))
        sent = [
            asyncio.create_task(keeper.call(Echo(b"", 30))) for _ in range(client_module._MAX_CALLS)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Pushback):
            await keeper.call(Echo(b"one more"))
        for task in sent:
            task.cancel()
        await asyncio.gather(*sent, return_exceptions=True)
        assert (await keeper.call(Echo(b"room again"))).data == b"room again"


async def _a_broken_worker_is_cut_off(address: KeeperAddress) -> None:
    async with _served(address), _connected(address) as keeper:
        await keeper.call(Echo(b"up"))
        reader, writer = await asyncio.open_unix_connection(address.path)
        writer.write(b"\xff" * 64)
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
        assert (await keeper.call(Echo(b"others are served"))).data == b"others are served"


@pytest.mark.parametrize(
    "scenario",
    [
        _calls_overlap_and_errors_cross,
        _large_messages,
        _restart,
        _planned_restart,
        _stopping_is_no_restart,
        _restart_without_successor,
        _another_keeper_that_does_not_fit,
        _no_keeper,
        _stop_answers_first,
        _too_much_in_flight,
        _a_broken_worker_is_cut_off,
    ],
    ids=lambda scenario: scenario.__name__.strip("_"),
)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_calls(
    scenario: Callable[[KeeperAddress], Coroutine[Any, Any, None]], loop: str, tmp_path: Path
) -> None:
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with KeeperAddress(tmp_path) as address, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(scenario(address), 20))


def test_the_socket_is_private_and_paths_may_be_long(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 40) / ("longer" * 20)
    deep.mkdir(parents=True)
    with KeeperAddress(deep) as address:
        for _ in range(2):  # the second replaces what the first left behind
            with address.listen():
                mode = stat.S_IMODE((deep / "keeper.sock").stat().st_mode)
                assert mode == 0o600
                with socket.socket(socket.AF_UNIX) as peer:
                    peer.connect(address.path)
    address.close()
