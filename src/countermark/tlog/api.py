# SPDX-License-Identifier: Apache-2.0
"""Rekor's API v1 over HTTP: its routes, and those that read. The one that writes is `adding`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from countermark.core.errors import NotFound
from countermark.core.rekor.kinds import canonicalize_query
from countermark.core.rekor.shard import EntryID, Shard, Shards
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.wire import rekor_v1 as wire
from countermark.core.wire import rekor_v1_requests as requests
from countermark.httpkit.body import read_body
from countermark.httpkit.cors import cors
from countermark.httpkit.endpoint import EVERY_METHOD
from countermark.httpkit.replies import BytesReply, bytes_reply, json_bytes_reply
from countermark.ports.objects import ObjectStore
from countermark.rpc.message import Keeper
from countermark.tlog.adding import Adding
from countermark.tlog.endpoint import Endpoint
from countermark.tlog.messages import FetchHead, ProveConsistency
from countermark.tlog.reading import ShardReader

MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""Of a request body. Whole attestations are submitted; what is logged of them is small."""

_INLINE_QUERY_BYTES: Final = 4 * 1024  # ten small entries can be slow to verify
_MAX_LOOKUPS: Final = 16
"""Under way at a time. An answer of the keeper may hold megabytes, and it keeps what it has sent
until this worker takes it: thousands of searches at once would be its memory's end."""


def routes(
    keeper: Keeper,
    shards: Shards,
    objects: Mapping[int, ObjectStore],
    *,
    max_request_bytes: int = MAX_REQUEST_BYTES,
) -> list[BaseRoute]:
    """The routes of a log, open to pages of every origin.

    `objects` are the shards' published files, by tree id.
    """
    adding = Adding(keeper, shards.active, max_request_bytes)
    api = _LogAPI(keeper, shards, objects, max_request_bytes)
    endpoints = {
        wire.ENTRIES_PATH: Endpoint(get=api.entry_by_index, post=adding.add),
        wire.RETRIEVE_PATH: Endpoint(post=api.search),
        f"{wire.ENTRIES_PATH}/{{entry_id}}": Endpoint(get=api.entry_by_id),
        wire.LOG_PATH: Endpoint(get=api.info),
        wire.PROOF_PATH: Endpoint(get=api.consistency),
        wire.PUBLIC_KEY_PATH: Endpoint(get=api.public_key, produces="application/x-pem-file"),
        wire.INDEX_PATH: Endpoint(post=api.search_index),
    }
    opened = [Route(path, endpoint, methods=EVERY_METHOD) for path, endpoint in endpoints.items()]
    return cors([*opened, Route("/ping", _ping, methods=["GET", "HEAD"])])


