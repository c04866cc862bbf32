# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: a log's claim about its own size and root. Format: C2SP tlog-checkpoint.

A checkpoint looks like this::

    log.example/2026
    15368405
    31JQUq8EyQx5lpqtKRqryJzA+77WD2xmTyuB4uIlXeE=

Signatures over this text live in `note`; deciding whether to believe it, in `core.verify`.
"""

from typing import NamedTuple, Self

from countermark.core.encoding import from_base64, from_decimal, from_utf8, to_base64
from countermark.core.errors import FormatError
from countermark.core.tlog.merkle import HASH_BYTES, MAX_TREE_SIZE

MAX_CHECKPOINT_BYTES = 64 * 1024


class Checkpoint(NamedTuple):
    """An unsigned tree head. Holding one proves nothing.

    Attributes:
        origin: the log's identity, one non-empty line, e.g. ``log.example/2026``.
        tree_size: number of leaves, 0 ≤ tree_size < 2**63.
        root_hash: 32-byte RFC 6962 root over exactly those leaves.
        extensions: further non-empty lines, in order; Rekor v1 once had one.
    """

    origin: str
    tree_size: int
    root_hash: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read a note's text; inverse of `serialize`. Raises FormatError if not canonical."""
        if len(text) > MAX_CHECKPOINT_BYTES:
            raise FormatError("checkpoint", f"is larger than {MAX_CHECKPOINT_BYTES} bytes")
        lines = from_utf8(text, "checkpoint").split("\n")
        if len(lines) < 4 or lines.pop() != "" or "" in lines:
            raise FormatError("checkpoint", "needs three or more non-empty lines")
        origin, size, root, *extensions = lines
        return cls(
            origin,
            from_decimal(size, "checkpoint tree size", maximum=MAX_TREE_SIZE),
            from_base64(root, "checkpoint root hash", length=HASH_BYTES),
            tuple(extensions),
        )

    def serialize(self) -> bytes:
        """Encode as a note's text, so that ``Checkpoint.parse(c.serialize()) == c``."""
        lines = (self.origin, str(self.tree_size), to_base64(self.root_hash), *self.extensions)
        return "".join(f"{line}\n" for line in lines).encode("utf-8")
