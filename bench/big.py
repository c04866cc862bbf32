# SPDX-License-Identifier: Apache-2.0
"""What a log of a million entries costs beside one of ten thousand: requests, start, memory, audit.

Instances on copies of both logs run at the same time. Each window sends the same kind of requests
to one and then to the other, and the order changes from pair to pair, so what else the machine does
meets both alike; the ratio is the median of the pairs' ratios.
"""

import contextlib
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from bench.big_log import BigLog, big_log, copy_of
from bench.floors import SIGN, VERIFY, floors
from bench.instance import Instance, hashedrekord, instance, new_keys
from bench.load import post, run_load
from bench.measure import GroupCPU, Row, percentile, spread
from bench.services import V1_ENTRIES
from countermark.app.data_dir import DataDir
from countermark.app.inspection import Inspection
from countermark.app.instance import V1_LOG
from countermark.core.tlog.bundles import ENTRIES32
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.tlog.tiles import TILE_WIDTH, BundleName

SMALL, IDLE, MILLION = 10_000, 100_000, 1_000_000
CLIENTS = 32
PAIRS = 7
STARTS = 3
WARM = 300
LONG_BODY, LONG_ENTRIES = 1180, 50_000  # bytes of certificate extension that make 3 kB of body
FLOOR_BUNDLES = 200


