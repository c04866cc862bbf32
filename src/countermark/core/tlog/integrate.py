# SPDX-License-Identifier: Apache-2.0
"""A growing tree: new leaf hashes in, root, proofs and changed tiles out.

`GrowingTree` keeps the nodes of the right part of a tree in memory, whole tiles at a time, so
that a round's root, proofs and tiles are look-ups. What it forgot lies in full tiles. One thread
changes a tree; `view` gives any thread a fixed size of it to read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from countermark.core.errors import FormatError
from countermark.core.tlog.merkle import EMPTY_ROOT, HASH_BYTES, node_hash
from countermark.core.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, TileName, levels, partial_tiles


class Forgotten(LookupError):
    """The node lies in a full tile that is not in memory any more."""


@dataclass(slots=True)
class _Row:
    """The nodes of one level from `offset` on. Its list only grows while anyone reads it."""

    offset: int
    hashes: list[bytes]


class GrowingTree:
    """The right part of a tree.

    Attributes:
        size: number of leaves.
    """

    __slots__ = ("_rows", "size")

    def __init__(self, size: int = 0, edge: Mapping[int, Sequence[bytes]] | None = None) -> None:
        """Start from the partial tiles of a tree of `size` leaves.

        Args:
            size: number of leaves so far.
            edge: the hashes of each of `partial_tiles(size)`, by tile level.

        Raises FormatError if they are not all there in full width.
        """
        self.size = size
        self._rows: list[_Row] = []
        wanted = {name.level: name for name in partial_tiles(size)}
        for level in range(levels(size)):
            hashes = list(edge[level]) if edge and level in edge else []
            if len(hashes) != (wanted[level].width if level in wanted else 0):
                raise FormatError("tile", f"the tree's edge at level {level} has another width")
            first = size >> (TILE_HEIGHT * (level + 1)) << TILE_HEIGHT
            self._rows.append(_Row(first, hashes))
            for height in range(1, TILE_HEIGHT):
                self._rows.append(_Row(first >> height, []))
                self._join(TILE_HEIGHT * level + height)

    def append(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add leaves on the right."""
        if not self._rows:
            self._rows.append(_Row(0, []))
        leaves = self._rows[0]
        leaves.hashes.extend(leaf_hashes)
        self.size = leaves.offset + len(leaves.hashes)
        level = 1
        while self.size >> level:
            if level == len(self._rows):
                self._rows.append(_Row(0, []))
            if not self._join(level):
                return
            level += 1

    def truncate(self, size: int) -> None:
        """Take back leaves that were appended beyond `size` and that no view shows."""
        self.size = size
        for level, row in enumerate(self._rows):
            del row.hashes[max(0, (size >> level) - row.offset) :]

    def forget(self, size: int) -> None:
        """Drop the full tiles that lie wholly below leaf `size`."""
        for level, row in enumerate(self._rows):
            tile_level, height = divmod(level, TILE_HEIGHT)
            first = size >> (TILE_HEIGHT * (tile_level + 1)) << TILE_HEIGHT >> height
            if first > row.offset:  # replaced, not changed: views may be reading the old one
                self._rows[level] = _Row(first, row.hashes[first - row.offset :])

    def view(self) -> "TreeView":
        """The tree as it is now."""
        return TreeView(self._rows, self.size)

    def _join(self, level: int) -> bool:
        """Compute the nodes of a level that the level below now allows; whether there were any."""
        below, row = self._rows[level - 1], self._rows[level]
        first = 2 * (row.offset + len(row.hashes)) - below.offset
        children = below.hashes
        # Inlined node_hash: this is one hash for every entry of every log.
        row.hashes.extend(
            [
                sha256(b"\x01" + children[left] + children[left + 1]).digest()
                for left in range(first, len(children) - 1, 2)
            ]
        )
        return first < len(children) - 1


