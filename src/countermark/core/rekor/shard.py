# SPDX-License-Identifier: Apache-2.0
"""The trees of a Rekor v1 log, and the names of entries in them.

A *UUID* is a leaf hash in hex (64 digits). An *entry id* is the tree id in 16 hex digits before
the UUID. Everywhere else the tree id is decimal, and always text: it exceeds 2**53.
"""

import re
from typing import NamedTuple

from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError

MAX_TREE_ID = 2**63 - 1
_ENTRY_ID = re.compile(r"(?:[0-9a-fA-F]{16})?[0-9a-fA-F]{64}", re.ASCII)


class Shard(NamedTuple):
    """What everybody may know about one tree.

    Attributes:
        tree_id: positive, below 2**63.
        hostname: the log's host; name of its checkpoint signatures.
        public_key: signs checkpoints and SETs.
        first_index: log index of its first entry, the sum of all older shards' sizes.
    """

    tree_id: int
    hostname: str
    public_key: PublicKey
    first_index: int = 0

    @property
    def origin(self) -> str:
        """First line of its checkpoints. Differs from the signature's name: clients insist."""
        return f"{self.hostname} - {self.tree_id}"

    @property
    def log_id(self) -> bytes:
        """SHA-256 of the key's SPKI, 32 bytes."""
        return self.public_key.key_id

    def entry_id(self, leaf_hash: bytes) -> str:
        """The 80 hex digits that name an entry of this shard."""
        return f"{self.tree_id:016x}{leaf_hash.hex()}"


class Shards(NamedTuple):
    """All trees of one log, which clients see as one row of entries.

    Attributes:
        frozen: the older ones, oldest first.
        active: the one that takes entries.
    """

    frozen: tuple[Shard, ...]
    active: Shard

    @property
    def by_search(self) -> tuple[Shard, ...]:
        """In the order in which a leaf hash alone is looked for: the active one first."""
        return (self.active, *self.frozen)

    def holding(self, log_index: int) -> Shard | None:
        """The only shard that can have an entry of that log index."""
        for shard in (self.active, *reversed(self.frozen)):
            if shard.first_index <= log_index:
                return shard
        return None

    def of_tree(self, tree_id: int) -> Shard | None:
        """The shard of that tree id."""
        for shard in self.by_search:
            if shard.tree_id == tree_id:
                return shard
        return None


class EntryID(NamedTuple):
    """A parsed entry id or bare UUID.

    Attributes:
        tree_id: None for a bare UUID, which may be in any shard.
        leaf_hash: 32 bytes.
    """

    tree_id: int | None
    leaf_hash: bytes

    @classmethod
    def parse(cls, text: str) -> "EntryID":
        """Read 64 or 80 hex digits of any case.

        Raises FormatError, also for tree ids that no shard can have (zero, beyond int64).
        """
        if not _ENTRY_ID.fullmatch(text):
            raise FormatError("entryID", f"{text[:100]!r} is not 64 or 80 hexadecimal digits")
        leaf_hash = bytes.fromhex(text[-64:])
        if len(text) == 64:
            return cls(None, leaf_hash)
        tree_id = int(text[:16], 16)
        if not 0 < tree_id <= MAX_TREE_ID:
            raise FormatError("entryID", f"{text[:100]} has the impossible tree id {tree_id}")
        return cls(tree_id, leaf_hash)
