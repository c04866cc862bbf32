# SPDX-License-Identifier: Apache-2.0
"""dsse 0.0.1: the signatures of a DSSE envelope and hashes of the envelope and its payload.

The envelope itself is not kept. Its hash covers the exact text that was submitted, white space
and key order included, so nobody can recompute it from a bundle; the payload's hash anybody can.
"""

from base64 import b64encode
from collections.abc import Iterable
from typing import Final

KIND: Final = "dsse"
VERSION: Final = "0.0.1"


def canonical_body(
    envelope_hash_hex: str, payload_hash_hex: str, signatures: Iterable[tuple[str, str]]
) -> bytes:
    """The bytes that the log hashes: canonical JSON (RFC 8785).

    Args:
        envelope_hash_hex: SHA-256 of the envelope's text, lower-case hex.
        payload_hash_hex: SHA-256 of the decoded payload, lower-case hex.
        signatures: each signature in standard base64, with the PEM (64 columns, final newline)
            it verifies under; in any order.
    """
    return body_of_base64(
        envelope_hash_hex,
        payload_hash_hex,
        [(sig, b64encode(pem.encode("ascii")).decode("ascii")) for sig, pem in signatures],
    )


def body_of_base64(
    envelope_hash_hex: str, payload_hash_hex: str, signatures: Iterable[tuple[str, str]]
) -> bytes:
    """`canonical_body` of signatures and PEMs that are in base64 already."""
    listed = ",".join(
        f'{{"signature":"{signature}","verifier":"{verifier}"}}'
        for signature, verifier in sorted(signatures)
    )
    return (
        '{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256",'
        f'"value":"{envelope_hash_hex}"}},"payloadHash":{{"algorithm":"sha256",'
        f'"value":"{payload_hash_hex}"}},"signatures":[{listed}]}}}}'
    ).encode("ascii")
