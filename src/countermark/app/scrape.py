# SPDX-License-Identifier: Apache-2.0
"""The page of all numbers: what the processes wrote down, and what the kernel knows of them."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from countermark.observe import catalogue, exposition
from countermark.observe.board import Board, Region, Series
from countermark.observe.catalogue import GAUGE, Family
from countermark.observe.exposition import Samples

_TICKS_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Scrape:
    """Reads the numbers of one instance, in whatever process."""

    def __init__(self, board: Board, data: Path) -> None:
        """Of the processes on `board`, whose data directory is `data`."""
        self._board = board
        self._data = data
        self._build = (version("countermark"), platform.python_version())

    def __call__(self) -> bytes:
        """The page as it is now."""
        samples: Samples = {}
        supervisor = self._board.regions["supervisor"].pid
        for name, region in self._board.regions.items():
            found = _look(region.pid, supervisor)
            # The gauges of a process that is gone are not true any more; its counters are.
            exposition.add(
                samples, (each for each in region.read() if found or each.family.kind != GAUGE)
            )
            exposition.add(samples, _process_series(name, region, found))
        _set(samples, catalogue.BUILD, 1.0, *self._build)
        for (log,), (since_s,) in samples.get(catalogue.LOG_UNPUBLISHED_SINCE.name, {}).items():
            lag_s = max(0.0, time.time() - since_s) if since_s else 0.0
            _set(samples, catalogue.LOG_LAG, round(lag_s, 3), log)
        room = os.statvfs(self._data)
        _set(samples, catalogue.DATA_FREE, float(room.f_bavail * room.f_frsize))
        return exposition.expose(samples)


class _Found(NamedTuple):
    cpu_s: float
    resident_bytes: int
    open_files: int


def _look(pid: int, supervisor: int) -> _Found | None:
    """What the kernel says of a process of ours; None if it is gone or somebody else's now."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # from the state on, which is field 3
    if fields[0] == "Z" or (pid != supervisor and int(fields[1]) != supervisor):
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) * _TICKS_S
    return _Found(cpu_s, int(fields[21]) * _PAGE, files)


def _process_series(name: str, region: Region, found: _Found | None) -> list[Series]:
    values = [(catalogue.PROCESS_UP, 0.0 if found is None else 1.0)]
    if found is not None:
        values += [
            (catalogue.PROCESS_START, region.started_s),
            (catalogue.PROCESS_CPU, round(found.cpu_s, 2)),
            (catalogue.PROCESS_MEMORY, float(found.resident_bytes)),
            (catalogue.PROCESS_FILES, float(found.open_files)),
        ]
    return [Series(family, (name,), [value]) for family, value in values]


def _set(samples: Samples, family: Family, value: float, *labels: str) -> None:
    samples.setdefault(family.name, {})[labels] = [value]
