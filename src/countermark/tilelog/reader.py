# SPDX-License-Identifier: Apache-2.0
"""Reads a log: from memory what is recent, out of published tiles and bundles what is not.

Every answer is bounded by a committed head, and an answer out of stored tiles is checked against
that head before it is given: the object store is not trusted.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

from countermark.core.errors import FormatError, InvariantBroken, NotFound, VerificationError
from countermark.core.tlog import merkle
from countermark.core.tlog.bundles import BundleCodec
from countermark.core.tlog.integrate import Forgotten, TileNodes, TreeView
from countermark.core.tlog.merkle import HASH_BYTES, NodeReader, Range
from countermark.core.tlog.tiles import TILE_WIDTH, BundleName, TileName, tile_of
from countermark.ports.log_store import EntryRow, Head
from countermark.ports.objects import ObjectStore
from countermark.tilelog.publisher import Publication
from countermark.tilelog.recover import Recovered
from countermark.tilelog.sequencer import Added

_TILES_CACHED = 256  # 8 kB of hashes each, several times that once their nodes are joined
_BUNDLES_CACHED = 16

K = TypeVar("K")
V = TypeVar("V")


class Reader:
    """What one log holds up to its head. Used from the event loop; files are read on threads.

    Attributes:
        head: the newest durable, signed head.
        published_size: below it, everything is in the object store.
        unpublished_bytes: how much of the records in memory is not.
    """

    def __init__(
        self, name: str, codec: BundleCodec, objects: ObjectStore, recovered: Recovered
    ) -> None:
        self.head = recovered.head
        self.published_size = recovered.published_size
        self._name = name
        self._codec = codec
        self._objects = objects
        self._view = recovered.tree.view()
        # Records from the start of the bundle that `published_size` lies in, up to the head.
        self._tail = recovered.records
        self._tail_start = recovered.published_size // TILE_WIDTH * TILE_WIDTH
        self.unpublished_bytes = sum(map(len, self._tail[self.published_size - self._tail_start :]))
        self._tiles: _Recent[tuple[int, int], TileNodes] = _Recent(_TILES_CACHED)
        self._bundles: _Recent[int, Sequence[bytes]] = _Recent(_BUNDLES_CACHED)

    def advance(self, head: Head, view: TreeView, records: Sequence[bytes]) -> None:
        """Show a committed round."""
        self.head, self._view = head, view
        self._tail += records
        self.unpublished_bytes += sum(map(len, records))

    def unpublished(self) -> Publication:
        """What a publication now has to put out. A snapshot."""
        return Publication(
            self.published_size, self.head, self._view, self._tail[:], self._tail_start
        )

    def published(self, size: int) -> None:
        """Everything below `size` can be read from the object store now."""
        done = self._tail[self.published_size - self._tail_start : size - self._tail_start]
        self.unpublished_bytes -= sum(map(len, done))
        self.published_size = size
        start = size // TILE_WIDTH * TILE_WIDTH
        del self._tail[: start - self._tail_start]
        self._tail_start = start

    async def prove(self, row: EntryRow) -> Added:
        """The answer for an entry that the log holds already."""
        head = self.head
        proof = await self.inclusion_proof(row.index, head.tree_size)
        return Added(row.index, row.time_ms, row.promise, True, head, proof)

    async def inclusion_proof(self, index: int, tree_size: int) -> tuple[bytes, ...]:
        """A leaf's audit path. Raises NotFound for an index or size that is not there."""
        view = self._view
        if not 0 <= index < tree_size <= view.tree_size:
            raise NotFound(f"log {self._name} has no entry {index} in a tree of {tree_size}")
        if tree_size == view.tree_size:
            with suppress(Forgotten):
                return view.inclusion_proof(index)
        ranges = merkle.inclusion_ranges(index, tree_size)
        node = await self._nodes(view, [*ranges, (index, index + 1), *_link(tree_size, view)])
        proof = tuple(merkle.range_hash(span, node) for span in ranges)
        with self._stored_tiles_checked():
            root_hash = _linked_root(tree_size, view, node)
            merkle.verify_inclusion(node(0, index), index, tree_size, proof, root_hash)
        return proof

    async def consistency_proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """The proof between two sizes. Raises NotFound unless 0 < old ≤ new ≤ the head's."""
        view = self._view
        if not 0 < old_size <= new_size <= view.tree_size:
            raise NotFound(f"log {self._name} has no trees of {old_size} and {new_size} leaves")
        ranges = merkle.consistency_ranges(old_size, new_size)
        node = await self._nodes(view, [*ranges, (0, old_size), *_link(new_size, view)])
        proof = tuple(merkle.range_hash(span, node) for span in ranges)
        old_root = merkle.range_hash((0, old_size), node)
        with self._stored_tiles_checked():
            new_root = _linked_root(new_size, view, node)
            merkle.verify_consistency(old_size, new_size, old_root, new_root, proof)
        return proof

    async def root_hash(self, tree_size: int) -> bytes:
        """The root at an earlier size. Raises NotFound beyond the head's."""
        view = self._view
        if not 0 <= tree_size <= view.tree_size:
            raise NotFound(f"log {self._name} has no tree of {tree_size} leaves")
        if not tree_size:
            return merkle.EMPTY_ROOT
        node = await self._nodes(view, _link(tree_size, view))
        with self._stored_tiles_checked():
            return _linked_root(tree_size, view, node)

    async def records(self, start: int, end: int) -> Sequence[bytes]:
        """The records start ≤ index < end, those beyond the head left out."""
        end = min(end, self.head.tree_size)
        found: list[bytes] = []
        while start < end:
            # Looked at anew in each turn: publication may have moved the tail meanwhile.
            if start >= self._tail_start:
                return found + self._tail[start - self._tail_start : end - self._tail_start]
            index, first = divmod(start, TILE_WIDTH)
            records = (await self._bundle(index))[first : end - index * TILE_WIDTH]
            await self._check_records(start, records)
            found += records
            start = (index + 1) * TILE_WIDTH
        return found

    async def tile(self, name: TileName) -> bytes:
        """The content of a tile of the newest tree. Raises NotFound."""
        try:
            return self._view.tile(name)
        except ValueError as error:
            raise NotFound(f"log {self._name} has no {name.path} yet") from error
        except Forgotten:
            full = TileName(name.level, name.index)
            data = await asyncio.to_thread(self._load_tile, full)
            return data[: name.width * HASH_BYTES]

    async def bundle(self, name: BundleName) -> bytes:
        """The content of a bundle of the newest head. Raises NotFound."""
        if name.directory != self._codec.directory or name.end > self.head.tree_size:
            raise NotFound(f"log {self._name} has no {name.path} yet")
        return b"".join(map(self._codec.frame, await self.records(name.start, name.end)))

    async def _bundle(self, index: int) -> Sequence[bytes]:
        """The records of a full, published bundle. Raises InvariantBroken if damaged."""
        records = self._bundles.get(index)
        if records is None:
            records = await asyncio.to_thread(self._load_bundle, index)
            self._bundles.put(index, records)
        return records

    def _load_bundle(self, index: int) -> Sequence[bytes]:
        name = BundleName(self._codec.directory, index)
        try:
            records = self._codec.split(self._objects.fetch(name.path))
        except (FormatError, NotFound) as error:
            raise self._damaged(name.path) from error
        if len(records) != TILE_WIDTH:
            raise self._damaged(name.path)
        return records

    async def _check_records(self, start: int, records: Sequence[bytes]) -> None:
        """Compare records out of a stored bundle with the tree's leaves."""
        leaves = range(start, start + len(records))
        node = await self._nodes(self._view, ((leaf, leaf + 1) for leaf in leaves))
        try:
            hashes = list(map(self._codec.leaf_hash, records))
        except FormatError as error:
            raise self._damaged("an entry bundle") from error
        if hashes != [node(0, leaf) for leaf in leaves]:
            raise self._damaged(f"the bundle or the tile of entry {start}")

    async def _nodes(self, view: TreeView, ranges: Iterable[Range]) -> NodeReader:
        """A reader of all nodes that make up some ranges, those not in memory fetched now."""
        held: dict[tuple[int, int], bytes] = {}
        missing: dict[tuple[int, int], tuple[int, int, int]] = {}
        for span in ranges:
            for place in merkle.nodes_of(span):
                try:
                    held[place] = view.node(*place)
                except Forgotten:
                    missing[place] = tile_of(*place)
        # The tree forgets whole published tiles only, so all of these are full ones.
        wanted = {(level, index) for level, index, _ in missing.values()}
        tiles = {key: tile for key in wanted if (tile := self._tiles.get(key)) is not None}
        if len(tiles) < len(wanted):
            for key, tile in await asyncio.to_thread(self._load_tiles, wanted - tiles.keys()):
                tiles[key] = tile
                self._tiles.put(key, tile)
        for place, (level, index, row) in missing.items():
            held[place] = tiles[level, index].node(row, place[1] % (TILE_WIDTH >> row))
        return lambda level, index: held[level, index]

    def _load_tiles(
        self, keys: Iterable[tuple[int, int]]
    ) -> list[tuple[tuple[int, int], TileNodes]]:
        return [(key, TileNodes(self._load_tile(TileName(*key)))) for key in keys]

    def _load_tile(self, name: TileName) -> bytes:
        """A full, published tile. Raises InvariantBroken if it is not whole."""
        try:
            data = self._objects.fetch(name.path)
        except NotFound as error:
            raise self._damaged(name.path) from error
        if len(data) != name.byte_length:
            raise self._damaged(name.path)
        return data

    @contextmanager
    def _stored_tiles_checked(self) -> Iterator[None]:
        try:
            yield
        except VerificationError as error:
            raise self._damaged("a stored tile") from error

    def _damaged(self, what: str) -> InvariantBroken:
        return InvariantBroken(
            f"log {self._name}: {what} is missing or damaged; run `countermark log fsck`"
        )


def _link(tree_size: int, view: TreeView) -> list[Range]:
    """What links the root at an earlier size to the view's."""
    return [(0, tree_size), *merkle.consistency_ranges(tree_size, view.tree_size)]


def _linked_root(tree_size: int, view: TreeView, node: NodeReader) -> bytes:
    """The root at an earlier size, once the view's tree is seen to extend it.

    Raises ConsistencyInvalid.
    """
    ranges = merkle.consistency_ranges(tree_size, view.tree_size)
    proof = tuple(merkle.range_hash(span, node) for span in ranges)
    root_hash = merkle.range_hash((0, tree_size), node)
    merkle.verify_consistency(tree_size, view.tree_size, root_hash, view.root_hash, proof)
    return root_hash


class _Recent(Generic[K, V]):
    """The most recently used values, up to a number."""

    def __init__(self, maximum: int) -> None:
        self._values: OrderedDict[K, V] = OrderedDict()
        self._maximum = maximum

    def get(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._maximum:
            self._values.popitem(last=False)
