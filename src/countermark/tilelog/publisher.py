# SPDX-License-Identifier: Apache-2.0
"""Publication: tiles, bundles and then the checkpoint to the object store, behind the answers.

One publication, on a thread of its own, every step idempotent::

    put tiles and bundles → replace the checkpoint → delete narrower partials → drop staged leaves

A crash anywhere leaves the leaves staged, and the next start does it again: the same bytes at
the same paths, since the tree is a function of its leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from countermark.core.tlog.bundles import BundleCodec
from countermark.core.tlog.integrate import TreeView
from countermark.core.tlog.tiles import (
    CHECKPOINT_PATH,
    TILE_WIDTH,
    BundleName,
    TileName,
    changed_bundles,
    changed_tiles,
    partial_widths,
)
from countermark.ports.log_store import Head
from countermark.ports.objects import ObjectStore

# A reader may hold a checkpoint that is a few publications old and ask for its partials.
_PARTIALS_KEPT = 8
_OBJECTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to become public.

    Attributes:
        published_size: what is in the object store already.
        head: the head to publish.
        view: the tree of that head.
        records: all records from `first` up to the head's size.
        first: index of the first of them: the start of the first bundle that changes.
    """

    published_size: int
    head: Head
    view: TreeView
    records: Sequence[bytes]
    first: int


def publish(publication: Publication, codec: BundleCodec, objects: ObjectStore) -> None:
    """Put everything up to the head where readers find it. Blocks; raises as ObjectStore does."""
    old, new = publication.published_size, publication.head.tree_size
    names: list[TileName | BundleName] = [
        *changed_bundles(codec.directory, old, new),
        *changed_tiles(old, new),
    ]
    # A long tail (after a crash, or when the object store was away) goes out in bounded pieces.
    for start in range(0, len(names), _OBJECTS_AT_ONCE):
        piece = names[start : start + _OBJECTS_AT_ONCE]
        objects.put_all([(name.path, _content(name, publication, codec)) for name in piece])
    objects.replace(CHECKPOINT_PATH, publication.head.signed)
    objects.delete_all(path for name in names for path in _superseded(name, objects))


def _content(name: TileName | BundleName, publication: Publication, codec: BundleCodec) -> bytes:
    if isinstance(name, TileName):
        return publication.view.tile(name)
    records = publication.records
    start = name.start - publication.first
    return b"".join(map(codec.frame, records[start : start + name.width]))


def _superseded(name: TileName | BundleName, objects: ObjectStore) -> list[str]:
    """Partials of a tile that nobody needs: all once it is full, else all but the widest few."""
    widths = partial_widths(objects.paths(name.partials))
    if name.width < TILE_WIDTH:
        widths = widths[:-_PARTIALS_KEPT]
    return [f"{name.partials}{width}" for width in widths]
