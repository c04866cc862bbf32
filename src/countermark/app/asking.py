# SPDX-License-Identifier: Apache-2.0
"""Asks a running instance of this machine how it is, through the keeper's socket."""

import asyncio
from dataclasses import dataclass
from typing import Final

from countermark.app.data_dir import DataDir
from countermark.app.messages import GetStatus, LogStatus, MakeCheckpoint
from countermark.app.opening import open_instance
from countermark.core.errors import Conflict, FormatError, Unavailable
from countermark.rpc.address import KeeperAddress
from countermark.rpc.client import RemoteKeeper
from countermark.rpc.message import R, Request

_PATIENCE_S: Final = 0.5
_ANSWER_S: Final = 5.0
_RESTART_S: Final = 10.0  # a keeper that died is back before that
_CHECKPOINT_S: Final = 300.0
_WORK_S: Final = 60.0


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
        status = asyncio.run(_ask(data_dir, GetStatus()))
    except (Unavailable, TimeoutError):
        return StatusReport(config.base_url, running=False)
    return StatusReport(config.base_url, running=True, pid=status.pid, logs=status.logs)


def ask_for_checkpoint(data_dir: DataDir) -> None:
    """Have a running instance put its database's checkpoint where backups read it. Blocks.

    Raises Unavailable if it does not answer or does not manage, Conflict if it is of a release
    that cannot.
    """
    try:
        asyncio.run(_ask(data_dir, MakeCheckpoint(), _RESTART_S, _CHECKPOINT_S))
    except TimeoutError as error:
        raise Unavailable("the instance takes too long to make a checkpoint") from error
    except FormatError as error:  # its keeper does not know the message
        other = Conflict("the instance that runs is of another release than this command")
        other.add_note("stop it and bring it up again, or make the backup while it is stopped")
        raise other from error


def ask(data_dir: DataDir, request: Request[R]) -> R:
    """Have the keeper of a running instance do something. Blocks, for a minute at most.

    Raises what its handler raises, Unavailable if it does not answer, Conflict if it is of a
    release that does not know the request.
    """
    try:
        return asyncio.run(_ask(data_dir, request, _RESTART_S, _WORK_S))
    except TimeoutError as error:
        raise Unavailable("the instance takes too long to answer") from error
    except FormatError as error:
        if "keeper request" not in str(error):
            raise
        other = Conflict("the instance that runs is of another release than this command")
        other.add_note("stop it and bring it up again")
        raise other from error


async def _ask(
    data_dir: DataDir,
    request: Request[R],
    patience_s: float = _PATIENCE_S,
    answer_s: float = _ANSWER_S,
) -> R:
    with KeeperAddress(data_dir.run) as address:
        keeper = RemoteKeeper(address.path, patience_s=patience_s)
        connection = asyncio.create_task(keeper.run())
        try:
            async with asyncio.timeout(answer_s):
                return await keeper.call(request)
        finally:
            connection.cancel()
            await asyncio.gather(connection, return_exceptions=True)
