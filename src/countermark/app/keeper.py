# SPDX-License-Identifier: Apache-2.0
"""The keeper process: keys, database and sequencers, behind a private socket.

python -P -m countermark.app.keeper CHILD
"""

import asyncio
import logging
import os
import sys
from typing import NoReturn

from countermark.app import process
from countermark.app.checkpoints import CURRENT, clear_checkpoints
from countermark.app.data_dir import DataDir
from countermark.app.keeper_numbers import counting, watch
from countermark.app.keeper_wiring import Parts, wire
from countermark.app.keyring import KeyRing
from countermark.app.launch import Child
from countermark.app.messages import (
    CheckpointMade,
    GetReadiness,
    MakeCheckpoint,
    Restarting,
    RestartKeeper,
)
from countermark.app.opening import open_instance
from countermark.app.process import Parent
from countermark.app.readiness import readiness
from countermark.app.secrets import resolve_passphrase
from countermark.app.statements import statement_handlers
from countermark.app.supervisor import CONFIGURATION, INTERNAL
from countermark.app.switching import finish_switch
from countermark.app.trust_handlers import trust_handlers
from countermark.core.errors import CountermarkError, InvariantBroken, SettingsError
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.system import SystemClock, SystemEntropy
from countermark.rpc.address import KeeperAddress
from countermark.rpc.message import Handlers
from countermark.rpc.server import KeeperServer

_logger = logging.getLogger("keeper")


async def keep(child: Child, parent: Parent) -> int:
    """Serve until told to stop. Returns the exit status, or ends the process."""
    data_dir = DataDir.at(child.launch.data_dir)
    started_ms = SystemClock().now_ms()
    try:
        passphrase = resolve_passphrase(child.launch.keys_passphrase)
        # In a thread, for it runs event loops of its own.
        await asyncio.to_thread(finish_switch, data_dir, SystemClock(), SystemEntropy(), passphrase)
        config = open_instance(data_dir)
        keys = KeyRing.load(data_dir, config, passphrase)
        store = RocksLogStore(data_dir.db)
        parts = wire(
            data_dir,
            config,
            keys,
            store,
            SystemClock(),
            SystemEntropy(),
            development=child.launch.development,
            started_ms=started_ms,
        )
        watch(parts, keys, parent.numbers)
        restart = asyncio.Event()
        own = {
            **_handlers(parts, store, data_dir, restart),
            **trust_handlers(data_dir, keys, parts),
            **statement_handlers(data_dir, config, keys, parts, passphrase),
        }
        handlers = counting(own, parent.numbers)
        with KeeperAddress(data_dir.run) as address:
            await _serve(parts, KeeperServer(handlers), address, parent, restart)
        store.close()
        _logger.info("keeper stopped", extra=_sizes(parts))
    except SettingsError as error:
        _logger.error("%s", error)
        return CONFIGURATION
    except BaseException as error:  # noqa: BLE001 - whatever it is, nothing more may happen
        _die(error)
    return 0


async def _serve(
    parts: Parts,
    server: KeeperServer,
    address: KeeperAddress,
    parent: Parent,
    restart: asyncio.Event,
) -> None:
    async def end_on_request() -> None:
        await restart.wait()
        server.stop(restarting=True)

    async with asyncio.TaskGroup() as tasks:
        for log in parts.logs:
            tasks.create_task(log.run())
        trust = tasks.create_task(_keep_trust(parts))
        serving = tasks.create_task(server.run(address.listen()))
        ending = tasks.create_task(end_on_request())
        parent.stop_on_end(server.stop)
        process.settle()
        parent.tell_ready()
        _logger.info("keeper ready", extra=_sizes(parts))
        await serving
        trust.cancel()
        ending.cancel()
        for log in parts.logs:
            await log.drain()


def _handlers(
    parts: Parts, store: RocksLogStore, data_dir: DataDir, restart: asyncio.Event
) -> Handlers:
    async def make_checkpoint(_: MakeCheckpoint) -> CheckpointMade:
        # In a thread of its own: it waits for the disk, and no log may wait with it.
        await asyncio.to_thread(store.checkpoint, data_dir.checkpoints / CURRENT)
        clear_checkpoints(data_dir)  # of a backup that was given up meanwhile
        return CheckpointMade()

    async def restart_keeper(_: RestartKeeper) -> Restarting:
        restart.set()
        return Restarting(os.getpid())

    own: Handlers = {
        MakeCheckpoint: make_checkpoint,
        RestartKeeper: restart_keeper,
        GetReadiness: readiness(parts.logs, data_dir.path),
    }
    return {**parts.handlers, **own}


def _sizes(parts: Parts) -> dict[str, object]:
    return {f"{log.name}_size": log.head.tree_size for log in parts.logs}


async def _keep_trust(parts: Parts) -> None:
    """A TUF repository that cannot be signed needs an operator, but no log needs to stop."""
    try:
        await parts.trust.run()
    except InvariantBroken:
        _logger.exception("the TUF repository is not signed any more")


def _die(error: BaseException) -> NoReturn:
    """End at once, running nothing more: what a store would still do on its way out might be
    the very thing that makes a lost round appear."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    expected = isinstance(error, CountermarkError)
    _logger.critical("the keeper must end: %s", error, exc_info=None if expected else error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERNAL)


if __name__ == "__main__":
    sys.exit(process.run(Child.parse(sys.argv[1]), keep))