class TreeView:
    """One size of a tree, to read from any thread while the tree grows on.

    Attributes:
        tree_size: number of leaves.
        root_hash: the root over them.
    """

    __slots__ = ("_levels", "_lower", "_upper", "root_hash", "tree_size")

    def __init__(self, rows: Sequence[_Row], tree_size: int) -> None:
        self.tree_size = tree_size
        # Per level: first node held, nodes, how many perfect ones the tree has, and the root of
        # the incomplete subtree to their right, which is some proofs' sibling (RFC 6962 2.1.1).
        self._levels: list[tuple[int, list[bytes], int, bytes | None]] = []
        self._upper: dict[int, tuple[bytes, ...]] = {}
        edge: bytes | None = None
        for level in range(tree_size.bit_length()):
            row = rows[level]
            count = tree_size >> level
            self._levels.append((row.offset, row.hashes, count, edge))
            if count & 1:
                last = row.hashes[count - 1 - row.offset]
                edge = last if edge is None else node_hash(last, edge)
        self._lower = self._levels[:TILE_HEIGHT]
        self.root_hash = EMPTY_ROOT if edge is None else edge

    def node(self, level: int, index: int) -> bytes:
        """A perfect subtree's root. Raises Forgotten, or ValueError if there is no such node."""
        if not 0 <= index < self.tree_size >> level:
            raise ValueError(f"a tree of {self.tree_size} leaves has no node {level}/{index}")
        offset, hashes, _, _ = self._levels[level]
        if index < offset:
            raise Forgotten(f"node {level}/{index}")
        return hashes[index - offset]

    def inclusion_proof(self, index: int) -> tuple[bytes, ...]:
        """A leaf's audit path to this root. Raises Forgotten, or ValueError if not in the tree.

        The part above the leaf's tile is computed once for all leaves of the tile.
        """
        if not 0 <= index < self.tree_size:
            raise ValueError(f"no leaf {index} in a tree of {self.tree_size}")
        tile = index >> TILE_HEIGHT
        upper = self._upper.get(tile)
        if upper is None:
            upper = self._upper[tile] = self._path(tile, self._levels[TILE_HEIGHT:])
        return self._path(index, self._lower) + upper

    def tile(self, name: TileName) -> bytes:
        """The content of a tile. Raises Forgotten, or ValueError if the tree has no such tile."""
        level = TILE_HEIGHT * name.level
        start = name.index * TILE_WIDTH
        if not 0 < start + name.width <= self.tree_size >> level:
            raise ValueError(f"a tree of {self.tree_size} leaves has no {name.path}")
        offset, hashes, _, _ = self._levels[level]
        if start < offset:
            raise Forgotten(name.path)
        return b"".join(hashes[start - offset : start - offset + name.width])

    @staticmethod
    def _path(
        index: int, rows: Sequence[tuple[int, list[bytes], int, bytes | None]]
    ) -> tuple[bytes, ...]:
        path: list[bytes] = []
        for offset, hashes, count, edge in rows:
            sibling = index ^ 1
            if sibling < count:
                if sibling < offset:
                    raise Forgotten(f"node {sibling}")
                path.append(hashes[sibling - offset])
            elif edge is not None and sibling == count:
                path.append(edge)
            index >>= 1
        return tuple(path)


class TileNodes:
    """The nodes inside one full tile, joined when they are first asked for."""

    __slots__ = ("_rows",)

    def __init__(self, data: bytes) -> None:
        """Read a tile of whole hashes. Raises FormatError."""
        _check_tile(data)
        self._rows = [data]  # each row's hashes, joined: half the memory of a list

    def node(self, row: int, index: int) -> bytes:
        """Node `index` of a row above the tile's hashes (row 0). Raises IndexError."""
        while len(self._rows) <= row:
            below = self._rows[-1]
            # Inlined node_hash: a path through an old tile needs all of its nodes.
            self._rows.append(
                b"".join(
                    [
                        sha256(b"\x01" + below[left : left + 2 * HASH_BYTES]).digest()
                        for left in range(0, len(below) - HASH_BYTES, 2 * HASH_BYTES)
                    ]
                )
            )
        start = HASH_BYTES * index
        if not 0 <= start < len(self._rows[row]):
            raise IndexError(f"the tile has no node {index} in row {row}")
        return self._rows[row][start : start + HASH_BYTES]


def split_hashes(data: bytes) -> list[bytes]:
    """The 32-byte hashes of a tile. Raises FormatError."""
    _check_tile(data)
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def _check_tile(data: bytes) -> None:
    if not data or len(data) % HASH_BYTES or len(data) > TILE_WIDTH * HASH_BYTES:
        raise FormatError("tile", f"has {len(data)} bytes")