class _LogAPI:
    def __init__(
        self,
        keeper: Keeper,
        shards: Shards,
        objects: Mapping[int, ObjectStore],
        max_request_bytes: int,
    ) -> None:
        self._keeper = keeper
        self._shards = shards
        lookups = asyncio.Semaphore(_MAX_LOOKUPS)
        self._readers = {
            shard.tree_id: ShardReader(keeper, shard, objects[shard.tree_id], lookups)
            for shard in shards.by_search
        }
        self._frozen_heads: list[wire.LogInfo] = []
        self._limit = max_request_bytes

    async def entry_by_index(self, request: Request) -> BytesReply:
        """GET of the entry at a global log index."""
        values = request.query_params.getlist("logIndex")
        index = requests.read_integer(values, "logIndex", minimum=0)
        return _one(await self._at((index,)))

    async def entry_by_id(self, request: Request) -> BytesReply:
        """GET of an entry by entry id or UUID."""
        entry_id = requests.read_entry_id(request.path_params["entry_id"])
        return _one(await self._of_ids((entry_id,), first_only=True))

    async def search(self, request: Request) -> BytesReply:
        """POST of a query for up to ten entries. What is not there is left out."""
        body = await read_body(request, limit=self._limit)
        if len(body) <= _INLINE_QUERY_BYTES:
            ids, indexes = _resolve(body)
        else:
            ids, indexes = await asyncio.to_thread(_resolve, body)
        objects = [*await self._of_ids(ids), *await self._at(indexes)]
        return json_bytes_reply(wire.entries_reply(objects))

    async def info(self, _: Request) -> BytesReply:
        """GET of the newest tree head, and of the last ones of older shards."""
        if not self._frozen_heads:  # which never change
            self._frozen_heads = [await self._head(shard) for shard in self._shards.frozen]
        active = await self._head(self._shards.active)
        return json_bytes_reply(wire.log_info_reply(active, self._frozen_heads))

    async def consistency(self, request: Request) -> BytesReply:
        """GET of a consistency proof between two sizes of one shard."""
        query = request.query_params
        first = requests.read_integer(query.getlist("firstSize"), "firstSize", minimum=1, default=1)
        last = requests.read_integer(query.getlist("lastSize"), "lastSize", minimum=1)
        tree_id = requests.read_tree_id(query.getlist("treeID"))
        if first > last:
            message = f"firstSize({first}) must be less than lastSize({last})"
            raise requests.BadRequest(400, 400, message)
        shard = self._named(tree_id, f"no log range found for tree ID {tree_id}")
        proof = await self._keeper.call(ProveConsistency(first, last, shard.tree_id))
        if last > proof.head.tree_size:
            message = (
                f"the tree size requested({last}) was greater than what is currently"
                f" observable({proof.head.tree_size})"
            )
            raise requests.BadRequest(400, 400, message)
        return json_bytes_reply(wire.consistency_reply(proof.hashes, proof.head.root_hash))

    async def public_key(self, request: Request) -> BytesReply:
        """GET of the key that signs a shard's SETs and checkpoints, as PEM."""
        tree_id = requests.read_tree_id(request.query_params.getlist("treeID"))
        shard = self._named(tree_id, f"{tree_id} is not a valid tree ID")
        return bytes_reply(shard.public_key.to_pem().encode("ascii"), "application/x-pem-file")

    async def search_index(self, _: Request) -> BytesReply:
        """POST of a search by e-mail, hash or key: the rows are written, nothing reads them yet."""
        message = "Search Index API not enabled in this Rekor instance"
        raise requests.BadRequest(501, 501, message)

    async def _of_ids(self, ids: Sequence[EntryID], *, first_only: bool = False) -> list[bytes]:
        """Entry objects: per id those of its shard, or of all; what is not there is left out.

        A bare UUID is looked for in the active shard, then in the others from the oldest on.
        `first_only` stops at the first shard that holds anything.
        """
        found: dict[tuple[int, int], bytes] = {}
        for order, shard in enumerate(self._shards.by_search):
            wanted = {
                place: item.leaf_hash
                for place, item in enumerate(ids)
                if item.tree_id in (None, shard.tree_id)
            }
            if wanted:
                reader = self._readers[shard.tree_id]
                objects = await reader.by_hash(tuple(wanted.values()))
                for place, entry in zip(wanted, objects, strict=True):
                    if entry is not None:
                        found[place, order] = entry
            if found and first_only:
                break
        return [found[place] for place in sorted(found)]

    async def _at(self, log_indexes: Sequence[int]) -> list[bytes]:
        """Entry objects at global indexes; what is not there is left out."""
        found: dict[int, bytes] = {}
        by_shard: dict[int, list[tuple[int, int]]] = {}
        for place, log_index in enumerate(log_indexes):
            shard = self._shards.holding(log_index)
            if shard is not None:
                leaf = (place, log_index - shard.first_index)
                by_shard.setdefault(shard.tree_id, []).append(leaf)
        for tree_id, leaves in by_shard.items():
            objects = await self._readers[tree_id].by_index([index for _, index in leaves])
            for (place, _), entry in zip(leaves, objects, strict=True):
                if entry is not None:
                    found[place] = entry
        return [found[place] for place in sorted(found)]

    async def _head(self, shard: Shard) -> wire.LogInfo:
        head = await self._keeper.call(FetchHead(shard.tree_id))
        return wire.LogInfo(
            head.root_hash.hex(), head.checkpoint, str(shard.tree_id), head.tree_size
        )

    def _named(self, tree_id: str, refusal: str) -> Shard:
        """The shard of a decimal tree id, by default the active one."""
        if not tree_id:
            return self._shards.active
        shard = self._shards.of_tree(int(tree_id)) if len(tree_id) <= 20 else None
        if shard is None:
            raise requests.BadRequest(400, 400, refusal[:200])
        return shard


def _resolve(body: bytes) -> tuple[Sequence[EntryID], Sequence[int]]:
    """What to look up, in the order of the reply: full ids first, bare ones, then indexes."""
    query = requests.read_query(body)
    ids = [requests.parse_entry_id(text) for text in query.entry_ids]
    ids.sort(key=lambda item: item.tree_id is None)
    for proposal in query.entries:
        entry = canonicalize_query(proposal.kind, proposal.version, proposal.spec)
        if entry is not None:
            ids.append(EntryID(None, leaf_hash(entry.body)))
    return ids, query.log_indexes


def _one(objects: Sequence[bytes]) -> BytesReply:
    if not objects:
        raise NotFound("no such entry")
    return json_bytes_reply(wire.entry_reply(objects[0]))


async def _ping(_: Request) -> BytesReply:
    return bytes_reply(b".", "text/plain")
