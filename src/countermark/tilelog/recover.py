# SPDX-License-Identifier: Apache-2.0
"""Opens a log: its tree out of published tiles and the staged tail, checked against its head.

The database says what the head is. Published tiles must lead to it together with what is staged,
and nothing published may be ahead of it, neither the checkpoint nor a tile (the checkpoint can be
lost, or be an older copy too): that would be a database that came back older than what the world
has seen, and going on from it would sign a second history.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from countermark.core.errors import FormatError, InvariantBroken, NotFound
from countermark.core.tlog.bundles import BundleCodec
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.integrate import GrowingTree, split_hashes
from countermark.core.tlog.merkle import HASH_BYTES
from countermark.core.tlog.note import SignedNote
from countermark.core.tlog.tiles import (
    CHECKPOINT_PATH,
    TILE_WIDTH,
    BundleName,
    TileName,
    partial_bundle,
    partial_tiles,
    partial_widths,
)
from countermark.ports.log_store import Head, LogStore
from countermark.ports.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Recovered:
    """A log as it stands in its stores.

    Attributes:
        head: the committed head.
        tree: grown to that head.
        published_size: below it, everything is in the object store.
        records: from the start of the bundle that `published_size` lies in, up to the head.
        checkpoint: what is public now; None if nothing is.
    """

    head: Head
    tree: GrowingTree
    published_size: int
    records: list[bytes]
    checkpoint: bytes | None


def recover(name: str, codec: BundleCodec, store: LogStore, objects: ObjectStore) -> Recovered:
    """Read a log back. Raises NotFound if there is none, InvariantBroken if it is damaged."""
    head = store.head(name)
    published = store.published_size(name)
    public = read_checkpoint(name, objects)
    claim = None if public is None else public[1]
    reached = max(claim.tree_size if claim else 0, _stored_beyond(codec, objects, head.tree_size))
    if reached > head.tree_size:
        raise InvariantBroken(
            f"log {name}: its database holds {head.tree_size} entries, but {reached} were "
            "published; the database is an older copy and must not be used to go on: put back the "
            "newest one, or make a new instance with countermark restore"
        )
    staged = store.staged(name, published, head.tree_size)
    if len(staged) != head.tree_size - published:
        raise InvariantBroken(f"log {name}: entries are missing between {published} and its head")
    try:
        edge = _edge(name, objects, published)
        tree = GrowingTree(published, edge)
        records = _bundle_start(name, codec, objects, published)
        # They will be part of wider bundles: damage must not be published again as if it were new.
        if list(map(codec.leaf_hash, records)) != edge.get(0, []):
            raise FormatError("entry bundle", "differs from its tile")
        hashes = [codec.leaf_hash(leaf.record) for leaf in staged]
    except FormatError as error:
        raise InvariantBroken(f"log {name}: what is stored is damaged: {error}") from error
    if claim is not None and claim.tree_size >= published:
        reached = claim.tree_size - published
        tree.append(hashes[:reached])
        _check_root(name, tree, claim.root_hash, "its published checkpoint")
        hashes = hashes[reached:]
    tree.append(hashes)
    _check_root(name, tree, head.root_hash, "its head")
    records += [leaf.record for leaf in staged]
    return Recovered(head, tree, published, records, None if public is None else public[0])


def read_checkpoint(name: str, objects: ObjectStore) -> tuple[bytes, Checkpoint] | None:
    """The published checkpoint, if there is one. Raises InvariantBroken if it is not one."""
    try:
        data = objects.fetch(CHECKPOINT_PATH)
    except NotFound:
        return None
    try:
        return data, Checkpoint.parse(SignedNote.parse(data).text)
    except FormatError as error:
        raise InvariantBroken(f"log {name}: its published checkpoint is damaged") from error


def fetch_wide(objects: ObjectStore, name: TileName | BundleName) -> bytes:
    """A tile or bundle of at least that width: the partial, a wider one, or the full one.

    Raises NotFound. What a crash left behind differs: narrower ones are deleted early.
    """
    wider = [w for w in partial_widths(objects.paths(name.partials)) if w >= name.width]
    return objects.fetch(f"{name.partials}{wider[0]}" if wider else name.full_path)


def _stored_beyond(codec: BundleCodec, objects: ObjectStore, size: int) -> int:
    """How many leaves the tiles and bundles at the right edge of a tree of `size` go up to.

    A publication only ever puts out what is committed, and begins where the last one ended.
    """
    start = size // TILE_WIDTH * TILE_WIDTH
    widths = [0]
    for name in (
        BundleName(codec.directory, size // TILE_WIDTH),
        TileName(0, size // TILE_WIDTH),
    ):
        widths += partial_widths(objects.paths(name.partials))
        if name.path in objects.paths(name.path):
            widths.append(TILE_WIDTH)
    return start + max(widths)


def _edge(name: str, objects: ObjectStore, size: int) -> dict[int, list[bytes]]:
    try:
        return {
            tile.level: split_hashes(fetch_wide(objects, tile)[: tile.width * HASH_BYTES])
            for tile in partial_tiles(size)
        }
    except NotFound as error:
        raise InvariantBroken(f"log {name}: a tile is missing: {error}") from error


def _bundle_start(name: str, codec: BundleCodec, objects: ObjectStore, size: int) -> list[bytes]:
    bundle = partial_bundle(codec.directory, size)
    if bundle is None:
        return []
    try:
        records: Sequence[bytes] = codec.split(fetch_wide(objects, bundle))
    except NotFound as error:
        raise InvariantBroken(f"log {name}: an entry bundle is missing: {error}") from error
    if len(records) < bundle.width:
        raise InvariantBroken(f"log {name}: {bundle.path} holds too few entries")
    return list(records[: bundle.width])


def _check_root(name: str, tree: GrowingTree, root_hash: bytes, what: str) -> None:
    if tree.view().root_hash != root_hash:
        raise InvariantBroken(
            f"log {name}: its tiles and entries do not lead to the root hash of {what}"
        )
