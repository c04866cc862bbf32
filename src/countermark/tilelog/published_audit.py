# SPDX-License-Identifier: Apache-2.0
"""Audits what a log shows the world, while the log runs.

    checkpoint and its signature ← root ← tiles ← entry bundles

It reads published objects alone, as anybody could who has the log's public key. The log grows
meanwhile and drops partial tiles that it no longer needs, so those of the checkpoint are read
first; what is full stays as it is for ever.
"""

from collections.abc import Sequence
from contextlib import suppress

from countermark.core.errors import FormatError, InvariantBroken, NotFound
from countermark.core.tlog.tiles import (
    CHECKPOINT_PATH,
    TILE_WIDTH,
    BundleName,
    TileName,
    partial_bundle,
    partial_tiles,
)
from countermark.ports.objects import ObjectStore
from countermark.tilelog.audit import TreeAudit
from countermark.tilelog.fsck import FsckReport, Progress
from countermark.tilelog.personality import Auditor
from countermark.tilelog.problems import Problems, TooManyProblems
from countermark.tilelog.published import PublishedObjects
from countermark.tilelog.recover import fetch_wide, read_checkpoint

_TRIES = 3  # a partial can go between its listing and its reading, once it is a full one


def audit_published(
    name: str, auditor: Auditor, objects: ObjectStore, *, progress: Progress | None = None
) -> FsckReport:
    """Check the published part of a log, up to the checkpoint that is public now. Blocks.

    Args:
        name: the log's name, for messages.
        auditor: its formats and public key.
        objects: its tiles and bundles.
        progress: told the entries done and the entries there are, after each bundle.
    """
    return _Audit(name, auditor, objects).run(progress)


class _Audit:
    def __init__(self, name: str, auditor: Auditor, objects: ObjectStore) -> None:
        self._name = name
        self._auditor = auditor
        self._codec = auditor.codec
        self._objects = objects
        self._problems = Problems()
        self._public = PublishedObjects(objects, self._problems)
        self._size = 0

    def run(self, progress: Progress | None) -> FsckReport:
        root_hash = None
        with suppress(TooManyProblems):
            root_hash = self._check(progress)
        return FsckReport(
            self._name,
            self._size,
            self._size,
            root_hash,
            self._public.compared,
            self._problems.found,
        )

    def _check(self, progress: Progress | None) -> bytes | None:
        """Go through what is published; the root hash, if all of it could be read."""
        try:
            found = read_checkpoint(self._name, self._objects)
        except InvariantBroken as error:
            self._problems.report(CHECKPOINT_PATH, str(error))
            return None
        if found is None:
            self._problems.report(CHECKPOINT_PATH, "is missing")
            return None
        note, checkpoint = found
        with self._problems.caught(CHECKPOINT_PATH):
            self._auditor.check_head(self._auditor.read_head(note))
        size = self._size = checkpoint.tree_size
        partial = partial_bundle(self._codec.directory, size)
        last = () if partial is None else self._records(partial)
        edge = {tile: self._fetch(tile) for tile in partial_tiles(size)}
        tree = TreeAudit(self._codec, self._public, self._problems, size)
        for number in range(size // TILE_WIDTH):
            bundle = BundleName(self._codec.directory, number)
            tree.append(self._records(bundle))
            if tree.size != bundle.end:
                return None
            if progress is not None:
                progress(tree.size, size)
        tree.append(last)
        if tree.size != size:
            return None
        view = tree.view()
        for tile, content in edge.items():
            if content is not None and content[: tile.byte_length] != view.tile(tile):
                self._problems.report(tile.path, "is not what the entries lead to")
        self._problems.expect(
            view.root_hash == checkpoint.root_hash,
            CHECKPOINT_PATH,
            "has another root hash than the log",
        )
        return view.root_hash

    def _records(self, bundle: BundleName) -> Sequence[bytes]:
        """The records of a bundle; none, and a problem reported, if it does not hold them all."""
        data = self._fetch(bundle)
        if data is None:
            return ()
        try:
            records = self._codec.split(data)
        except FormatError as error:
            self._problems.report(bundle.path, str(error))
            return ()
        if bundle.width <= len(records) <= TILE_WIDTH:
            return records[: bundle.width]
        self._problems.report(bundle.path, f"holds {len(records)} records")
        return ()

    def _fetch(self, name: TileName | BundleName) -> bytes | None:
        """A tile or bundle, perhaps a wider one; None, and reported, if it is not there."""
        for _ in range(_TRIES):
            with suppress(NotFound):
                data = fetch_wide(self._objects, name)
                self._public.compared += 1
                return data
        self._problems.report(name.path, "is missing")
        return None
