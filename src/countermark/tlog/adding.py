# SPDX-License-Identifier: Apache-2.0
"""POST of an entry: read, verified, canonicalised here; kept by the keeper; answered with proof."""

import asyncio
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request

from countermark.core.rekor.entry import CanonicalEntry
from countermark.core.rekor.kinds import admit
from countermark.core.rekor.shard import Shard
from countermark.core.wire import rekor_v1 as wire
from countermark.core.wire import rekor_v1_requests as requests
from countermark.httpkit.body import read_body
from countermark.httpkit.replies import BytesReply
from countermark.rpc.message import Keeper
from countermark.tlog.entry_object import EntryObjects
from countermark.tlog.messages import AddEntry

_INLINE_BYTES: Final = 64 * 1024
_JSON: Final = (b"content-type", b"application/json")


class Adding:
    """The endpoint that adds entries to `shard`, the one that is still open."""

    def __init__(self, keeper: Keeper, shard: Shard, max_request_bytes: int) -> None:
        self._keeper = keeper
        self._shard = shard
        self._objects = EntryObjects(shard)
        self._limit = max_request_bytes

    async def add(self, request: Request) -> BytesReply:
        """POST of an entry."""
        body = await read_body(request, limit=self._limit)
        if len(body) <= _INLINE_BYTES:
            entry = _admit(body)
        else:  # hashing and decoding megabytes would hold up everybody else
            entry = await asyncio.to_thread(_admit, body)
        added = await self._keeper.call(AddEntry(entry.body, entry.search_keys))
        entry_id = self._shard.entry_id(added.leaf_hash)
        location = _location(entry_id, request.scope["query_string"])
        if added.duplicate:
            message = (
                "an equivalent entry already exists in the transparency log with UUID " + entry_id
            )
            return BytesReply(wire.error_reply(409, message), 409, [_JSON, location])
        reply = wire.entry_reply(self._objects.write(entry.body, added, added.head, entry_id))
        etag = (b"etag", entry_id.encode("ascii"))  # without quotes: upstream's clients read it so
        return BytesReply(reply, 201, [_JSON, location, etag])


def _admit(body: bytes) -> CanonicalEntry:
    proposal = requests.read_proposal(body)
    return admit(proposal.kind, proposal.version, proposal.spec)


def _location(entry_id: str, query: bytes) -> tuple[bytes, bytes]:
    """Where the entry can be read: a path, with the request's query except an API key."""
    location = f"{wire.ENTRIES_PATH}/{entry_id}"
    if query:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        kept = sorted((name, value) for name, value in pairs if name != "apiKey")
        location += f"?{urlencode(kept)}" if kept else ""
    return (b"location", location.encode("ascii"))
