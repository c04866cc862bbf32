# SPDX-License-Identifier: Apache-2.0
"""Entries of full bundles are read by the worker itself; those of the open one by the keeper."""

import json
import time

from countermark.core.tlog.bundles import ENTRIES32
from countermark.core.tlog.tiles import BundleName
from tests.support.rekor import SigningKey, hashedrekord
from tests.support.v1_log import ENTRIES, RunningLog

COUNT = 300


def test_entries_before_and_after_the_last_full_bundle() -> None:
    with RunningLog() as log:
        key = SigningKey.new()
        posted = [log.post(hashedrekord(key, b"artifact %d" % n)) for n in range(COUNT)]
        entries = [log.check(reply.body) for reply in posted]
        deadline = time.monotonic() + 20
        while log.log.published_size < COUNT + 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for number in (0, 1, 253, 254, COUNT - 1):
            index = number + 2  # behind the genesis entries
            by_index = log.browser.get(ENTRIES, query={"logIndex": str(index)})
            assert log.check(by_index.body).entry.log_index == index
            entry_id = entries[number].entry_id
            assert log.browser.get(f"{ENTRIES}/{entry_id}").body == by_index.body
        query = {"logIndexes": [299, 5, 299, 10**12, 5], "entryUUIDs": [entries[0].entry_id]}
        found = json.loads(log.post(query, f"{ENTRIES}/retrieve").body)
        assert [next(iter(item.values()))["logIndex"] for item in found] == [2, 299, 5, 299, 5]


def test_a_missing_bundle_is_a_fault_that_is_told() -> None:
    with RunningLog() as log:
        key = SigningKey.new()
        posted = [log.post(hashedrekord(key, b"artifact %d" % n)) for n in range(COUNT)]
        deadline = time.monotonic() + 20
        while log.log.published_size < COUNT + 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        log.objects.delete_all([BundleName(ENTRIES32.directory, 0).path])
        entry_id = next(iter(json.loads(posted[0].body)))
        assert log.browser.get(f"{ENTRIES}/{entry_id}").status == 500
        assert log.browser.get(ENTRIES, query={"logIndex": "301"}).status == 200
