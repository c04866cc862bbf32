# SPDX-License-Identifier: Apache-2.0
"""The keeper takes nothing of a wrong size, whoever asks, and the API says when it cannot."""

from collections.abc import Iterator
from typing import Any

import pytest

from countermark.core.errors import (
    CountermarkError,
    FormatError,
    InvariantBroken,
    Pushback,
    Unavailable,
)
from countermark.core.rekor.entry import MAX_BODY_BYTES
from countermark.core.rekor.shard import Shards
from countermark.rpc.message import R, Request
from countermark.tlog.api import routes
from countermark.tlog.messages import (
    AddEntry,
    FetchEntries,
    FetchHead,
    ProveConsistency,
)
from tests.support.asgi import Browser
from tests.support.rekor import SigningKey, encode, hashedrekord
from tests.support.v1_log import ENTRIES, TREE_ID, RunningLog, error_of


@pytest.fixture(scope="module")
def log() -> Iterator[RunningLog]:
    with RunningLog() as running:
        yield running


@pytest.mark.parametrize(
    "message",
    [
        AddEntry(b"", ()),
        AddEntry(b"x" * (MAX_BODY_BYTES + 1), ()),
        AddEntry(b"x", (b"short",)),
        AddEntry(b"x", (bytes(16),) * 40_000),
        FetchEntries((b"short",), (), TREE_ID),
        FetchEntries((), tuple(range(17)), TREE_ID),
        ProveConsistency(0, 1, TREE_ID),
        ProveConsistency(2, 1, TREE_ID),
    ],
)
def test_wrong_sizes(log: RunningLog, message: Request[Any]) -> None:
    with pytest.raises(FormatError):
        log.wait(log.keeper.call(message))


def test_proof_beyond_the_tree_is_empty(log: RunningLog) -> None:
    found = log.wait(log.keeper.call(ProveConsistency(1, 10**6, TREE_ID)))
    assert found.hashes == ()
    assert found.head == log.wait(log.keeper.call(FetchHead(TREE_ID)))


def test_lookup_out_of_range(log: RunningLog) -> None:
    found = log.wait(log.keeper.call(FetchEntries((bytes(32),), (-1, 10**6), TREE_ID))).found
    assert found == (None, None, None)


class Failing:
    """A keeper that cannot."""

    def __init__(self, error: CountermarkError) -> None:
        self.error = error

    async def call(self, request: Request[R]) -> R:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "message", "retry"),
    [
        (Pushback("too much", 7), 503, "too much", "7"),
        (Unavailable("no keeper"), 503, "no keeper", "1"),
        (InvariantBroken("secret"), 500, "unexpected result from transparency log", None),
    ],
)
def test_failures_of_the_keeper(
    log: RunningLog, error: CountermarkError, status: int, message: str, retry: str | None
) -> None:
    browser = Browser(routes(Failing(error), Shards((), log.shard), {TREE_ID: log.objects}))
    body = encode(hashedrekord(SigningKey.new(), b"x"))
    reply = browser.post(ENTRIES, body, content_type="application/json")
    assert (reply.status, error_of(reply)) == (status, (status, message))
    assert reply.headers.get("retry-after") == retry


def test_damaged_store_is_not_explained_to_strangers() -> None:
    with RunningLog() as log:
        log.store.data[log.log.name].rows.clear()
        reply = log.browser.get(ENTRIES, query={"logIndex": "1"})
        assert (reply.status, error_of(reply)) == (
            500,
            (500, "unexpected result from transparency log"),
        )
