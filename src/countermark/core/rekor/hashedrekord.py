# SPDX-License-Identifier: Apache-2.0
"""hashedrekord: a signature over a digest, and the key or certificate it verifies under.

Bodies are canonical JSON (RFC 8785), written by hand: nothing in them needs escaping. 0.0.1 is of
log API v1, 0.0.2 of log API v2.
"""

from base64 import b64encode
from typing import Final

KIND: Final = "hashedrekord"
VERSION: Final = "0.0.1"
VERSION_V2: Final = "0.0.2"
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


def canonical_body_v2(
    hash_name: str, digest: bytes, signature: bytes, details: str, certificate: bytes
) -> bytes:
    """The bytes that a log of API v2 hashes for a certified signature.

    Args:
        hash_name: ``sha256``, ``sha384`` or ``sha512``.
        digest: of the artifact.
        signature: as the signer made it, DER for ECDSA.
        details: PublicKeyDetails name of the certified key.
        certificate: DER.
    """
    return (
        b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":'
        b'{"algorithm":"SHA2_%b","digest":"%b"},"signature":{"content":"%b","verifier":'
        b'{"keyDetails":"%b","x509Certificate":{"rawBytes":"%b"}}}}}}'
    ) % (
        hash_name.removeprefix("sha").encode("ascii"),
        b64encode(digest),
        b64encode(signature),
        details.encode("ascii"),
        b64encode(certificate),
    )
