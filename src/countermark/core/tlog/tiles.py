# SPDX-License-Identifier: Apache-2.0
"""Tiles: where the hashes and entries of a log are, as files. C2SP tlog-tiles.

A tile holds up to 256 hashes of tree level ``8 * level``; a bundle holds up to 256 records.
A width of 256 is a full one, less is a *partial*, which later gives way to the full one.
Paths look like ``tile/0/x001/x234/067``, ``tile/1/000.p/17`` and ``tile/entries/005.p/3``.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from countermark.core.errors import FormatError
from countermark.core.tlog.merkle import HASH_BYTES, MAX_TREE_SIZE

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_LEVEL = 63
CHECKPOINT_PATH = "checkpoint"

_PATH = re.compile(
    r"tile/(0|[1-9][0-9]?|[a-z][a-z0-9]*)/((?:x[0-9]{3}/)*)([0-9]{3})"
    r"(?:\.p/([1-9][0-9]{0,2}))?",
    re.ASCII,
)
_MAX_PATH = 64


@dataclass(frozen=True, slots=True)
class TileName:
    """Which hashes: those of tree level ``8 * level`` from ``256 * index`` on, `width` of them."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Where it is, relative to the log's prefix."""
        return _path(str(self.level), self.index, self.width)

    @property
    def partials(self) -> str:
        """What the paths of all partials of this tile start with."""
        return f"{self.full_path}.p/"

    @property
    def full_path(self) -> str:
        """Where the full tile is."""
        return _path(str(self.level), self.index, TILE_WIDTH)

    @property
    def byte_length(self) -> int:
        """How long its content is."""
        return self.width * HASH_BYTES


@dataclass(frozen=True, slots=True)
class BundleName:
    """Which records: from leaf ``256 * index`` on, `width` of them.

    `directory` is the kind of bundle: ``entries``, ``data``, ``entries32``.
    """

    directory: str
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Where it is, relative to the log's prefix."""
        return _path(self.directory, self.index, self.width)

    @property
    def partials(self) -> str:
        """What the paths of all partials of this bundle start with."""
        return f"{self.full_path}.p/"

    @property
    def full_path(self) -> str:
        """Where the full bundle is."""
        return _path(self.directory, self.index, TILE_WIDTH)

    @property
    def start(self) -> int:
        """Index of its first leaf."""
        return self.index * TILE_WIDTH

    @property
    def end(self) -> int:
        """One past the index of its last leaf."""
        return self.start + self.width


def parse_path(path: str) -> TileName | BundleName:
    """Read a tile's or a bundle's path; inverse of `.path`. Raises FormatError."""
    match = _PATH.fullmatch(path) if len(path) <= _MAX_PATH else None
    if match is None:
        raise FormatError("tile path", f"{path[:_MAX_PATH]!r} is not one")
    section, high, low, partial = match.groups()
    index = int(high.replace("x", "").replace("/", "") + low)
    width = TILE_WIDTH if partial is None else int(partial)
    if high.startswith("x000") or index > MAX_TREE_SIZE >> TILE_HEIGHT:
        raise FormatError("tile path", f"{path!r} has an index that is not canonical")
    if partial is not None and width >= TILE_WIDTH:
        raise FormatError("tile path", f"{path!r} has a width that is not possible")
    if not section.isdigit():
        return BundleName(section, index, width)
    if int(section) > MAX_LEVEL:
        raise FormatError("tile path", f"{path!r} has a level above {MAX_LEVEL}")
    return TileName(int(section), index, width)


def partial_widths(paths: Iterable[str]) -> list[int]:
    """Widths of the partials among some paths, narrowest first; what is none is passed over."""
    widths = []
    for path in paths:
        try:
            widths.append(parse_path(path).width)
        except FormatError:
            continue
    return sorted(widths)


def widest(level: int, index: int, tree_size: int) -> int:
    """How many hashes tile (level, index) has in a tree of that size: 0 if it does not exist."""
    hashes = tree_size >> (TILE_HEIGHT * level)
    return max(0, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def tile_of(level: int, index: int) -> tuple[int, int, int]:
    """Where node (level, index) is: tile level, tile index, and its row above the tile's hashes.

    The node is number ``index % (256 >> row)`` of that row.
    """
    tile_level, row = divmod(level, TILE_HEIGHT)
    return tile_level, index >> (TILE_HEIGHT - row), row


def levels(tree_size: int) -> int:
    """How many tile levels a tree has."""
    return (tree_size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT


def changed_tiles(old_size: int, new_size: int) -> Iterator[TileName]:
    """The tiles that a tree of `new_size` has and one of `old_size` has not."""
    for level in range(levels(new_size)):
        for index, width in _changed(old_size, new_size, TILE_HEIGHT * level):
            yield TileName(level, index, width)


def changed_bundles(directory: str, old_size: int, new_size: int) -> Iterator[BundleName]:
    """The bundles that a log of `new_size` has and one of `old_size` has not."""
    for index, width in _changed(old_size, new_size, 0):
        yield BundleName(directory, index, width)


def partial_tiles(tree_size: int) -> Iterator[TileName]:
    """The partial tiles of a tree: at most one a level."""
    for level in range(levels(tree_size)):
        index, width = divmod(tree_size >> (TILE_HEIGHT * level), TILE_WIDTH)
        if width:
            yield TileName(level, index, width)


def partial_bundle(directory: str, tree_size: int) -> BundleName | None:
    """The partial bundle of a log of that size, if it has one."""
    index, width = divmod(tree_size, TILE_WIDTH)
    return BundleName(directory, index, width) if width else None


def _changed(old_size: int, new_size: int, shift: int) -> Iterator[tuple[int, int]]:
    old, new = old_size >> shift, new_size >> shift
    if old == new:
        return
    for index in range(old // TILE_WIDTH, (new + TILE_WIDTH - 1) // TILE_WIDTH):
        yield index, min(TILE_WIDTH, new - index * TILE_WIDTH)


def _path(section: str, index: int, width: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    base = f"tile/{section}/{'/'.join(reversed(groups))}"
    return base if width == TILE_WIDTH else f"{base}.p/{width}"
