# SPDX-License-Identifier: Apache-2.0
"""Numbers in memory that all processes of an instance share.

The supervisor makes one anonymous memory file; every process has a region of it that it alone
writes, and any process can read all of them. So whichever worker is asked knows the numbers of
the whole instance, they outlive a worker or keeper that is started again, and counting takes
neither a lock nor a system call nor a file (a full disk under a mapped file would be SIGBUS).

A region: pid, start time, bytes of the directory; then the values, 64-bit floats; then the
directory, a JSON line for each series in the order of their values. A process that is killed
between writing a line and its length leaves nothing behind: the next one writes over it.
"""

import json
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from countermark.observe.catalogue import FAMILIES, GAUGE, Family

_HEADER: Final = 8
_PID, _STARTED, _DIRECTORY = 0, 1, 2
_SLOTS: Final = 8192
_SINK: Final = _HEADER + _SLOTS - 32  # where counts go that there is no room for; never read
_DIRECTORY_AT: Final = 8 * (_HEADER + _SLOTS)
REGION_BYTES: Final = 512 * 1024
_DIRECTORY_BYTES: Final = REGION_BYTES - _DIRECTORY_AT


class Series(NamedTuple):
    """One series as it was read.

    Attributes:
        family: what it is.
        labels: values of the family's labels, in order.
        values: as many as the family has slots.
    """

    family: Family
    labels: tuple[str, ...]
    values: list[float]


class Region:
    """One process's numbers. Written from one thread of one process.

    Attributes:
        values: add to these, at the places that `series` gives.
    """

    def __init__(self, memory: memoryview | None = None) -> None:
        """Over `memory`, or over some of its own, which nobody else reads."""
        self._memory = memoryview(bytearray(REGION_BYTES)) if memory is None else memory
        self.values = self._memory[:_DIRECTORY_AT].cast("d")
        self._places: dict[tuple[str, ...], int] = {}
        self._next = _HEADER

    def claim(self, pid: int, started_s: float) -> None:
        """Go on where a former process of this place stopped: its counters stay, gauges not."""
        for family, labels, place in self._listed():
            self._places[(family.name, *labels)] = place
            self._next = place + family.slots
            if family.kind == GAUGE:
                self.values[place] = 0.0
        self.values[_PID] = pid
        self.values[_STARTED] = started_s

    def series(self, family: Family, *labels: str) -> int:
        """The first place of a series in `values`, made if there is none yet."""
        key = (family.name, *labels)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._add(family, labels)
        return place

    def count(self, family: Family, *labels: str, by: float = 1.0) -> None:
        """Add to a counter that is not a busy one."""
        self.values[self.series(family, *labels)] += by

    def show(self, family: Family, value: float, *labels: str) -> None:
        """Set a gauge."""
        self.values[self.series(family, *labels)] = value

    def observe(self, family: Family, value: float, *labels: str) -> None:
        """Add to a histogram: to the bucket that `value` falls into, and to the sum."""
        self.add_to(self.series(family, *labels), family, value)

    def add_to(self, place: int, family: Family, value: float) -> None:
        """The same for a busy histogram, whose place is known."""
        bounds = family.bounds
        self.values[place + bisect_left(bounds, value)] += 1.0
        self.values[place + len(bounds) + 1] += value

    @property
    def pid(self) -> int:
        """The process that claimed it last; 0 if there was none yet."""
        return int(self.values[_PID])

    @property
    def started_s(self) -> float:
        """Unix time of that process's start."""
        return self.values[_STARTED]

    def read(self) -> Iterator[Series]:
        """Every series. Values may be those of slightly different moments."""
        for family, labels, place in self._listed():
            values = map(float, self.values[place : place + family.slots])
            yield Series(family, labels, list(values))

    def _add(self, family: Family, labels: tuple[str, ...]) -> int:
        line = json.dumps([family.name, *labels]).encode("ascii") + b"\n"
        used = int(self.values[_DIRECTORY])
        if self._next + family.slots > _SINK or used + len(line) > _DIRECTORY_BYTES:
            return _SINK
        place = self._next
        self._next += family.slots
        start = _DIRECTORY_AT + used
        self._memory[start : start + len(line)] = line
        self.values[_DIRECTORY] = used + len(line)
        return place

    def _listed(self) -> Iterator[tuple[Family, tuple[str, ...], int]]:
        used = int(self.values[_DIRECTORY])
        place = _HEADER
        for line in bytes(self._memory[_DIRECTORY_AT : _DIRECTORY_AT + used]).splitlines():
            name, *labels = json.loads(line)
            family = FAMILIES[name]
            yield family, tuple(labels), place
            place += family.slots


class Board:
    """The regions of all processes of one instance, by the processes' names."""

    def __init__(self, descriptor: int, names: Sequence[str]) -> None:
        """Map the memory file of `create`, made for as many processes."""
        memory = memoryview(mmap.mmap(descriptor, REGION_BYTES * len(names)))
        starts = range(0, len(memory), REGION_BYTES)
        self.regions = {
            name: Region(memory[start : start + REGION_BYTES])
            for name, start in zip(names, starts, strict=True)
        }

    def claim(self, name: str, started_s: float) -> Region:
        """The region of this process, ready to be written."""
        region = self.regions[name]
        region.claim(os.getpid(), started_s)
        return region


def create(processes: int) -> int:
    """A descriptor of the memory for that many processes. Takes pages as they are used."""
    descriptor = os.memfd_create("countermark-metrics", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, REGION_BYTES * processes)
    return descriptor
