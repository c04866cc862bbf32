# SPDX-License-Identifier: Apache-2.0
"""Derives a tree from its records again and compares the stored tiles with it.

    records → leaf hashes → tiles → root

Most of the time goes into SHA-256: per entry there is one leaf hash, one node and little else.
"""

from collections.abc import Sequence

from countermark.core.errors import FormatError
from countermark.core.tlog.bundles import BundleCodec
from countermark.core.tlog.integrate import GrowingTree, TreeView
from countermark.core.tlog.merkle import HASH_BYTES
from countermark.core.tlog.tiles import (
    TILE_WIDTH,
    TileName,
    changed_tiles,
    partial_tiles,
    widest,
)
from countermark.tilelog.problems import Problems
from countermark.tilelog.published import PublishedObjects


class TreeAudit:
    """The tree of one log, leaf by leaf from the first on.

    `published` is how much of the log must be there as tiles.
    """

    def __init__(
        self, codec: BundleCodec, public: PublishedObjects, problems: Problems, published: int
    ) -> None:
        self._codec = codec
        self._public = public
        self._problems = problems
        self._published = published
        self._tree = GrowingTree()

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._tree.size

    def append(self, records: Sequence[bytes]) -> None:
        """Add the records that follow, up to the end of a bundle; compare the tiles they fill.

        Adds nothing if one of them is no record of the log, which is reported.
        """
        tree, start = self._tree, self._tree.size
        try:
            tree.append(self._codec.leaf_hashes(records))
        except FormatError as error:
            self._problems.report(f"entries from {start}", str(error))
            return
        if tree.size % TILE_WIDTH:
            return
        view = tree.view()
        for name in changed_tiles(start, tree.size):
            if name.width == TILE_WIDTH:
                self._compare(name, view)
        tree.forget(tree.size)

    def view(self) -> TreeView:
        """The tree so far."""
        return self._tree.view()

    def finish(self) -> bytes:
        """Compare the partial tiles at the right edge; the root."""
        view = self._tree.view()
        for name in partial_tiles(self._tree.size):
            self._compare(name, view)
        return view.root_hash

    def root_with(self, records: Sequence[bytes]) -> bytes | None:
        """The root if these records followed; None, unreported, if one is no record of the log."""
        tree, size = self._tree, self._tree.size
        try:
            tree.append(self._codec.leaf_hashes(records))
        except FormatError:
            return None
        root_hash = tree.view().root_hash
        tree.truncate(size)
        return root_hash

    def _compare(self, name: TileName, view: TreeView) -> None:
        full = TileName(name.level, name.index)
        content = view.tile(name)
        stored = self._public.stored(full)
        needed = widest(name.level, name.index, self._published)
        self._problems.expect(
            not needed or any(width >= needed for width in stored), full.path, "is missing"
        )
        self._public.compare(full, stored, lambda width: content[: width * HASH_BYTES], name.width)
