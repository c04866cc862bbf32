# SPDX-License-Identifier: Apache-2.0
"""Bodies of published entries, read by workers straight from the full bundles they lie in.

A full bundle never changes, so it needs no word of the keeper. Entries in the last, still open
bundle are asked of the keeper.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from countermark.core.errors import NotFound
from countermark.core.tlog.bundles import BundleCodec
from countermark.core.tlog.tiles import TILE_WIDTH, BundleName
from countermark.ports.objects import ObjectStore

_BUNDLES_KEPT = 8


class PublishedBodies:
    """The records of full bundles of one log."""

    def __init__(self, objects: ObjectStore, codec: BundleCodec) -> None:
        self._objects = objects
        self._codec = codec
        self._recent: OrderedDict[int, Sequence[bytes]] = OrderedDict()

    async def fetch(self, index: int) -> bytes | None:
        """The record at a leaf index; None if no full bundle holds it (yet).

        Raises FormatError for a damaged bundle, InvariantBroken for one that can't be read.
        """
        number, offset = divmod(index, TILE_WIDTH)
        records = self._recent.get(number)
        if records is None:
            try:
                records = await asyncio.to_thread(self._read, number)
            except NotFound:
                return None
            self._recent[number] = records
            if len(self._recent) > _BUNDLES_KEPT:
                self._recent.popitem(last=False)
        else:
            self._recent.move_to_end(number)
        return records[offset]

    def _read(self, number: int) -> Sequence[bytes]:
        bundle = self._objects.fetch(BundleName(self._codec.directory, number).path)
        return self._codec.split(bundle)


def first_in_open_bundle(published_size: int) -> int:
    """The index from which on no full bundle is published: those entries the keeper shows."""
    return published_size // TILE_WIDTH * TILE_WIDTH
