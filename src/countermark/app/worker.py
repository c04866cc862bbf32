# SPDX-License-Identifier: Apache-2.0
"""A worker process: HTTP, parsing and verification; no private keys, no database.

python -P -m countermark.app.worker CHILD
"""

import asyncio
import logging
import os
import resource
import socket
import sys
from dataclasses import replace
from functools import partial
from typing import Final

from starlette.routing import BaseRoute

from countermark.app import process
from countermark.app.data_dir import DataDir
from countermark.app.launch import Child
from countermark.app.line import Connection, Line
from countermark.app.messages import GetReadiness
from countermark.app.process import Parent
from countermark.app.scrape import Scrape
from countermark.app.supervisor import CONFIGURATION
from countermark.app.worker_numbers import request_meter
from countermark.app.worker_wiring import wire
from countermark.core.errors import SettingsError, Unavailable
from countermark.core.identity import jws
from countermark.drivers.system import SystemClock
from countermark.httpkit import health, metrics
from countermark.httpkit.application import Application
from countermark.httpkit.protocol import Connections, Limits
from countermark.httpkit.server import BoundedServer
from countermark.httpkit.starting import Starting
from countermark.observe import catalogue
from countermark.rpc.address import KeeperAddress
from countermark.rpc.message import Keeper

_logger = logging.getLogger("worker")
_OTHER_FILES: Final = 128  # the keeper's socket, listeners, and tiles while they are read


async def work(child: Child, parent: Parent) -> int:
    """Serve until told to stop. Returns the exit status."""
    parent.stop_on_end(lambda: os._exit(0))  # nothing is begun yet
    data_dir = DataDir.at(child.launch.data_dir)
    with KeeperAddress(data_dir.run) as address:
        return await _serve(child, parent, data_dir, address.path)


def limits() -> Limits:
    """The limits of connections, with as many of them as this process may have files open.

    Asks for what is needed first. A worker out of files drops connections without a word, and
    cannot read tiles for those it has.
    """
    standard = Limits()
    wanted = standard.connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = max(soft - _OTHER_FILES, soft // 2)
    return replace(standard, connections=min(standard.connections, room))


def _application(
    child: Child, data_dir: DataDir, connection: Connection, parent: Parent
) -> Application:
    launch = child.launch
    services = wire(
        data_dir,
        connection.config,
        connection.keeper,
        connection.public_keys,
        launch.issuers,
        SystemClock(),
        development=launch.development,
        refused=partial(parent.numbers.count, catalogue.TOKENS_REFUSED),
    )
    # Beyond this machine, what an instance tells of itself is not for everyone.
    with_metrics = launch.development and not launch.metrics_listeners
    operations = _operations(data_dir, connection.keeper, parent, with_metrics=with_metrics)
    return Application([*operations, *services])


def _operations(
    data_dir: DataDir, keeper: Keeper, parent: Parent, *, with_metrics: bool = True
) -> list[BaseRoute]:
    """Health, and metrics if wanted."""

    async def ask_keeper() -> None:
        problems = (await keeper.call(GetReadiness())).problems
        if problems:
            raise Unavailable("; ".join(problems))

    routes = health.routes(ask_keeper)
    if with_metrics:
        routes += metrics.routes(Scrape(parent.board, data_dir.path))
    return routes


async def _serve(child: Child, parent: Parent, data_dir: DataDir, path: str) -> int:
    launch = child.launch
    front = Starting()
    line = Line(path, data_dir, on_switch=front.hold, on_return=front.resume)
    meter = request_meter(launch, parent.numbers)
    public = BoundedServer(
        front, Connections(limits(), meter=meter), launch.tls_cert, launch.tls_key
    )
    servers = {public: child.listeners}
    if child.metrics_listeners:
        operations = Application(_operations(data_dir, line, parent))
        servers[BoundedServer(operations, Connections(limits()))] = child.metrics_listeners
    wired = asyncio.get_running_loop().create_future()

    async def keep_wired() -> None:
        """An application for the logs there are, and another one when there are others."""
        try:
            while True:
                connection = await line.connect()
                application = _application(child, data_dir, connection, parent)
                front.begin(application)
                meter.held_body_bytes = partial(getattr, application, "held_body_bytes")
                if not wired.done():
                    wired.set_result(None)
                await connection.ended
                _logger.info("the logs changed")
                front.hold()
        except SettingsError as error:
            if wired.done():
                raise
            wired.set_exception(error)
        finally:
            wired.cancel()
            await line.close()

    async with asyncio.TaskGroup() as tasks:
        wiring = tasks.create_task(keep_wired())

        def stop() -> None:
            if not wired.done():
                wiring.cancel()  # if there is no application yet, there will be none
            front.give_up()
            for each in servers:
                each.stop()

        def hurry() -> None:
            for each in servers:
                each.hurry()

        parent.stop_on_end(stop, hurry)
        serving = [
            tasks.create_task(each.serve([socket.socket(fileno=fd) for fd in descriptors]))
            for each, descriptors in servers.items()
        ]
        try:
            await wired
        except asyncio.CancelledError:
            return 0  # once the servers have answered everybody
        except SettingsError as error:
            _logger.error("%s", error)
            stop()
            return CONFIGURATION
        process.settle()
        while not all(each.started or each.should_exit for each in servers):  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # uvicorn has no event
        parent.tell_ready()
        await _preload()
        await asyncio.wait(serving)
        wiring.cancel()
    return 0


async def _preload() -> None:
    """What the first identity token needs takes a few tenths of a second to import."""
    if "jwt" not in sys.modules:
        await asyncio.to_thread(jws.preload)


if __name__ == "__main__":
    sys.exit(process.run(Child.parse(sys.argv[1]), work))
