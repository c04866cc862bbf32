# SPDX-License-Identifier: Apache-2.0
"""Many clients at once, and how many of their calls reach the keeper together."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from countermark.rpc.local import LocalKeeper
from countermark.rpc.message import Request
from tests.support.asgi import Reply

CLIENTS = 40


def most_at_once(
    keeper: LocalKeeper,
    kind: type[Request[Any]],
    ask: Callable[[], Reply],
    monkeypatch: pytest.MonkeyPatch,
) -> int:
    """The largest number of calls of one kind under way while `CLIENTS` clients `ask`."""
    original, running, most = keeper.call, 0, 0

    async def call(request: Request[Any]) -> Any:
        nonlocal running, most
        if not isinstance(request, kind):
            return await original(request)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return await original(request)

    monkeypatch.setattr(keeper, "call", call)
    with ThreadPoolExecutor(CLIENTS) as threads:
        for reply in threads.map(lambda _: ask(), range(2 * CLIENTS)):
            assert reply.status == 200
    return most