@dataclass(slots=True)
class Side:
    """A log, its running instance, and what its windows of one kind cost, in seconds a request."""

    log: BigLog
    running: Instance
    costs: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)

    def window(self, requests: Sequence[bytes], clients: int, expected: int) -> None:
        """Send one window."""
        group = GroupCPU(self.running.process.pid)
        group.start()
        result = run_load(self.running.port, requests, clients=clients)
        self.costs.append(group.seconds() / len(requests))
        self.per_second.append(result.per_second)
        self.latencies_s += result.latencies_s
        if set(result.statuses) != {expected}:
            raise SystemExit(f"unexpected answers: {dict(result.statuses)}")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request: `make(side's log, window, number of requests)`."""

    name: str
    make: Callable[[BigLog, int, int], list[bytes]]
    count: int
    clients: int
    expected: int = 200


def run(size: int = MILLION) -> list[Row]:
    """Every row for a log of `size` entries."""
    for count in (SMALL, IDLE, size):
        big_log(count)  # made before anything is measured
    rows = [*_idle(big_log(IDLE)), *_compare(size)]
    with copy_of(big_log(LONG_ENTRIES, LONG_BODY)) as copy:
        rows += _audits(copy)
    return rows


# --- requests --------------------------------------------------------------------------------


def _compare(size: int) -> list[Row]:
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        copies = [stack.enter_context(copy_of(big_log(count))) for count in (SMALL, size)]
        rows += [_starts(*copies), _bytes(copies[1])]
        with contextlib.ExitStack() as running:
            sides = [
                Side(copy, running.enter_context(instance(copy.data, copy.port))) for copy in copies
            ]
            rows.append(_memory(sides[1], "idle memory of the group"))
            for side in sides:
                run_load(side.running.port, _new_entries(side.log, 0, WARM), clients=CLIENTS)
            for kind in _KINDS:
                rows += _interleaved(kind, sides)
            rows.append(_memory(sides[1], "memory of the group after the load"))
        rows += _audits(copies[1])
    return rows


def _interleaved(kind: Kind, sides: Sequence[Side]) -> list[Row]:
    sampled: list[float] = []
    for side in sides:
        side.costs, side.latencies_s, side.per_second = [], [], []
    for pair in range(PAIRS):
        times = floors()
        sampled.append(times[VERIFY] + times[SIGN])
        for side in sides if pair % 2 else reversed(sides):
            requests = kind.make(side.log, pair, kind.count)
            side.window(requests, kind.clients, kind.expected)
    small, big = sides
    ratios = [b / a for a, b in zip(small.costs, big.costs, strict=True)]
    cost = statistics.median(big.costs)
    noun = "client" if kind.clients == 1 else "clients"
    return [
        Row(
            f"{kind.name}, {kind.clients} {noun}, {_count(big.log.size)} entries",
            cost * 1e6,
            "µs server CPU",
            spread(big.costs) * 1e6,
            statistics.median(small.costs) * 1e6,
            f"the same on {_count(small.log.size)} entries",
            {
                "ratio_of_pairs": round(statistics.median(ratios), 3),
                "ratio_spread": round(spread(ratios), 3),
                "pairs": PAIRS,
                "times_floor": round(cost / statistics.median(sampled), 2),
                "per_second": round(statistics.median(big.per_second)),
                "p50_ms": _ms(big.latencies_s, 0.5),
                "p99_ms": _ms(big.latencies_s, 0.99),
                "p50_ms_small": _ms(small.latencies_s, 0.5),
                "p99_ms_small": _ms(small.latencies_s, 0.99),
                "requests": len(big.latencies_s),
            },
        )
    ]


def _ms(latencies_s: Sequence[float], share: float) -> float:
    return round(percentile(latencies_s, share) * 1e3, 2)


def _count(number: int) -> str:
    return f"{number:,}"


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("ascii")


def _new_entries(_: BigLog, window: int, count: int) -> list[bytes]:
    return [
        post(V1_ENTRIES, hashedrekord(signer, window * count + number), "application/json")
        for number, signer in enumerate(new_keys(count))
    ]


def _chosen(log: BigLog, window: int, count: int) -> random.Random:
    return random.Random(f"{log.size} {window} {count}")


def _by_index(log: BigLog, window: int, count: int) -> list[bytes]:
    chosen = _chosen(log, window, count)
    return [_get(f"{V1_ENTRIES}?logIndex={chosen.randrange(log.size)}") for _ in range(count)]


def _by_id(log: BigLog, window: int, count: int) -> list[bytes]:
    chosen, full = _chosen(log, window, count), log.size // TILE_WIDTH
    records = [chosen.choice(_bundle(log, chosen.randrange(full))) for _ in range(count)]
    return [_get(f"{V1_ENTRIES}/{leaf_hash(record).hex()}") for record in records]


def _duplicates(log: BigLog, window: int, count: int) -> list[bytes]:
    part = log.planted[window * count : (window + 1) * count]
    return [post(V1_ENTRIES, body, "application/json") for _, body in part]


def _consistency(log: BigLog, window: int, count: int) -> list[bytes]:
    chosen, path = _chosen(log, window, count), "/api/v1/log/proof"
    pairs = [sorted(chosen.sample(range(1, log.size), 2)) for _ in range(count)]
    return [_get(f"{path}?firstSize={first}&lastSize={last}") for first, last in pairs]


_KINDS = (
    Kind("v1 POST, plain key", _new_entries, 800, CLIENTS, 201),
    Kind("v1 POST, plain key", _new_entries, 80, 1, 201),
    Kind("v1 POST of an old entry (409)", _duplicates, 250, CLIENTS, 409),
    Kind("GET of an old entry by index", _by_index, 300, CLIENTS),
    Kind("GET of an old entry by id", _by_id, 300, CLIENTS),
    Kind("GET of an old entry by id", _by_id, 80, 1),
    Kind("consistency proof of old sizes", _consistency, 300, CLIENTS),
)


# --- start, memory, disk ---------------------------------------------------------------------


def _idle(log: BigLog) -> list[Row]:
    with copy_of(log) as copy, instance(copy.data, copy.port) as running:
        return [_memory(Side(copy, running), "idle memory of the group")]


def _memory(side: Side, work: str) -> Row:
    memory = GroupCPU(side.running.process.pid).memory_mb()
    name = f"{work}, {_count(side.log.size)} entries"
    return Row(name, memory, "MB", limit=250.0, limit_name="budget")


def _starts(small: BigLog, big: BigLog) -> Row:
    times: dict[int, list[float]] = {small.size: [], big.size: []}
    for _ in range(STARTS):
        for log in (small, big):
            with instance(log.data, log.port) as running:
                times[log.size].append(running.ready_s)
    taken, other = times[big.size], statistics.median(times[small.size])
    name = f"`up` to ready, {_count(big.size)} entries"
    detail: dict[str, float | int | str] = {f"s_with_{small.size}": round(other, 2)}
    return Row(name, statistics.median(taken), "s", spread(taken), 1.5, "budget", detail)


def _bytes(log: BigLog) -> Row:
    sizes = {
        name: sum(file.lstat().st_size for file in (log.data / name).rglob("*") if file.is_file())
        for name in ("db", f"logs/{V1_LOG}/tile/entries32", f"logs/{V1_LOG}/tile")
    }
    database, bundles, objects = sizes.values()
    return Row(
        f"database, {_count(log.size)} entries",
        database / log.size,
        "bytes an entry",
        detail={
            "bundles_bytes": round(bundles / log.size),
            "tiles_bytes": round((objects - bundles) / log.size, 1),
        },
    )


# --- audit -----------------------------------------------------------------------------------


def _audits(log: BigLog) -> list[Row]:
    """Hashes, tiles and root of a stopped log, in one process."""
    with Inspection.open(DataDir.at(log.data)) as inspection:
        before = _hashing(log)
        start, wall = time.process_time(), time.perf_counter()
        [report] = inspection.check([V1_LOG], lambda *_: None, rows=False)
        cpu, wall = time.process_time() - start, time.perf_counter() - wall
        if not report.ok:
            raise SystemExit(f"the log is damaged: {report.problems[:3]}")
    cost = cpu / report.tree_size
    floor, size = statistics.median([*before, *_hashing(log)]), _body_bytes(log)
    return [
        Row(
            f"audit (hashes, tiles, root), {_count(log.size)} entries of {size} bytes, one core",
            cost * 1e6,
            "µs CPU an entry",
            limit=floor * 1e6,
            limit_name="SHA-256 of the same bytes and nodes",
            detail={
                "entries_per_cpu_second": round(1 / cost),
                "sha256_entries_per_cpu_second": round(1 / floor),
                "wall_s": round(wall, 1),
            },
        )
    ]


def _hashing(log: BigLog) -> list[float]:
    """CPU seconds for an entry's leaf and one node, of bundles spread over the log."""
    node = os.urandom(65)
    times: list[float] = []
    for records in _sample(log):
        leaves = [b"\x00" + record for record in records]
        before = time.process_time()
        for leaf in leaves:
            sha256(leaf).digest()
        for _ in leaves:
            sha256(node).digest()
        times.append((time.process_time() - before) / len(leaves))
    return times


def _sample(log: BigLog) -> Iterator[Sequence[bytes]]:
    full = log.size // TILE_WIDTH
    for number in range(0, full, max(1, full // FLOOR_BUNDLES)):
        yield _bundle(log, number)


def _bundle(log: BigLog, number: int) -> Sequence[bytes]:
    path = Path(log.data, "logs", V1_LOG, BundleName(ENTRIES32.directory, number).path)
    return ENTRIES32.split(path.read_bytes())


def _body_bytes(log: BigLog) -> int:
    return round(statistics.mean(len(record) for record in next(_sample(log))))
