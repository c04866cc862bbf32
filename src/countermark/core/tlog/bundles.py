# SPDX-License-Identifier: Apache-2.0
"""Entry bundles: how the records of a log are laid out in files of 256.

`ENTRIES` is C2SP tlog-tiles (16-bit lengths). `ENTRIES32` is ours for Rekor v1, whose leaves can
be longer than 65,535 bytes. Certificate-transparency logs bring the codec of static-ct-api.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from countermark.core.errors import FormatError
from countermark.core.tlog.merkle import leaf_hash

_LENGTHS: Final = {2: struct.Struct(">H"), 4: struct.Struct(">I")}


class BundleCodec(Protocol):
    """How one log's records become bundles and leaf hashes. A bundle is its framed records."""

    @property
    def directory(self) -> str:
        """The bundles' folder below ``tile/``."""
        ...

    @property
    def max_record_bytes(self) -> int:
        """The longest record that a bundle can hold."""
        ...

    def frame(self, record: bytes) -> bytes:
        """One record as it stands in a bundle."""
        ...

    def split(self, bundle: bytes) -> Sequence[bytes]:
        """The records of a bundle; inverse of joining frames. Raises FormatError."""
        ...

    def leaf_hash(self, record: bytes) -> bytes:
        """The Merkle leaf hash of a record. Raises FormatError if it is no record."""
        ...

    def leaf_hashes(self, records: Sequence[bytes]) -> list[bytes]:
        """Those of many. Raises FormatError as `leaf_hash` does."""
        ...


@dataclass(frozen=True, slots=True)
class LengthPrefixed:
    """Each record behind its big-endian length; the record itself is what is hashed.

    Attributes:
        directory: the bundles' folder below ``tile/``.
        length_bytes: 2 or 4.
        max_record_bytes: the longest record that is written or read.
    """

    directory: str
    length_bytes: int
    max_record_bytes: int

    def frame(self, record: bytes) -> bytes:
        """Length and record. Raises FormatError for one that is too long."""
        if len(record) > self.max_record_bytes:
            raise FormatError(
                "log entry", f"has {len(record)} bytes, more than {self.max_record_bytes}"
            )
        return len(record).to_bytes(self.length_bytes) + record

    def split(self, bundle: bytes) -> list[bytes]:
        """The records of a bundle, each bounded by `max_record_bytes`. Raises FormatError."""
        records: list[bytes] = []
        position, end, size, maximum = 0, len(bundle), self.length_bytes, self.max_record_bytes
        read_length = _LENGTHS[size].unpack_from
        while position < end:
            start = position + size
            if start > end:
                raise FormatError("entry bundle", "ends inside a record")
            (length,) = read_length(bundle, position)
            position = start + length
            if position > end:
                raise FormatError("entry bundle", "ends inside a record")
            if length > maximum:
                raise FormatError("entry bundle", f"holds a record of {length} bytes")
            records.append(bundle[start:position])
        return records

    def leaf_hash(self, record: bytes) -> bytes:
        """SHA-256 over 0x00 and the record."""
        return leaf_hash(record)

    def leaf_hashes(self, records: Sequence[bytes]) -> list[bytes]:
        """See `BundleCodec`."""
        # Inlined: an audit does this for every entry there is.
        return [sha256(b"\x00" + record).digest() for record in records]


ENTRIES = LengthPrefixed("entries", 2, 0xFFFF)
ENTRIES32 = LengthPrefixed("entries32", 4, 16 * 1024 * 1024)
