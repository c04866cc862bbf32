# SPDX-License-Identifier: Apache-2.0
"""What fsck checks of a CT log beyond hashes: tree heads, SCTs, and issuers that entries name."""

import hashlib

from countermark.core.crypto.keys import PublicKey
from countermark.core.ct.sct import SignedCertificateTimestamp
from countermark.core.ct.static_ct import (
    DATA_TILES,
    DataTiles,
    TileLeaf,
    checkpoint_key_id,
    parse_checkpoint_signature,
    tree_head_message,
)
from countermark.core.errors import FormatError, NotFound, SCTInvalid, SignatureInvalid
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.note import SignedNote
from countermark.ports.log_store import EntryRow, Head
from countermark.ports.objects import ObjectStore


class CTAuditor:
    """One CT log's origin, public key and files. An `Auditor`.

    Without `objects`, issuers that entries name are not looked for.
    """

    def __init__(self, origin: str, key: PublicKey, objects: ObjectStore | None = None) -> None:
        self._origin = origin
        self._key = key
        self._log_id = key.key_id
        self._objects = objects
        self._good_issuers: set[bytes] = set()

    @property
    def codec(self) -> DataTiles:
        """Data tiles of static-ct-api."""
        return DATA_TILES

    def read_head(self, signed: bytes) -> Head:
        """Size, root, and the time of the tree head signature. Raises FormatError."""
        checkpoint = Checkpoint.parse(SignedNote.parse(signed).text)
        time_ms, _ = tree_head_signature(signed, self._origin, self._log_id)
        return Head(checkpoint.tree_size, checkpoint.root_hash, time_ms, signed)

    def check_head(self, head: Head) -> None:
        """Check the checkpoint and the tree head signature in it.

        Raises FormatError, SignatureInvalid.
        """
        timestamp_ms, signed = tree_head_signature(head.signed, self._origin, self._log_id)
        checkpoint = Checkpoint.parse(SignedNote.parse(head.signed).text)
        if checkpoint != Checkpoint(self._origin, head.tree_size, head.root_hash):
            raise SignatureInvalid("the checkpoint is not of this log, size and root")
        if timestamp_ms != head.time_ms:
            raise SignatureInvalid("the checkpoint was signed for another time")
        message = tree_head_message(timestamp_ms, head.tree_size, head.root_hash)
        self._key.verify(signed[4:], message, "tree head signature")

    def identity(self, record: bytes) -> bytes:
        """Hash of the entry without its time. Raises FormatError."""
        return TileLeaf.parse(record).timestamped.entry.identity

    def search_keys(self, record: bytes) -> tuple[bytes, ...]:
        """The leaf hash. Raises FormatError."""
        return (DATA_TILES.leaf_hash(record),)

    def check_promise(self, record: bytes, row: EntryRow) -> None:
        """Check the SCT against the record, and that the record's issuers are stored.

        Raises FormatError, SCTInvalid.
        """
        leaf = TileLeaf.parse(record)
        if self._objects is not None:
            for fingerprint in leaf.issuers:
                self._check_issuer(fingerprint, self._objects)
        timestamped = leaf.timestamped
        sct = SignedCertificateTimestamp.parse(row.promise)
        if sct.log_id != self._log_id or sct.extensions != timestamped.extensions:
            raise SCTInvalid("the SCT is of another log or entry")
        if not sct.timestamp_ms == timestamped.timestamp_ms == row.time_ms:
            raise SCTInvalid("the SCT, the leaf and the index name different times")
        sct.verify(self._key, timestamped.merkle_tree_leaf())

    def _check_issuer(self, fingerprint: bytes, objects: ObjectStore) -> None:
        if fingerprint in self._good_issuers:
            return
        path = issuer_path(fingerprint)
        try:
            data = objects.fetch(path)
        except NotFound as error:
            raise FormatError(path, "is missing") from error
        if hashlib.sha256(data).digest() != fingerprint:
            raise FormatError(path, "is damaged")
        self._good_issuers.add(fingerprint)


def issuer_path(fingerprint: bytes) -> str:
    """Where a log keeps the certificate with that SHA-256 (C2SP static-ct-api)."""
    return f"issuer/{fingerprint.hex()}"


def tree_head_signature(note: bytes, origin: str, log_id: bytes) -> tuple[int, bytes]:
    """Time (Unix milliseconds) and TLS DigitallySigned of the tree head inside a checkpoint.

    Raises FormatError if the log's signature line is not there.
    """
    key_hash = checkpoint_key_id(origin, log_id)
    for line in SignedNote.parse(note).signatures:
        if line.name == origin and line.key_hash == key_hash:
            return parse_checkpoint_signature(line.signature)
    raise FormatError("checkpoint", f"has no signature by {origin}")
