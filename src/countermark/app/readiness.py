# SPDX-License-Identifier: Apache-2.0
"""Whether the keeper can do its work: every log takes and publishes entries, the disk has room."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from countermark.app.messages import GetReadiness, Readiness
from countermark.rpc.message import Handler
from countermark.tilelog.log import Log

MIN_FREE_BYTES: Final = 4 * 1024 * 1024
"""Less room than that is a full disk: a round and its files may need as much."""


def readiness(logs: Iterable[Log], data: Path) -> Handler:
    """What answers `GetReadiness` for these logs, stored under `data`."""
    asked = tuple(logs)

    async def answer(_: GetReadiness) -> Readiness:
        problems = [f"log {log.name} {log.trouble}" for log in asked if log.trouble]
        return Readiness((*problems, *_disk_problems(data)))

    return answer


def _disk_problems(data: Path) -> list[str]:
    try:
        room = os.statvfs(data)
    except OSError:
        return ["the data directory cannot be reached"]
    if room.f_flag & os.ST_RDONLY:
        return ["the data directory is read-only"]
    return ["the disk is full"] if room.f_bavail * room.f_frsize < MIN_FREE_BYTES else []
