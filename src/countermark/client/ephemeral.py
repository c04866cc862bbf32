# SPDX-License-Identifier: Apache-2.0
"""The key of a keyless signature: made for it, and thrown away with the process that made it."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey

_OID_EC, _OID_P256 = "1.2.840.10045.2.1", "1.2.840.10045.3.1.7"


class EphemeralKey:
    """A P-256 key that lives in this process's memory only."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

        # Written by hand: `cryptography`'s serialization module takes 40 ms to import.
        numbers = self._key.public_key().public_numbers()
        point = b"\x04" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
        algorithm = der.sequence(der.oid(_OID_EC), der.oid(_OID_P256))
        self._public_key = PublicKey.from_spki(der.sequence(algorithm, der.bit_string(point)))

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """DER ECDSA signature over SHA-256 of `message`."""
        return self._key.sign(message, ec.ECDSA(SHA256()))

    def sign_digest(self, digest: bytes) -> bytes:
        """DER ECDSA signature over data with this SHA-256 digest."""
        return self._key.sign(digest, ec.ECDSA(Prehashed(SHA256())))
