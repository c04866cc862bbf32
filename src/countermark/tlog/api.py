# SPDX-License-Identifier: Apache-2.0
"""Rekor's API v1 over HTTP: its routes, and those that read. The one that writes is `adding`."""

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from countermark.core.errors import InvariantBroken, NotFound
from countermark.core.rekor.kinds import canonicalize_query
from countermark.core.rekor.shard import Shard
from countermark.core.tlog.bundles import ENTRIES32
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.wire import rekor_v1 as wire
from countermark.core.wire import rekor_v1_requests as requests
from countermark.httpkit.body import read_body
from countermark.httpkit.cors import cors
from countermark.httpkit.replies import BytesReply, bytes_reply, json_bytes_reply
from countermark.ports.objects import ObjectStore
from countermark.rpc.message import Keeper
from countermark.tlog.adding import Adding
from countermark.tlog.endpoint import VERBS, Endpoint
from countermark.tlog.entry_object import EntryObjects
from countermark.tlog.messages import (
    FetchEntries,
    FetchHead,
    Found,
    HeadView,
    ProveConsistency,
)
from countermark.tlog.published import PublishedBodies

MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""Of a request body. Whole attestations are submitted; what is logged of them is small."""

_INLINE_QUERY_BYTES: Final = 4 * 1024  # ten small entries can be slow to verify
_MAX_LOOKUPS: Final = 16
"""Under way at a time. An answer of the keeper may hold megabytes, and it keeps what it has sent
until this worker takes it: thousands of searches at once would be its memory's end."""


def routes(
    keeper: Keeper,
    shard: Shard,
    objects: ObjectStore,
    *,
    max_request_bytes: int = MAX_REQUEST_BYTES,
) -> list[BaseRoute]:
    """The routes of a log with one shard, open to pages of every origin.

    `objects` are the shard's published files.
    """
    adding = Adding(keeper, shard, max_request_bytes)
    api = _LogAPI(keeper, shard, PublishedBodies(objects, ENTRIES32), max_request_bytes)
    endpoints = {
        wire.ENTRIES_PATH: Endpoint(get=api.entry_by_index, post=adding.add),
        wire.RETRIEVE_PATH: Endpoint(post=api.search),
        f"{wire.ENTRIES_PATH}/{{entry_id}}": Endpoint(get=api.entry_by_id),
        wire.LOG_PATH: Endpoint(get=api.info),
        wire.PROOF_PATH: Endpoint(get=api.consistency),
        wire.PUBLIC_KEY_PATH: Endpoint(get=api.public_key, produces="application/x-pem-file"),
        wire.INDEX_PATH: Endpoint(post=api.search_index),
    }
    opened = [Route(path, endpoint, methods=VERBS) for path, endpoint in endpoints.items()]
    return cors([*opened, Route("/ping", _ping, methods=["GET", "HEAD"])])


