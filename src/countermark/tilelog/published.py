# SPDX-License-Identifier: Apache-2.0
"""`fsck`'s view of the object store: what there is, and whether it is what it should be."""

from collections.abc import Callable, Mapping
from contextlib import suppress

from countermark.core.errors import FormatError, NotFound
from countermark.core.tlog.tiles import (
    TILE_WIDTH,
    BundleName,
    TileName,
    levels,
    parse_path,
    partial_widths,
    widest,
)
from countermark.ports.objects import ObjectStore
from countermark.tilelog.problems import Problems


class PublishedObjects:
    """The tiles and bundles of one log.

    Attributes:
        compared: how many were compared so far.
    """

    def __init__(self, objects: ObjectStore, problems: Problems) -> None:
        self._objects = objects
        self._problems = problems
        self.compared = 0

    def stored(self, name: TileName | BundleName) -> dict[int, bytes]:
        """All there is of a full tile or bundle, by width."""
        widths = partial_widths(self._objects.paths(name.partials))
        paths = {width: f"{name.partials}{width}" for width in widths} | {TILE_WIDTH: name.path}
        stored: dict[int, bytes] = {}
        for width, path in paths.items():
            with suppress(NotFound):
                stored[width] = self._objects.fetch(path)
        return stored

    def compare(
        self,
        name: TileName | BundleName,
        stored: Mapping[int, bytes],
        content: Callable[[int], bytes],
        held: int,
    ) -> None:
        """Compare every stored width with what it should be; `held` is the widest there can be."""
        self.compared += len(stored)
        for width, data in stored.items():
            where = name.path if width == TILE_WIDTH else f"{name.partials}{width}"
            if width > held:
                self._problems.report(where, "is beyond the head")
            elif data != content(width):
                self._problems.report(where, "is not what the entries lead to")

    def check_strays(self, directory: str, tree_size: int) -> None:
        """Report whatever lies among the tiles and is none of a log of that size."""
        for path in self._objects.paths("tile/"):
            try:
                name = parse_path(path)
            except FormatError:
                self._problems.report(path, "does not belong to a log")
                continue
            if isinstance(name, TileName):
                known = name.level < levels(tree_size)
                there = known and widest(name.level, name.index, tree_size) > 0
            else:
                there = name.directory == directory and name.start < tree_size
            self._problems.expect(there, path, "does not belong to this log")
