# SPDX-License-Identifier: Apache-2.0
"""What every benchmark shares: CPU of a process group, medians, and rows of a table."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil


@dataclass(slots=True)
class Row:
    """One line of the table.

    Attributes:
        work: what was done.
        value: its median, in `unit`.
        spread: half the distance between the quartiles, in `unit`.
        limit: what it is held against, in `unit`: a floor times its allowance, or a peer.
        limit_name: what the limit is.
        detail: further figures, for the JSON and the last column.
    """

    work: str
    value: float
    unit: str
    spread: float = 0.0
    limit: float | None = None
    limit_name: str = ""
    detail: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the limit."""
        return self.value / self.limit if self.limit else None


def spread(samples: Sequence[float]) -> float:
    """Half the interquartile range."""
    if len(samples) < 4:
        return (max(samples) - min(samples)) / 2
    quarters = statistics.quantiles(samples, n=4)
    return (quarters[2] - quarters[0]) / 2


def percentile(samples: Sequence[float], share: float) -> float:
    """The value below which `share` of the samples lie."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class GroupCPU:
    """User and system seconds of a process and all its descendants since `start`.

    Out of the scheduler's own nanoseconds: `/proc/PID/stat` counts hundredths of a second, of
    which a window of a thousand requests is some eighty, in several processes. What a thread used
    that ended meanwhile is not seen; the instance's threads stay.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._before = 0.0

    def _total(self) -> float:
        nanoseconds = 0
        for process in [self._root, *self._root.children(recursive=True)]:
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                    nanoseconds += int((thread / "schedstat").read_text().split()[0])
        return nanoseconds / 1e9

    def start(self) -> None:
        """Remember where the counters stand."""
        self._before = self._total()

    def seconds(self) -> float:
        """CPU seconds used since `start`."""
        return self._total() - self._before

    def memory_mb(self) -> float:
        """Proportional memory of the group in MB, shared pages counted once."""
        processes = [self._root, *self._root.children(recursive=True)]
        return sum(int(p.memory_full_info().pss) for p in processes) / 1e6


def cpu_per_call(call: Callable[[], object], *, seconds: float = 0.3) -> float:
    """Median CPU seconds of one call, over batches that fill `seconds` of wall time."""
    batches: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(batches) < 5:
        before = time.process_time_ns()
        for _ in range(50):
            call()
        batches.append((time.process_time_ns() - before) / 50e9)
    return statistics.median(batches)


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Appends the wall seconds of the block."""
    taken: list[float] = []
    before = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - before)


def write_json(path: Path, rows: Sequence[Row], machine: dict[str, str]) -> None:
    """Write the rows beside what they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = [{**asdict(row), "ratio": row.ratio} for row in rows]
    path.write_text(json.dumps({"machine": machine, "rows": table}, indent=2) + "\n")
