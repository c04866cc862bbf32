# SPDX-License-Identifier: Apache-2.0
"""Private keys in this process's memory: made here, or read from PKCS#8, SEC 1 and PKCS#1."""

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from countermark.client.keys.ed25519ph import sign_ed25519ph
from countermark.client.keys.key import ED25519, P256, P384, P521, RSA_3072, RSA_4096
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import AlgorithmRefused, FormatError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_GENERATORS: Final[dict[str, Callable[[], PrivateKey]]] = {
    P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    P521: lambda: ec.generate_private_key(ec.SECP521R1()),
    ED25519: ed25519.Ed25519PrivateKey.generate,
    RSA_3072: lambda: rsa.generate_private_key(65537, 3072),
    RSA_4096: lambda: rsa.generate_private_key(65537, 4096),
}
_HASHES: Final[dict[str, type[SHA256 | SHA384 | SHA512]]] = {
    "sha256": SHA256,
    "sha384": SHA384,
    "sha512": SHA512,
}


class LocalKey:
    """A private key in memory. A `SigningKey`."""

    __slots__ = ("_key", "_public_key")

    def __init__(self, key: PrivateKey) -> None:
        """Raises AlgorithmRefused for keys of other kinds and sizes than Sigstore knows."""
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._key = key
        self._public_key = PublicKey.from_spki(spki, "key")

    def __repr__(self) -> str:
        return f"LocalKey({self._public_key.details}, {self._public_key.key_id.hex()[:16]})"

    @classmethod
    def generate(cls, details: str) -> "LocalKey":
        """A new key of one of `key.KINDS`'s kinds."""
        return cls(_GENERATORS[details]())

    @classmethod
    def from_der(cls, data: bytes, what: str) -> "LocalKey":
        """Read an unencrypted PKCS#8, SEC 1 or PKCS#1 key.

        Raises FormatError, and AlgorithmRefused for kinds that are not allowed.
        """
        try:
            key = load_der_private_key(data, None)
        except UnsupportedAlgorithm as error:
            raise AlgorithmRefused(f"{what}: the key's algorithm is not allowed") from error
        except (ValueError, TypeError, InternalError) as error:
            # The last is what `cryptography` makes of Ed25519 keys of another length.
            raise FormatError(what, "is no private key") from error
        if not isinstance(key, PrivateKey):
            raise AlgorithmRefused(f"{what}: the key's algorithm is not allowed")
        return cls(key)

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public_key

    @property
    def crypto_key(self) -> PrivateKey:
        """The key itself, for writing it to a file."""
        return self._key

    def to_pkcs8(self) -> bytes:
        """DER PrivateKeyInfo, not encrypted."""
        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """See `SigningKey.sign`."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        algorithm = _HASHES[self._public_key.hash_name]()
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, PKCS1v15(), algorithm)
        return self._key.sign(message, ec.ECDSA(algorithm))

    def sign_digest(self, digest: bytes) -> bytes:
        """See `SigningKey.sign_digest`."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return sign_ed25519ph(self._key.private_bytes_raw(), digest)
        algorithm = Prehashed(_HASHES[self._public_key.hash_name]())
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(digest, PKCS1v15(), algorithm)
        return self._key.sign(digest, ec.ECDSA(algorithm))
