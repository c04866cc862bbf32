# SPDX-License-Identifier: Apache-2.0
"""C2SP static-ct-api: data tiles, the leaf index extension, and the tree head in both forms.

A data tile is TileLeaf structures one after the other, each telling its own length. The tree
head is RFC 6962's, signed once; the checkpoint carries the same signature inside a signed note
(signature type 0x05).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from countermark.core.ct.leaf import TimestampedEntry
from countermark.core.ct.tls import TLSReader, uint, vector
from countermark.core.errors import FormatError
from countermark.core.tlog.merkle import leaf_hash

NOTE_SIGNATURE_TYPE = 5
_V1_TREE_HASH = b"\x00\x01"
_LEAF_INDEX = b"\x00"
_MAX_LEAF_INDEX = 2**40 - 1
_HASH_ALGORITHM_SHA256 = 4
_SIGNATURE_ALGORITHMS = {"ECDSA": 3, "RSA": 1}
_MAX_ISSUERS = 32


@dataclass(frozen=True, slots=True)
class TileLeaf:
    """One entry as a data tile holds it.

    Attributes:
        timestamped: the entry with its time.
        pre_certificate: the precertificate as submitted, DER; empty for finished certificates.
        issuers: SHA-256 of each certificate above the leaf, issuer first.
    """

    timestamped: TimestampedEntry
    pre_certificate: bytes
    issuers: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if bool(self.pre_certificate) != bool(self.timestamped.entry.issuer_key_hash):
            raise FormatError("data tile entry", "has a precertificate of the wrong kind")

    def serialize(self) -> bytes:
        """Inverse of `read`."""
        pre_certificate = (
            vector(self.pre_certificate, 3, "precertificate") if self.pre_certificate else b""
        )
        issuers = vector(b"".join(self.issuers), 2, "issuer fingerprints")
        return self.timestamped.serialize() + pre_certificate + issuers

    @classmethod
    def read(cls, reader: TLSReader) -> Self:
        """Read the next entry of a data tile. Raises FormatError."""
        timestamped = TimestampedEntry.read(reader)
        pre_certificate = b""
        if timestamped.entry.issuer_key_hash:
            pre_certificate = reader.vector(3)
        fingerprints = reader.vector(2)
        if len(fingerprints) % 32 or len(fingerprints) > 32 * _MAX_ISSUERS:
            raise FormatError("data tile entry", "issuer fingerprints are malformed")
        issuers = tuple(fingerprints[at : at + 32] for at in range(0, len(fingerprints), 32))
        return cls(timestamped, pre_certificate, issuers)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read exactly one entry. Raises FormatError."""
        reader = TLSReader(data, "data tile entry")
        leaf = cls.read(reader)
        reader.end()
        return leaf


@dataclass(frozen=True, slots=True)
class DataTiles:
    """How a CT log's records stand in data tiles. A `BundleCodec`.

    Attributes:
        directory: the data tiles' folder below ``tile/``.
        max_record_bytes: the longest record; TesseraCT's bound on an entry, and some room for
            the fingerprints.
    """

    directory: str = "data"
    max_record_bytes: int = 260 * 1024

    def frame(self, record: bytes) -> bytes:
        """The record itself: it tells its own length. Raises FormatError if it is too long."""
        if len(record) > self.max_record_bytes:
            raise FormatError("CT entry", f"is larger than {self.max_record_bytes} bytes")
        return record

    def split(self, bundle: bytes) -> list[bytes]:
        """The records of a data tile, in order. Raises FormatError."""
        reader = TLSReader(bundle, "data tile")
        records = []
        while reader:
            start = reader.position
            TileLeaf.read(reader)
            records.append(bundle[start : reader.position])
        return records

    def leaf_hash(self, record: bytes) -> bytes:
        """RFC 6962 leaf hash of the record's MerkleTreeLeaf. Raises FormatError."""
        return leaf_hash(TileLeaf.parse(record).timestamped.merkle_tree_leaf())

    def leaf_hashes(self, records: Sequence[bytes]) -> list[bytes]:
        """See `BundleCodec`."""
        return list(map(self.leaf_hash, records))


DATA_TILES = DataTiles()


def leaf_index_extension(index: int) -> bytes:
    """SCT extensions that say where in the log the entry is; 8 bytes."""
    if not 0 <= index <= _MAX_LEAF_INDEX:
        raise FormatError("leaf index", f"{index} does not fit into 40 bits")
    return _LEAF_INDEX + vector(uint(index, 5, "leaf index"), 2, "leaf index")


def parse_leaf_index(extensions: bytes) -> int | None:
    """The leaf index among an SCT's extensions, or None. Raises FormatError."""
    reader = TLSReader(extensions, "SCT extensions")
    index = None
    while reader:
        kind, data = reader.fixed(1), reader.vector(2)
        if kind == _LEAF_INDEX:
            if index is not None or len(data) != 5:
                raise FormatError("SCT extensions", "leaf index is malformed")
            index = int.from_bytes(data)
    return index


def tree_head_message(timestamp_ms: int, tree_size: int, root_hash: bytes) -> bytes:
    """What a tree head signature signs (RFC 6962 section 3.5)."""
    return (
        _V1_TREE_HASH
        + uint(timestamp_ms, 8, "tree head")
        + uint(tree_size, 8, "tree head")
        + root_hash
    )


def digitally_signed(signature: bytes, key_details: str) -> bytes:
    """A TLS DigitallySigned with SHA-256 around a signature by a key of those PublicKeyDetails."""
    algorithm = _SIGNATURE_ALGORITHMS["RSA" if "RSA" in key_details else "ECDSA"]
    return bytes((_HASH_ALGORITHM_SHA256, algorithm)) + vector(signature, 2, "signature")


def checkpoint_key_id(origin: str, log_id: bytes) -> bytes:
    """The 4 bytes that name the log's key in its checkpoints' signature lines."""
    material = origin.encode("utf-8") + b"\n" + bytes((NOTE_SIGNATURE_TYPE,)) + log_id
    return hashlib.sha256(material).digest()[:4]


def checkpoint_signature(timestamp_ms: int, signed: bytes) -> bytes:
    """The note signature, behind the key id: time and DigitallySigned tree head."""
    return uint(timestamp_ms, 8, "tree head") + signed


def parse_checkpoint_signature(data: bytes) -> tuple[int, bytes]:
    """Time in Unix milliseconds and DigitallySigned tree head; inverse of the above."""
    reader = TLSReader(data, "checkpoint signature")
    timestamp_ms = reader.uint(8)
    signed = data[reader.position :]
    reader.fixed(2)
    reader.vector(2)
    reader.end()
    return timestamp_ms, signed
