# SPDX-License-Identifier: Apache-2.0
"""A CT log's own rules for the engine: leaves with SCTs, tree heads signed as RFC 6962 says.

The leaf's time is in the leaf and in the SCT, so both are made when the round gives the time.
The tree head is signed once; its checkpoint carries that signature (C2SP static-ct-api), and
`get-sth` takes it from there.
"""

from dataclasses import dataclass
from typing import cast

from countermark.core.ct.leaf import CertificateEntry, TimestampedEntry
from countermark.core.ct.sct import (
    HASH_SHA256,
    SIGNATURE_ECDSA,
    SIGNATURE_RSA,
    SignedCertificateTimestamp,
)
from countermark.core.ct.static_ct import (
    DATA_TILES,
    DataTiles,
    TileLeaf,
    checkpoint_key_id,
    checkpoint_signature,
    digitally_signed,
    tree_head_message,
)
from countermark.core.errors import SettingsError
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.tlog.note import NoteSignature, SignedNote
from countermark.ports.signer import Signer
from countermark.tilelog.personality import Leaf, Submission


@dataclass(frozen=True, slots=True)
class CertificateSubmission:
    """What the engine carries from the request to `finalise`.

    Attributes:
        entry: what is logged.
        pre_certificate: as submitted; empty for finished certificates.
        issuers: SHA-256 of each certificate above the leaf, issuer first.
    """

    entry: CertificateEntry
    pre_certificate: bytes
    issuers: tuple[bytes, ...]


class CTPersonality:
    """One CT log's origin and key. A `Personality`."""

    def __init__(self, origin: str, signer: Signer) -> None:
        """Raises SettingsError for a key that SCTs can't be signed with."""
        key = signer.public_key
        if key.hash_name != "sha256":
            # Verifiers demand SHA-256 in SCTs (RFC 6962 section 2.1.4).
            raise SettingsError(f"a CT log's key must sign with SHA-256, not be {key.details}")
        self.origin = origin
        self.log_id = key.key_id
        self._details = key.details
        self._sign = signer.sign
        self._key_hash = checkpoint_key_id(origin, self.log_id)
        self._algorithm = SIGNATURE_RSA if "RSA" in key.details else SIGNATURE_ECDSA

    @property
    def codec(self) -> DataTiles:
        """Data tiles of static-ct-api."""
        return DATA_TILES

    def finalise(self, submission: Submission, index: int, time_ms: int) -> Leaf:
        """Timestamp an entry, sign its SCT. The index is not part of either."""
        payload = cast("CertificateSubmission", submission.payload)
        timestamped = TimestampedEntry(time_ms, payload.entry)
        message = timestamped.merkle_tree_leaf()
        sct = SignedCertificateTimestamp(
            self.log_id, time_ms, b"", HASH_SHA256, self._algorithm, self._sign(message)
        )
        record = TileLeaf(timestamped, payload.pre_certificate, payload.issuers).serialize()
        hashed = leaf_hash(message)
        return Leaf(record, hashed, sct.serialize(), search_keys=(hashed,))

    def sign_head(self, tree_size: int, root_hash: bytes, time_ms: int) -> bytes:
        """The checkpoint, with the RFC 6962 tree head signature in its signature line."""
        signed = self.sign_tree_head(tree_size, root_hash, time_ms)
        text = Checkpoint(self.origin, tree_size, root_hash).serialize()
        line = NoteSignature(self.origin, self._key_hash, checkpoint_signature(time_ms, signed))
        return SignedNote(text, (line,)).serialize()

    def sign_tree_head(self, tree_size: int, root_hash: bytes, time_ms: int) -> bytes:
        """The TLS DigitallySigned over a tree head."""
        signature = self._sign(tree_head_message(time_ms, tree_size, root_hash))
        return digitally_signed(signature, self._details)
