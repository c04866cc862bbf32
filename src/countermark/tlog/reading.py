# SPDX-License-Identifier: Apache-2.0
"""Entries of one shard, as API v1 shows them: bodies from published files, the rest by asking."""

import asyncio
from collections.abc import Sequence

from countermark.core.errors import InvariantBroken
from countermark.core.rekor.shard import Shard
from countermark.core.tlog.bundles import ENTRIES32
from countermark.core.tlog.merkle import leaf_hash
from countermark.ports.objects import ObjectStore
from countermark.rpc.message import Keeper
from countermark.tlog.entry_object import EntryObjects
from countermark.tlog.messages import FetchEntries, Found, HeadView
from countermark.tlog.published import PublishedBodies


class ShardReader:
    """Looks entries up, all of a call proven against one head."""

    def __init__(
        self, keeper: Keeper, shard: Shard, objects: ObjectStore, lookups: asyncio.Semaphore
    ) -> None:
        """`objects` are the shard's published files; `lookups` bounds what is under way."""
        self._keeper = keeper
        self._shard = shard
        self._published = PublishedBodies(objects, ENTRIES32)
        self._objects = EntryObjects(shard)
        self._lookups = lookups

    async def by_hash(self, hashes: Sequence[bytes]) -> list[bytes | None]:
        """JSON objects of the entries with these leaf hashes; None for what is not there."""
        async with self._lookups:
            message = FetchEntries(tuple(hashes), (), self._shard.tree_id)
            entries = await self._keeper.call(message)
            return [await self._shown(found, entries.head) for found in entries.found]

    async def by_index(self, indexes: Sequence[int]) -> list[bytes | None]:
        """JSON objects of the entries at these leaf indexes (≥ 0); None beyond the tree."""
        async with self._lookups:
            bodies = {index: await self._published.fetch(index) for index in indexes}
            wanted = tuple(leaf_hash(body) for body in bodies.values() if body is not None)
            unpublished = tuple(index for index, body in bodies.items() if body is None)
            message = FetchEntries(wanted, unpublished, self._shard.tree_id)
            entries = await self._keeper.call(message)
            found = {each.index: each for each in entries.found if each is not None}
            return [await self._shown(found.get(index), entries.head) for index in indexes]

    async def _shown(self, found: Found | None, head: HeadView) -> bytes | None:
        if found is None:
            return None
        body = found.body
        if body is None:
            body = await self._published.fetch(found.index)
        if body is None:
            raise InvariantBroken(f"leaf {found.index} is in no bundle, but said to be published")
        return self._objects.write(body, found, head, self._shard.entry_id(leaf_hash(body)))
