# SPDX-License-Identifier: Apache-2.0
"""A worker's line to the keeper, through changes of the logs.

Which logs there are is fixed for as long as a keeper runs. One that opened new ones while it
started (`app.rotation`) must not be spoken to by an application that was wired for the old ones:
it would say of a new entry that it is in an old tree. So every wiring has a connection of its own,
which ends when instance.json lists other logs than the application knows.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig, LogConfig, load_instance
from countermark.app.messages import GetPublicKeys
from countermark.app.opening import open_instance
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import InvariantBroken, SettingsError, Unavailable
from countermark.rpc.client import RemoteKeeper
from countermark.rpc.message import R, Request


@dataclass(frozen=True, slots=True)
class Connection:
    """A keeper, and what an application needs to know to be wired to it.

    Attributes:
        keeper: to be called.
        config: instance.json.
        public_keys: of its logs, by name.
        ended: done once that keeper has other logs.
    """

    keeper: RemoteKeeper
    config: InstanceConfig
    public_keys: dict[str, PublicKey]
    ended: "asyncio.Task[None]"


class Line:
    """Makes connections, one after the other. Itself a `Keeper` for what no log matters to."""

    def __init__(
        self,
        path: str,
        data_dir: DataDir,
        *,
        on_switch: Callable[[], None] = lambda: None,
        on_return: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is connected yet.

        Args:
            path: of the keeper's socket.
            data_dir: of the instance.
            on_switch: called when the keeper went away in order to open other logs.
            on_return: called when the keeper is there again, with the same logs.
        """
        self._path = path
        self._data_dir = data_dir
        self._on_switch = on_switch
        self._on_return = on_return
        self._logs: tuple[LogConfig, ...] | None = None
        self._keeper: RemoteKeeper | None = None
        self._running: asyncio.Task[None] | None = None

    async def connect(self) -> Connection:
        """The next connection, when a keeper is there. Raises SettingsError, InvariantBroken."""
        while True:
            await self.close()
            self._logs = None
            keeper = RemoteKeeper(
                self._path,
                still_fits=self._still_fits,
                on_loss=self._lost,
                on_return=self._returned,
            )
            running = self._running = asyncio.create_task(keeper.run())
            self._keeper = keeper
            keys = await _public_keys(keeper)
            # Asked first: a keeper that answers has opened all its logs.
            config = open_instance(self._data_dir)
            if set(keys) == {log.name for log in config.logs}:
                self._logs = config.logs
                return Connection(keeper, config, keys, running)

    async def call(self, request: Request[R]) -> R:
        """See `Keeper.call`."""
        if self._keeper is None:
            raise Unavailable("the keeper process is not there; try again shortly")
        return await self._keeper.call(request)

    async def close(self) -> None:
        """End the connection, if there is one."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _still_fits(self) -> bool:
        if self._logs is None:
            return True
        with suppress(SettingsError, InvariantBroken):
            return load_instance(self._data_dir.instance_file).logs == self._logs
        return True

    def _returned(self) -> None:
        if self._logs is not None:
            self._on_return()

    def _lost(self) -> None:
        with suppress(SettingsError, InvariantBroken):
            rotation = load_instance(self._data_dir.instance_file).rotation_of("log")
            if rotation is not None and rotation.step == "switching":
                self._on_switch()


async def _public_keys(keeper: RemoteKeeper) -> dict[str, PublicKey]:
    """The logs' keys, from a keeper that may take its time to read back large logs."""
    while True:
        try:
            reply = await keeper.call(GetPublicKeys())
        except Unavailable:
            continue
        return {name: PublicKey.from_spki(spki) for name, spki in reply.spkis.items()}
