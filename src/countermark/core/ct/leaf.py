# SPDX-License-Identifier: Apache-2.0
"""What a CT log's leaf is: a certificate or precertificate with a time (RFC 6962 section 3.4).

The bytes of a MerkleTreeLeaf are also exactly what an SCT signs (section 3.2): both begin with
a version and a type that are zero, and go on with the same fields.
"""

import hashlib
from dataclasses import dataclass
from typing import Self

from countermark.core.ct.tls import TLSReader, uint, vector
from countermark.core.errors import FormatError

X509_ENTRY, PRECERT_ENTRY = 0, 1
_V1_TIMESTAMPED = b"\x00\x00"


@dataclass(frozen=True, slots=True)
class CertificateEntry:
    """What is logged, without when.

    Attributes:
        issuer_key_hash: SHA-256 of the issuer's SPKI for a precertificate; empty for a
            finished certificate.
        certificate: the finished certificate, or the precertificate's TBSCertificate without
            its poison; DER.
    """

    issuer_key_hash: bytes
    certificate: bytes

    def __post_init__(self) -> None:
        if len(self.issuer_key_hash) not in (0, 32):
            raise FormatError("CT entry", "issuer key hash is not 32 bytes")
        if not self.certificate:
            raise FormatError("CT entry", "certificate is empty")

    @property
    def entry_type(self) -> int:
        """`X509_ENTRY` or `PRECERT_ENTRY`."""
        return PRECERT_ENTRY if self.issuer_key_hash else X509_ENTRY

    def serialize(self) -> bytes:
        """Entry type and signed entry, as they stand inside a TimestampedEntry."""
        kind = b"\x00\x01" if self.issuer_key_hash else b"\x00\x00"
        return kind + self.issuer_key_hash + vector(self.certificate, 3, "CT entry")

    @classmethod
    def read(cls, reader: TLSReader) -> Self:
        """Read from inside a TimestampedEntry; inverse of `serialize`."""
        kind = reader.uint(2)
        if kind == X509_ENTRY:
            return cls(b"", reader.vector(3))
        if kind == PRECERT_ENTRY:
            return cls(reader.fixed(32), reader.vector(3))
        raise FormatError("CT entry", f"type {kind} is unknown")

    @property
    def identity(self) -> bytes:
        """32 bytes that are equal for equal submissions, whenever they arrive."""
        return hashlib.sha256(self.serialize()).digest()


@dataclass(frozen=True, slots=True)
class TimestampedEntry:
    """An entry at the time when the log accepted it.

    Attributes:
        timestamp_ms: Unix milliseconds.
        entry: what was accepted.
        extensions: the SCT's extensions; empty in RFC 6962 logs, a leaf index in static ones.
    """

    timestamp_ms: int
    entry: CertificateEntry
    extensions: bytes = b""

    def serialize(self) -> bytes:
        """As in a MerkleTreeLeaf and in a data tile."""
        return (
            uint(self.timestamp_ms, 8, "CT timestamp")
            + self.entry.serialize()
            + vector(self.extensions, 2, "CT extensions")
        )

    @classmethod
    def read(cls, reader: TLSReader) -> Self:
        """Read from inside a larger structure; inverse of `serialize`."""
        timestamp_ms = reader.uint(8)
        return cls(timestamp_ms, CertificateEntry.read(reader), reader.vector(2))

    def merkle_tree_leaf(self) -> bytes:
        """The MerkleTreeLeaf: the Merkle tree's leaf data, and what the SCT signs."""
        return _V1_TIMESTAMPED + self.serialize()

    @classmethod
    def parse_merkle_tree_leaf(cls, data: bytes) -> Self:
        """Inverse of `merkle_tree_leaf`. Raises FormatError."""
        reader = TLSReader(data, "Merkle tree leaf")
        if reader.fixed(2) != _V1_TIMESTAMPED:
            raise FormatError("Merkle tree leaf", "is not a version 1 timestamped entry")
        entry = cls.read(reader)
        reader.end()
        return entry


def extra_data(pre_certificate: bytes, chain: tuple[bytes, ...]) -> bytes:
    """`extra_data` of get-entries (RFC 6962 section 4.6): what was submitted beside the leaf.

    Args:
        pre_certificate: the precertificate's DER; empty for a finished certificate.
        chain: the certificates above the leaf, issuer first, root included.
    """
    certificates = b"".join(vector(certificate, 3, "CT chain") for certificate in chain)
    chain_bytes = vector(certificates, 3, "CT chain")
    if not pre_certificate:
        return chain_bytes
    return vector(pre_certificate, 3, "precertificate") + chain_bytes


def parse_extra_data(entry_type: int, data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Precertificate (empty for a finished certificate) and chain. Raises FormatError."""
    reader = TLSReader(data, "CT extra data")
    pre_certificate = reader.vector(3) if entry_type == PRECERT_ENTRY else b""
    certificates = TLSReader(reader.vector(3), "CT chain")
    reader.end()
    chain = []
    while certificates:
        chain.append(certificates.vector(3))
    return pre_certificate, tuple(chain)
