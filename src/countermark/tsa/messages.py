# SPDX-License-Identifier: Apache-2.0
"""What a worker asks of the keeper for timestamps."""

import msgspec

from countermark.rpc.message import Request


class Issued(msgspec.Struct, frozen=True, array_like=True):
    """A finished DER TimeStampResp."""

    response: bytes


class IssueTimestamp(Request[Issued], frozen=True, tag="tsa.issue"):
    """Timestamp a digest now, under the authority's own policy.

    Attributes:
        hash_name: ``sha256``, ``sha384`` or ``sha512``.
        digest: of that algorithm's length.
        nonce: signed big-endian bytes of the nonce, at most 64; empty for none.
        certificates: whether to put the signing certificate into the token.
    """

    hash_name: str
    digest: bytes
    nonce: bytes
    certificates: bool


class Chain(msgspec.Struct, frozen=True, array_like=True):
    """The authority's certificates in DER, the signing one first, the root last."""

    certificates: tuple[bytes, ...]


class FetchChain(Request[Chain], frozen=True, tag="tsa.chain"):
    """Ask for the authority's certificates."""
