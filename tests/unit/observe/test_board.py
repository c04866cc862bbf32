# SPDX-License-Identifier: Apache-2.0
"""Shared numbers: several processes write, everybody reads, nothing is lost with a process."""

import math
import os
import signal
import subprocess
import sys
import time

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from countermark.observe import board, catalogue, exposition
from countermark.observe.board import Board, Region
from countermark.observe.catalogue import FAMILIES, HISTOGRAM, INTERNAL, PREFIX
from countermark.observe.exposition import Samples

_NAMES = ("supervisor", "keeper", "worker-1")
_COUNT_FOR_EVER = """
import sys
from countermark.observe import catalogue
from countermark.observe.board import Board
region = Board(int(sys.argv[1]), ("supervisor", "keeper", "worker-1")).claim("keeper", 1.0)
print("ready", flush=True)
number = 0
while True:
    region.count(catalogue.LOG_ENTRIES, f"log-{number % 200}")
    number += 1
"""


def _values(region: Region) -> dict[tuple[str, ...], list[float]]:
    return {(each.family.name, *each.labels): each.values for each in region.read()}


def test_a_place_goes_on_counting_in_the_next_process() -> None:
    descriptor = board.create(len(_NAMES))
    first = Board(descriptor, _NAMES).claim("keeper", 1.0)
    first.count(catalogue.LOG_ENTRIES, "a", by=5)
    first.show(catalogue.LOG_QUEUED, 7, "a")
    first.observe(catalogue.LOG_COMMIT, 0.003, "a")
    second = Board(descriptor, _NAMES).claim("keeper", 2.0)
    second.count(catalogue.LOG_ENTRIES, "b")
    second.count(catalogue.LOG_ENTRIES, "a")
    found = _values(Board(descriptor, _NAMES).regions["keeper"])
    assert found["log_entries_total", "a"] == [6.0]
    assert found["log_entries_total", "b"] == [1.0]
    assert found["log_queued_entries", "a"] == [0.0]  # what a process saw ended with it
    assert sum(found["log_commit_duration_seconds", "a"][:-1]) == 1
    assert second.pid == os.getpid()
    assert second.started_s == 2.0
    os.close(descriptor)


def test_a_thousand_starts_take_no_more_room_than_one() -> None:
    descriptor = board.create(len(_NAMES))
    mapped = Board(descriptor, _NAMES)

    def start(number: int) -> None:
        region = Board(descriptor, _NAMES).claim("keeper", float(number))
        region.count(catalogue.LOG_ENTRIES, "a")
        region.observe(catalogue.LOG_COMMIT, 0.003, "a")
        region.show(catalogue.LOG_QUEUED, number, "a")

    start(1)
    blocks = os.fstat(descriptor).st_blocks
    for number in range(2, 1001):
        start(number)
    found = _values(mapped.regions["keeper"])
    assert found["log_entries_total", "a"] == [1000.0]
    assert sum(found["log_commit_duration_seconds", "a"][:-1]) == 1000
    assert len(found) == 3
    assert os.fstat(descriptor).st_blocks == blocks
    os.close(descriptor)


def test_a_process_that_is_killed_leaves_sound_numbers() -> None:
    descriptor = board.create(len(_NAMES))
    region = Board(descriptor, _NAMES).regions["keeper"]
    before = 0.0
    for _ in range(5):
        command = [sys.executable, "-c", _COUNT_FOR_EVER, str(descriptor)]
        with subprocess.Popen(command, pass_fds=[descriptor], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        found = _values(region)
        assert all(value == [math.floor(value[0])] for value in found.values())
        now = sum(value[0] for value in found.values())
        assert now > before
        before = now
    os.close(descriptor)


def test_a_full_region_forgets_new_series_and_keeps_the_old() -> None:
    region = Region()
    region.count(catalogue.LOG_ENTRIES, "first")
    for number in range(10_000):
        region.count(catalogue.LOG_ENTRIES, f"log-{number}")
    region.count(catalogue.LOG_ENTRIES, "first")
    found = _values(region)
    assert found["log_entries_total", "first"] == [2.0]
    assert 5_000 < len(found) < 10_000
    assert max(value[0] for value in found.values()) == 2.0


def test_the_page_is_what_prometheus_reads() -> None:
    one, other = Region(), Region()
    for region in (one, other):
        region.count(catalogue.HTTP_REQUESTS, "log", 'a\\b"c\nd', "GET", "2xx", by=3)
        for value in (0.0001, 0.003, 0.003, 99.0):
            region.observe(catalogue.HTTP_DURATION, value, "/x")
    one.show(catalogue.LOG_UNPUBLISHED_SINCE, 5.0, "a")
    samples: Samples = {}
    for region in (one, other):
        exposition.add(samples, region.read())
    page = exposition.expose(samples).decode("utf-8")
    families = {each.name: each for each in text_string_to_metric_families(page)}
    assert set(families) == {
        "countermark_http_requests",
        "countermark_http_request_duration_seconds",
    }
    (requests,) = families["countermark_http_requests"].samples
    assert requests.value == 6
    assert requests.labels["endpoint"] == 'a\\b"c\nd'
    buckets = {
        each.labels.get("le", each.name): each.value
        for each in families["countermark_http_request_duration_seconds"].samples
    }
    assert buckets["0.001"] == 2
    assert buckets["0.005"] == 6
    assert buckets["10"] == 6
    assert buckets["+Inf"] == buckets["countermark_http_request_duration_seconds_count"] == 8
    assert math.isclose(buckets["countermark_http_request_duration_seconds_sum"], 2 * 99.0061)


def test_names_are_as_prometheus_wants_them() -> None:
    units = ("_seconds", "_bytes", "_entries", "_rounds", "_info", "_up", "_connections", "_files")
    for family in FAMILIES.values():
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert family.name.removesuffix("_total") != family.name or family.name.endswith(units)
        assert list(family.bounds) == sorted(family.bounds)
        assert bool(family.bounds) == (family.kind == HISTOGRAM)
        assert family.help.endswith(".")
    assert set(FAMILIES) > INTERNAL
    assert not PREFIX.startswith("_")


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(FAMILIES)), st.integers(0, 3), st.floats(0, 1e6)),
        max_size=40,
    )
)
def test_whatever_is_counted_is_read_back(events: list[tuple[str, int, float]]) -> None:
    region = Region()
    expected: dict[tuple[str, ...], float] = {}
    for name, label, value in events:
        family = FAMILIES[name]
        labels = (str(label),) * len(family.labels)
        key = (name, *labels)
        if family.kind == HISTOGRAM:
            region.observe(family, value, *labels)
            expected[key] = expected.get(key, 0.0) + value
        elif family.kind == "counter":
            region.count(family, *labels, by=value)
            expected[key] = expected.get(key, 0.0) + value
        else:
            region.show(family, value, *labels)
            expected[key] = value
    assert {key: values[-1] for key, values in _values(region).items()} == expected
