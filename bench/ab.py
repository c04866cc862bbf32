# SPDX-License-Identifier: Apache-2.0
"""Server CPU of v1 POST in two versions of the program, measured side by side.

    python -m bench.ab --a REVISION --b REVISION_OR_DIRECTORY [--profile plain|certificate]

Two instances run at the same time. Each pair of windows sends the same requests to one and then
to the other, and the order changes from pair to pair; what else the machine does meets both
alike. What counts is the median of the pairs' ratios.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.floors import SIGN, VERIFY, floors
from bench.instance import Instance, SigningKey, hashedrekord, instance, new_keys
from bench.load import post, run_load
from bench.measure import GroupCPU, percentile, spread
from bench.services import V1_ENTRIES, certified

LEAST_PAIRS = 7
WARM = 400


@dataclass(slots=True)
class Side:
    """One version and what its windows cost, in seconds of CPU a request."""

    name: str
    running: Instance
    costs: list[float] = field(default_factory=list)
    keeper: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)

    def measure(self, requests: Sequence[bytes], clients: int) -> None:
        """Send one window."""
        group = GroupCPU(self.running.process.pid)
        keeper = GroupCPU(_keeper(self.running.process.pid))
        group.start()
        keeper.start()
        result = run_load(self.running.port, requests, clients=clients)
        self.costs.append(group.seconds() / len(requests))
        self.keeper.append(keeper.seconds() / len(requests))
        self.per_second.append(result.per_second)
        self.latencies_s += result.latencies_s
        if set(result.statuses) != {201}:
            raise SystemExit(f"{self.name}: unexpected answers {dict(result.statuses)}")

    def show(self, floor: float) -> None:
        """Print one line."""
        cost, keeper = statistics.median(self.costs), statistics.median(self.keeper)
        print(
            f"{self.name}: {cost * 1e6:.0f} µs server CPU (± {spread(self.costs) * 1e6:.0f}; keeper"
            f" {keeper * 1e6:.0f}), {cost / floor:.2f} × floor,"
            f" {statistics.median(self.per_second):.0f}/s,"
            f" p50 {percentile(self.latencies_s, 0.5) * 1e3:.1f} ms,"
            f" p99 {percentile(self.latencies_s, 0.99) * 1e3:.1f} ms"
        )


@contextlib.contextmanager
def version(name: str) -> Iterator[Path]:
    """The package folder of a directory, or of a revision that is checked out for a while."""
    if Path(name, "src").is_dir():
        yield Path(name, "src").resolve()
        return
    with tempfile.TemporaryDirectory(prefix="countermark-ab-") as place:
        archive = subprocess.run(["git", "archive", name, "src"], check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", place], check=True, input=archive.stdout)
        yield Path(place, "src")


def windows(keys: Sequence[SigningKey], pairs: int, size: int) -> list[list[bytes]]:
    """Requests for warming up, then those of each pair; every one has a key of its own."""
    requests = [
        post(V1_ENTRIES, hashedrekord(signer, number), "application/json")
        for number, signer in enumerate(keys)
    ]
    return [requests[:WARM]] + [
        requests[start : start + size] for start in range(WARM, WARM + pairs * size, size)
    ]


def compare(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    with contextlib.ExitStack() as stack:
        sides = [
            Side(f"{letter} {name}", stack.enter_context(instance(source=place)))
            for letter, name in (("a", arguments.a), ("b", arguments.b))
            for place in (stack.enter_context(version(name)),)
        ]
        count = WARM + arguments.pairs * arguments.requests
        plain = arguments.profile == "plain"
        keys = new_keys(count) if plain else certified(sides[0].running, count)
        warm, *measured = windows(keys, arguments.pairs, arguments.requests)
        sampled: list[float] = []
        for side in sides:
            run_load(side.running.port, warm, clients=arguments.clients)
        for number, requests in enumerate(measured):
            times = floors()
            sampled.append(times[VERIFY] + times[SIGN])
            for side in sides if number % 2 else reversed(sides):
                side.measure(requests, arguments.clients)
    floor = statistics.median(sampled)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"v1 POST, {arguments.profile}, {arguments.clients} clients, {arguments.pairs} pairs of"
        f" {arguments.requests} requests; floor {floor * 1e6:.0f} µs; load {load}"
    )
    for side in sides:
        side.show(floor)
    ratios = [b / a for a, b in zip(sides[0].costs, sides[1].costs, strict=True)]
    of_keeper = [b / a for a, b in zip(sides[0].keeper, sides[1].keeper, strict=True)]
    print(
        f"b / a: {statistics.median(ratios):.3f} (± {spread(ratios):.3f}; keeper"
        f" {statistics.median(of_keeper):.3f})"
    )


def _keeper(pid: int) -> int:
    """The process id of an instance's keeper."""
    for process in psutil.Process(pid).children(recursive=True):
        if "countermark.app.keeper" in process.cmdline():
            return process.pid
    raise SystemExit("the instance has no keeper")


def main() -> int:
    """Entry point of `python -m bench.ab`."""
    parser = argparse.ArgumentParser(prog="bench.ab", description=__doc__)
    parser.add_argument("--a", default="HEAD", help="revision, or directory that holds src/")
    parser.add_argument("--b", default=".", help="the same; by default the working tree")
    parser.add_argument("--profile", choices=("plain", "certificate"), default="plain")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--requests", type=int, default=1000, help="of one window")
    parser.add_argument("--clients", type=int, default=32)
    arguments = parser.parse_args()
    if arguments.pairs < LEAST_PAIRS:
        parser.error(f"fewer than {LEAST_PAIRS} pairs say nothing")
    compare(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
