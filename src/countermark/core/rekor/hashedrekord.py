# SPDX-License-Identifier: Apache-2.0
"""hashedrekord 0.0.1: a signature over a digest, and the key or certificate it verifies under.

The body is canonical JSON (RFC 8785), written by hand: nothing in it needs escaping.
"""

from base64 import b64encode
from typing import Final

KIND: Final = "hashedrekord"
VERSION: Final = "0.0.1"
DIGEST_BYTES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}


def canonical_body(hash_name: str, digest_hex: str, signature: bytes, pem: str) -> bytes:
    """The bytes that the log hashes.

    Args:
        hash_name: ``sha256``, ``sha384`` or ``sha512``.
        digest_hex: digest of the artifact, lower-case hex.
        signature: as the signer made it, DER for ECDSA.
        pem: public key or certificates, 64 columns, final newline.
    """
    return body_of_base64(
        hash_name,
        digest_hex,
        b64encode(signature).decode("ascii"),
        b64encode(pem.encode("ascii")).decode("ascii"),
    )


def body_of_base64(hash_name: str, digest_hex: str, signature: str, pem: str) -> bytes:
    """`canonical_body` of a signature and a PEM that are in base64 already."""
    return (
        '{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"'
        f'{hash_name}","value":"{digest_hex}"}}}},"signature":{{"content":"{signature}",'
        f'"publicKey":{{"content":"{pem}"}}}}}}}}'
    ).encode("ascii")
