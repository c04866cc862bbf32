# SPDX-License-Identifier: Apache-2.0
"""A v1 log under concurrent clients, read back whole by fsck; and fsck seeing what is wrong."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from cryptography import x509

from countermark.tilelog.fsck import fsck
from countermark.tlog.personality import ShardAuditor
from tests.support.asgi import Reply
from tests.support.rekor import SigningKey, certificate, dsse, envelope, hashedrekord, pem_of
from tests.support.v1_log import RunningLog

KEY = SigningKey.new()


def run_log(entries: int) -> RunningLog:
    """A stopped log of that many entries of both kinds, each submitted twice at once."""
    leaf = pem_of(certificate(KEY, [x509.RFC822Name("anne@example.com")]))
    statement = b'{"subject":[{"digest":{"sha256":"%064x"}}]}'
    proposals: list[object] = [
        hashedrekord(SigningKey(KEY.private, leaf), b"%d" % number)
        for number in range(entries // 2)
    ]
    proposals += [
        dsse(envelope(statement % number, KEY), leaf) for number in range(entries - entries // 2)
    ]
    with RunningLog() as log, ThreadPoolExecutor(8) as threads:
        replies: list[Reply] = list(threads.map(log.post, proposals * 2))
        assert sorted(reply.status for reply in replies) == [201] * entries + [409] * entries
        for reply in replies:
            if reply.status == 201:
                log.check(reply.body)
        info = json.loads(log.browser.get("/api/v1/log").body)
        assert info["treeSize"] == entries + 2
    return log


def test_whole_log() -> None:
    log = run_log(300)
    report = fsck(log.log.name, ShardAuditor(log.shard), log.store, log.objects)
    assert report.problems == ()
    assert report.tree_size == report.published_size == 302


def test_damage_is_seen() -> None:
    log = run_log(4)
    name, auditor = log.log.name, ShardAuditor(log.shard)
    state = log.store.data[name]
    identity, row = next((key, row) for key, row in state.rows.items() if row.index == 3)
    state.rows[identity] = replace(row, time_ms=row.time_ms + 1000)
    problems = fsck(name, auditor, log.store, log.objects).problems
    assert any("signed entry timestamp does not verify" in problem.what for problem in problems)
    state.rows[identity] = row
    state.search = {key: found for key, found in state.search.items() if 3 not in found}
    assert fsck(name, auditor, log.store, log.objects).problems