class _LogAPI:
    def __init__(
        self, keeper: Keeper, shard: Shard, published: PublishedBodies, max_request_bytes: int
    ) -> None:
        self._keeper = keeper
        self._published = published
        self._shard = shard
        self._objects = EntryObjects(shard)
        self._public_key = shard.public_key.to_pem().encode("ascii")
        self._limit = max_request_bytes
        self._lookups = asyncio.Semaphore(_MAX_LOOKUPS)

    async def entry_by_index(self, request: Request) -> BytesReply:
        """GET of the entry at a global log index."""
        values = request.query_params.getlist("logIndex")
        index = requests.read_integer(values, "logIndex", minimum=0) - self._shard.first_index
        objects = await self._lookup((), (index,))
        return _one(objects)

    async def entry_by_id(self, request: Request) -> BytesReply:
        """GET of an entry by entry id or UUID."""
        entry_id = requests.read_entry_id(request.path_params["entry_id"])
        if entry_id.tree_id not in (None, self._shard.tree_id):
            raise NotFound(f"no tree {entry_id.tree_id}")
        objects = await self._lookup((entry_id.leaf_hash,), ())
        return _one(objects)

    async def search(self, request: Request) -> BytesReply:
        """POST of a query for up to ten entries. What is not there is left out."""
        body = await read_body(request, limit=self._limit)
        if len(body) <= _INLINE_QUERY_BYTES:
            hashes, indexes = self._resolve(body)
        else:
            hashes, indexes = await asyncio.to_thread(self._resolve, body)
        objects = await self._lookup(hashes, indexes) if hashes or indexes else []
        return json_bytes_reply(wire.entries_reply(objects))

    async def info(self, _: Request) -> BytesReply:
        """GET of the newest tree head."""
        head = await self._keeper.call(FetchHead())
        info = wire.LogInfo(
            head.root_hash.hex(), head.checkpoint, str(self._shard.tree_id), head.tree_size
        )
        return json_bytes_reply(wire.log_info_reply(info))

    async def consistency(self, request: Request) -> BytesReply:
        """GET of a consistency proof between two sizes."""
        query = request.query_params
        first = requests.read_integer(query.getlist("firstSize"), "firstSize", minimum=1, default=1)
        last = requests.read_integer(query.getlist("lastSize"), "lastSize", minimum=1)
        tree_id = requests.read_tree_id(query.getlist("treeID"))
        if first > last:
            message = f"firstSize({first}) must be less than lastSize({last})"
            raise requests.BadRequest(400, 400, message)
        self._check_tree(tree_id, f"no log range found for tree ID {tree_id}")
        proof = await self._keeper.call(ProveConsistency(first, last))
        if last > proof.head.tree_size:
            message = (
                f"the tree size requested({last}) was greater than what is currently"
                f" observable({proof.head.tree_size})"
            )
            raise requests.BadRequest(400, 400, message)
        return json_bytes_reply(wire.consistency_reply(proof.hashes, proof.head.root_hash))

    async def public_key(self, request: Request) -> BytesReply:
        """GET of the key that signs SETs and checkpoints, as PEM."""
        tree_id = requests.read_tree_id(request.query_params.getlist("treeID"))
        self._check_tree(tree_id, f"{tree_id} is not a valid tree ID")
        return bytes_reply(self._public_key, "application/x-pem-file")

    async def search_index(self, _: Request) -> BytesReply:
        """POST of a search by e-mail, hash or key: the rows are written, nothing reads them yet."""
        message = "Search Index API not enabled in this Rekor instance"
        raise requests.BadRequest(501, 501, message)

    def _resolve(self, body: bytes) -> tuple[Sequence[bytes], Sequence[int]]:
        """Leaf hashes and leaf indexes to look up, in the order of the reply."""
        query = requests.read_query(body)
        ids = [requests.parse_entry_id(text) for text in query.entry_ids]
        hashes = [item.leaf_hash for item in ids if item.tree_id == self._shard.tree_id]
        hashes += [item.leaf_hash for item in ids if item.tree_id is None]
        for proposal in query.entries:
            entry = canonicalize_query(proposal.kind, proposal.version, proposal.spec)
            if entry is not None:
                hashes.append(leaf_hash(entry.body))
        return hashes, [index - self._shard.first_index for index in query.log_indexes]

    async def _lookup(self, hashes: Sequence[bytes], indexes: Sequence[int]) -> list[str]:
        """Entry objects by leaf hash, then by leaf index; what is not there is left out."""
        async with self._lookups:
            bodies = {index: await self._published.fetch(index) for index in indexes if index >= 0}
            wanted = [*hashes, *(leaf_hash(body) for body in bodies.values() if body is not None)]
            unpublished = [index for index, body in bodies.items() if body is None]
            entries = await self._keeper.call(FetchEntries(tuple(wanted), tuple(unpublished)))
            by_hash = entries.found[: len(hashes)]
            by_index = {found.index: found for found in entries.found[len(hashes) :] if found}
            chosen = [*by_hash, *(by_index.get(index) for index in indexes)]
            return [await self._shown(found, entries.head) for found in chosen if found is not None]

    async def _shown(self, found: Found, head: HeadView) -> str:
        body = found.body
        if body is None:
            body = await self._published.fetch(found.index)
        if body is None:
            raise InvariantBroken(f"leaf {found.index} is in no bundle, but said to be published")
        return self._objects.write(body, found, head, self._shard.entry_id(leaf_hash(body)))

    def _check_tree(self, tree_id: str, message: str) -> None:
        if tree_id and (len(tree_id) > 20 or int(tree_id) != self._shard.tree_id):
            raise requests.BadRequest(400, 400, message[:200])


def _one(objects: Sequence[str]) -> BytesReply:
    if not objects:
        raise NotFound("no such entry")
    return json_bytes_reply(wire.entry_reply(objects[0]))


async def _ping(_: Request) -> BytesReply:
    return bytes_reply(b".", "text/plain")
