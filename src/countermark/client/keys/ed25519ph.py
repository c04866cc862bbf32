# SPDX-License-Identifier: Apache-2.0
"""Making Ed25519ph signatures (RFC 8032 section 5.1), which `cryptography` cannot.

A log's `hashedrekord` entry knows an artifact by its digest, and so an Ed25519 key can be used
with it in this form only. The arithmetic is libsodium's, in constant time; this is the formula.
"""

import hashlib
from typing import Final

from countermark.client.keys.sodium import bindings

# The prefix dom2 with the prehash flag set and an empty context.
_DOM2: Final = b"SigEd25519 no Ed25519 collisions\x01\x00"
_ZERO: Final = bytes(32)


def sign_ed25519ph(seed: bytes, digest: bytes) -> bytes:
    """Sign what has this SHA-512 digest, with an empty context.

    Args:
        seed: the private key, 32 bytes.
        digest: 64 bytes.

    Raises SettingsError if PyNaCl is not installed.
    """
    sodium = bindings("signing a file with an Ed25519 key")
    if len(seed) != 32 or len(digest) != 64:
        raise ValueError("a seed of 32 bytes and a digest of 64 are needed")

    def scalar(data: bytes) -> bytes:
        reduced: bytes = sodium.crypto_core_ed25519_scalar_reduce(hashlib.sha512(data).digest())
        return reduced

    expanded = hashlib.sha512(seed).digest()
    clamped = bytes((expanded[0] & 0xF8, *expanded[1:31], expanded[31] & 0x7F | 0x40))
    secret: bytes = sodium.crypto_core_ed25519_scalar_reduce(clamped + _ZERO)
    public = sodium.crypto_scalarmult_ed25519_base_noclamp(secret)
    nonce = scalar(_DOM2 + expanded[32:] + digest)
    commitment: bytes = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = scalar(_DOM2 + commitment + public + digest)
    product = sodium.crypto_core_ed25519_scalar_mul(challenge, secret)
    response: bytes = sodium.crypto_core_ed25519_scalar_add(nonce, product)
    return commitment + response
