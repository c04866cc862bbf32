# SPDX-License-Identifier: Apache-2.0
"""Windows of requests to a running instance: what they cost its processes, beside their floor."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.floors import floor_sampler, floors
from bench.instance import Instance
from bench.load import LoadResult, run_load
from bench.measure import GroupCPU, Row, percentile, spread


@dataclass(slots=True)
class Windows:
    """What windows of one kind of request cost, one figure a window.

    Attributes:
        floor: how many of each public-key operation one request cannot do without.
        costs: server CPU seconds a request.
        results: latencies and replies.
        during: the floor in seconds, its operations timed during the window.
        before: the same, timed just before it.
    """

    floor: Mapping[str, int]
    costs: list[float] = field(default_factory=list)
    results: list[LoadResult] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)

    def send(
        self,
        running: Instance,
        windows: Iterable[Sequence[bytes]],
        expected: int,
        *,
        clients: int,
    ) -> None:
        """Send windows, one after the other; every answer must have the `expected` status."""
        cpu = GroupCPU(running.process.pid)
        with floor_sampler() as sampler:
            for requests in windows:
                self.before.append(self._floor(floors()))
                cpu.start()
                sampler.start()
                result = run_load(running.port, requests, clients=clients, keep=True)
                self.costs.append(cpu.seconds() / len(requests))
                self.during.append(self._floor(sampler.stop()))
                if set(result.statuses) != {expected}:
                    raise SystemExit(f"unexpected answers: {dict(result.statuses)}")
                self.results.append(result)

    def row(self, work: str) -> Row:
        """One line of the table."""
        latencies = [latency for result in self.results for latency in result.latencies_s]
        floor = statistics.median(self.during)
        ratios = [c / f for c, f in zip(self.costs, self.during, strict=True)]
        return Row(
            work,
            statistics.median(self.costs) * 1e6,
            "µs server CPU",
            spread(self.costs) * 1e6,
            floor * 1e6,
            " + ".join(f"{count} {name}" for name, count in self.floor.items()),
            {
                "ratio_of_windows": round(statistics.median(ratios), 2),
                "floor_before_us": round(statistics.median(self.before) * 1e6),
                "per_second": round(statistics.median(r.per_second for r in self.results)),
                "p50_ms": round(percentile(latencies, 0.5) * 1e3, 2),
                "p99_ms": round(percentile(latencies, 0.99) * 1e3, 2),
                "requests": len(latencies),
            },
        )

    def _floor(self, times: Mapping[str, float]) -> float:
        return sum(times[name] * count for name, count in self.floor.items())
