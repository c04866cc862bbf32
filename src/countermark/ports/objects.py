# SPDX-License-Identifier: Apache-2.0
"""The port to the object store: tiles, entry bundles and checkpoints of one log, by path.

Not trusted for integrity beyond availability: the log can be re-derived and compared (fsck).
"""

from collections.abc import Iterable, Sequence
from typing import Protocol


class ObjectStore(Protocol):
    """Named blobs. Paths are relative, slash-separated and made of ``[A-Za-z0-9._-]`` parts.

    What was put is durable on return and visible to all readers, whole or not at all.
    """

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """Write immutable objects. One that exists with the same bytes is no error; with others
        it is an InvariantBroken, and is not replaced.

        Raises Unavailable if nothing was changed and it can be tried again, OutcomeUnknown if
        some may be durable and some not: only a fresh process may try again.
        """
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Write a mutable object (the checkpoint), atomically. Raises as `put_all` does."""
        ...

    def fetch(self, path: str) -> bytes:
        """Read one object. Raises NotFound, Unavailable, or InvariantBroken if it is damaged."""
        ...

    def delete_all(self, paths: Iterable[str]) -> None:
        """Remove objects; one that does not exist is no error. Need not be durable.

        Raises Unavailable if some are still there.
        """
        ...

    def paths(self, prefix: str) -> Iterable[str]:
        """Every path that starts with `prefix`, in no order. For fsck."""
        ...
