# SPDX-License-Identifier: Apache-2.0
"""What was signed, as the verifier sees it: something with digests."""

import hashlib
from typing import NamedTuple, Protocol

from countermark.core.errors import RequestRejected

_DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}


class Artifact(Protocol):
    """Bytes that may be too many to hold, or known by one digest only."""

    def digest(self, hash_name: str) -> bytes:
        """Its digest under ``sha256``, ``sha384`` or ``sha512``.

        Raises RequestRejected if that digest is not known.
        """
        ...


class BytesArtifact(NamedTuple):
    """An artifact in memory."""

    data: bytes

    def digest(self, hash_name: str) -> bytes:
        """See `Artifact.digest`."""
        return hashlib.new(hash_name, self.data).digest()


class DigestArtifact(NamedTuple):
    """An artifact of which only one digest is at hand."""

    hash_name: str
    value: bytes

    @classmethod
    def parse(cls, text: str) -> "DigestArtifact":
        """Read ``sha256:…`` with lower-case hexadecimal digits. Raises RequestRejected."""
        hash_name, _, digits = text.partition(":")
        try:
            value = bytes.fromhex(digits)
        except ValueError:
            value = b""
        if len(value) != _DIGEST_BYTES.get(hash_name, -1) or value.hex() != digits:
            raise RequestRejected(f"{text[:160]!r} is not a digest like sha256:<64 hex digits>")
        return cls(hash_name, value)

    def digest(self, hash_name: str) -> bytes:
        """See `Artifact.digest`."""
        if hash_name != self.hash_name:
            raise RequestRejected(
                f"this signature needs the artifact's {hash_name} digest, but only its "
                f"{self.hash_name} digest was given"
            )
        return self.value
