# SPDX-License-Identifier: Apache-2.0
"""Asks a running instance of this machine how it is, through the keeper's socket."""

import asyncio
from dataclasses import dataclass
from typing import Final

from countermark.app.data_dir import DataDir
from countermark.app.messages import GetStatus, InstanceStatus, LogStatus
from countermark.app.opening import open_instance
from countermark.core.errors import Unavailable
from countermark.rpc.address import KeeperAddress
from countermark.rpc.client import RemoteKeeper

_PATIENCE_S: Final = 0.5
_ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class StatusReport:
    """How an instance is.

    Attributes:
        url: its base URL.
        running: whether its keeper answers.
        pid: the keeper's, 0 if it does not run.
        logs: where each stands; empty if it does not run.
    """

    url: str
    running: bool
    pid: int = 0
    logs: tuple[LogStatus, ...] = ()


def ask_status(data_dir: DataDir) -> StatusReport:
    """Ask. Raises SettingsError if there is no instance in that directory."""
    config = open_instance(data_dir)
    try:
        status = asyncio.run(_ask(data_dir))
    except (Unavailable, TimeoutError):
        return StatusReport(config.base_url, running=False)
    return StatusReport(config.base_url, running=True, pid=status.pid, logs=status.logs)


async def _ask(data_dir: DataDir) -> InstanceStatus:
    with KeeperAddress(data_dir.run) as address:
        keeper = RemoteKeeper(address.path, patience_s=_PATIENCE_S)
        connection = asyncio.create_task(keeper.run())
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await keeper.call(GetStatus())
        finally:
            connection.cancel()
            await asyncio.gather(connection, return_exceptions=True)
