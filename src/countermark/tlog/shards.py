# SPDX-License-Identifier: Apache-2.0
"""The keeper's half of a v1 log of several shards: each question goes to the shard it names."""

from collections.abc import Mapping
from typing import Any

from countermark.core.errors import NotFound
from countermark.rpc.message import Handler, Handlers, Request
from countermark.tlog.messages import FetchEntries, FetchHead, ProveConsistency

_ADDRESSED = (FetchEntries, FetchHead, ProveConsistency)


def shard_handlers(shards: Mapping[int, Handlers], open_tree_id: int) -> Handlers:
    """What the whole log answers.

    Args:
        shards: what each shard answers, by tree id.
        open_tree_id: the shard that entries are added to.
    """
    handlers = dict(shards[open_tree_id])
    for kind in _ADDRESSED:
        handlers[kind] = _dispatch({tree_id: shards[tree_id][kind] for tree_id in shards})
    return handlers


def _dispatch(handlers: Mapping[int, Handler]) -> Handler:
    async def handle(request: Request[Any]) -> Any:  # noqa: ANN401 - whatever the shard replies
        assert isinstance(request, _ADDRESSED)
        handler = handlers.get(request.tree_id)
        if handler is None:
            raise NotFound(f"there is no tree {request.tree_id}")
        return await handler(request)

    return handle
