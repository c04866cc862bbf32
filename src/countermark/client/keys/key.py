# SPDX-License-Identifier: Apache-2.0
"""What every long-lived key can do, wherever it lies, and the check of what it did.

A key signs artifacts by their digest (`SigningKey.sign_digest`) and statements whole
(`SigningKey.sign`), always with the one hash that Sigstore's algorithm registry gives its kind:
ECDSA as DER, RSA as PKCS#1 v1.5, Ed25519 pure for statements and as Ed25519ph for digests.
Either raises UpstreamDown if what holds the key does not answer, RequestRejected if it refuses,
AlgorithmRefused if it cannot sign so.
"""

from typing import Final

from countermark.client.credential import SigningKey
from countermark.core.crypto.ed25519ph import verify_ed25519ph
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import SignatureInvalid

P256: Final = "PKIX_ECDSA_P256_SHA_256"
P384: Final = "PKIX_ECDSA_P384_SHA_384"
P521: Final = "PKIX_ECDSA_P521_SHA_512"
ED25519: Final = "PKIX_ED25519"
RSA_3072: Final = "PKIX_RSA_PKCS1V15_3072_SHA256"
RSA_4096: Final = "PKIX_RSA_PKCS1V15_4096_SHA256"

KINDS: Final = {
    "p256": P256,
    "p384": P384,
    "p521": P521,
    "ed25519": ED25519,
    "rsa3072": RSA_3072,
    "rsa4096": RSA_4096,
}
"""Kinds of keys that we make, as the command line calls them."""


def digest_name(key: PublicKey) -> str:
    """The hash under which a key signs artifacts: its own, and SHA-512 for Ed25519ph."""
    return key.hash_name or "sha512"


class CheckedKey:
    """A `SigningKey` whose every signature is verified before anybody sees it.

    A faulty or lying device is found out here, and not by whoever verifies a release; a fault
    during signing can give away an RSA or Ed25519 key to those who see the result.
    """

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"CheckedKey({self._key!r})"

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._key.public_key

    def sign(self, message: bytes) -> bytes:
        """See `SigningKey.sign`. Raises SignatureInvalid too."""
        signature = self._key.sign(message)
        self.public_key.verify(signature, message, "what the key made")
        return signature

    def sign_digest(self, digest: bytes) -> bytes:
        """See `SigningKey.sign_digest`. Raises SignatureInvalid too."""
        signature, key = self._key.sign_digest(digest), self.public_key
        if key.details != ED25519:
            key.verify_digest(signature, digest, digest_name(key), "what the key made")
        elif not verify_ed25519ph(key.spki[-32:], signature, digest):
            raise SignatureInvalid("what the key made does not verify under the key")
        return signature
