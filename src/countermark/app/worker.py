# SPDX-License-Identifier: Apache-2.0
"""A worker process: HTTP, parsing and verification; no private keys, no database.

python -P -m countermark.app.worker CHILD
"""

import asyncio
import contextlib
import logging
import os
import resource
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.server import Server

from countermark.app import process
from countermark.app.data_dir import DataDir
from countermark.app.launch import Child, Launch
from countermark.app.messages import GetPublicKeys
from countermark.app.opening import open_instance
from countermark.app.process import Parent
from countermark.app.supervisor import CONFIGURATION
from countermark.app.worker_wiring import wire
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import SettingsError, Unavailable
from countermark.drivers.system import SystemClock
from countermark.httpkit.application import Application
from countermark.httpkit.protocol import Connections, Limits
from countermark.httpkit.starting import Starting
from countermark.rpc.address import KeeperAddress
from countermark.rpc.client import RemoteKeeper

_logger = logging.getLogger("worker")
_BACKLOG: Final = 1024
_GRACE_S: Final = 8
_OTHER_FILES: Final = 128  # the keeper's socket, listeners, and tiles while they are read


class _Server(Server):
    """uvicorn's server, whose signals are handled by `process`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    def stop(self) -> None:
        """Finish what was begun, then return from `serve`."""
        self.should_exit = True


async def work(child: Child, parent: Parent) -> int:
    """Serve until told to stop. Returns the exit status."""
    parent.stop_on_end(lambda: os._exit(0))  # nothing is begun yet
    data_dir = DataDir.at(child.launch.data_dir)
    with KeeperAddress(data_dir.run) as address:
        keeper = RemoteKeeper(address.path)
        connection = asyncio.create_task(keeper.run())
        try:
            return await _serve(child, parent, data_dir, keeper)
        finally:
            connection.cancel()
            await asyncio.gather(connection, return_exceptions=True)


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


async def _application(launch: Launch, data_dir: DataDir, keeper: RemoteKeeper) -> Application:
    config = open_instance(data_dir)
    keys = await _public_keys(keeper)
    routes = wire(
        data_dir,
        config,
        keeper,
        keys,
        launch.issuers,
        SystemClock(),
        development=launch.development,
    )
    return Application(routes)


async def _public_keys(keeper: RemoteKeeper) -> dict[str, PublicKey]:
    """The logs' keys, from a keeper that may take its time to read back large logs."""
    while True:
        try:
            reply = await keeper.call(GetPublicKeys())
        except Unavailable:
            continue
        return {name: PublicKey.from_spki(spki) for name, spki in reply.spkis.items()}


async def _serve(child: Child, parent: Parent, data_dir: DataDir, keeper: RemoteKeeper) -> int:
    launch = child.launch
    front = Starting()
    config = Config(
        front,
        # uvicorn only ever calls it, with these parameters.
        http=cast("Any", Connections(limits())),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=launch.tls_cert or None,
        ssl_keyfile=launch.tls_key or None,
    )
    server = _Server(config)
    sockets = [socket.socket(fileno=descriptor) for descriptor in child.listeners]
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets))
        try:
            front.begin(await _application(launch, data_dir, keeper))
        except SettingsError as error:
            _logger.error("%s", error)
            serving.cancel()
            return CONFIGURATION
        process.settle()
        parent.stop_on_end(server.stop)
        while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.005)
        parent.tell_ready()
    return 0


if __name__ == "__main__":
    sys.exit(process.run(Child.parse(sys.argv[1]), work))
