# SPDX-License-Identifier: Apache-2.0
"""A v1 shard's own rules: what it signs about entries and heads, and how both are audited."""

from collections.abc import Sequence
from typing import Final

from countermark.core.errors import InclusionInvalid, SignatureInvalid
from countermark.core.rekor.set_payload import set_message
from countermark.core.rekor.shard import Shard
from countermark.core.rekor.stored import stored_search_keys
from countermark.core.tlog.bundles import ENTRIES32, BundleCodec
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.tlog.note import KEY_HASH_BYTES, NoteKey, NoteSignature, SignedNote
from countermark.ports.log_store import EntryRow, Head
from countermark.ports.signer import Signer
from countermark.tilelog.personality import Leaf, Submission

CODEC: Final[BundleCodec] = ENTRIES32


def submission(body: bytes, search_keys: tuple[bytes, ...]) -> Submission:
    """What the engine needs to log a canonical body. Its identity is its leaf hash."""
    return Submission(
        leaf_hash(body), body, search_keys, byte_size=len(body) + 64 * len(search_keys) + 512
    )


class ShardPersonality:
    """Signs for one shard."""

    def __init__(self, shard: Shard, signer: Signer) -> None:
        self._shard = shard
        self._log_id = shard.log_id
        self._signer = signer

    @property
    def codec(self) -> BundleCodec:
        """32-bit lengths: v1 bodies can be longer than 65,535 bytes."""
        return CODEC

    def finalise(self, submission: Submission, index: int, time_ms: int) -> Leaf:
        """Promise inclusion: sign the SET over the entry, its global index and its time."""
        message = set_message(
            submission.payload, time_ms // 1000, self._log_id, self._shard.first_index + index
        )
        return Leaf(submission.payload, submission.identity, self._signer.sign(message))

    def sign_head(self, tree_size: int, root_hash: bytes, time_ms: int) -> bytes:
        """A checkpoint in v1's form; the time is not in it."""
        del time_ms
        text = Checkpoint(self._shard.origin, tree_size, root_hash).serialize()
        line = NoteSignature(
            self._shard.hostname, self._log_id[:KEY_HASH_BYTES], self._signer.sign(text)
        )
        return SignedNote(text, (line,)).serialize()


class ShardAuditor:
    """Checks what one shard signed and indexed; for `fsck`."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._key = NoteKey.for_rekor_v1(shard.hostname, shard.public_key)

    @property
    def codec(self) -> BundleCodec:
        """As the personality's."""
        return CODEC

    def read_head(self, signed: bytes) -> Head:
        """Size and root; a checkpoint of v1 states no time. Raises FormatError."""
        checkpoint = Checkpoint.parse(SignedNote.parse(signed).text)
        return Head(checkpoint.tree_size, checkpoint.root_hash, 0, signed)

    def check_head(self, head: Head) -> None:
        """The checkpoint must state exactly this head, under one signature, the shard's.

        Raises FormatError, SignatureInvalid, or InclusionInvalid if it states another head.
        """
        note = SignedNote.parse(head.signed)
        if len(note.signatures) != 1:  # rekor-cli refuses any second line
            raise SignatureInvalid("the checkpoint has more than the log's own signature")
        note.verify(self._key, "checkpoint")
        if note.text != Checkpoint(self._shard.origin, head.tree_size, head.root_hash).serialize():
            raise InclusionInvalid("the checkpoint states another head than the store")

    def identity(self, record: bytes) -> bytes:
        """The leaf hash."""
        return leaf_hash(record)

    def search_keys(self, record: bytes) -> Sequence[bytes]:
        """The keys that the body alone yields; a statement's digests are not in it.

        Raises FormatError for a body of no kind that this log takes.
        """
        return stored_search_keys(record)

    def check_promise(self, record: bytes, row: EntryRow) -> None:
        """The SET must hold for the entry at its place. Raises SignatureInvalid."""
        shard = self._shard
        message = set_message(
            record, row.time_ms // 1000, shard.log_id, shard.first_index + row.index
        )
        shard.public_key.verify(row.promise, message, "signed entry timestamp")
