# SPDX-License-Identifier: Apache-2.0
"""DSSE envelopes and what they sign (pre-authentication encoding, PAE)."""

from typing import NamedTuple

PAYLOAD_TYPE_IN_TOTO = "application/vnd.in-toto+json"


class EnvelopeSignature(NamedTuple):
    """One signature of an envelope; `keyid` is an unauthenticated hint, often empty."""

    sig: bytes
    keyid: str = ""


class Envelope(NamedTuple):
    """A DSSE envelope, decoded. In a bundle it has exactly one signature.

    Attributes:
        payload: the signed bytes.
        payload_type: media type of `payload`, signed as well.
        signatures: over `pae()`, not over the payload itself.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[EnvelopeSignature, ...]

    def pae(self) -> bytes:
        """The bytes that are signed."""
        return pae(self.payload_type, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSEv1 pre-authentication encoding; lengths count UTF-8 bytes."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
