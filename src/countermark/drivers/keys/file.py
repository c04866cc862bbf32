# SPDX-License-Identifier: Apache-2.0
"""Private keys in encrypted PKCS#8 files (RFC 5958, PBES2), one key a file, mode 0600.

The public half follows as a second PEM block: PBES2 does not notice damage, and any 32 bytes are
an Ed25519 key. The decrypted key stays in this process's memory for as long as the signer lives.
Whoever can read the file and its passphrase can sign as us.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks
from countermark.core.errors import AlgorithmRefused, FormatError, SettingsError
from countermark.drivers.durable import SECRET, create_file, read_secret

P256: Final = "PKIX_ECDSA_P256_SHA_256"
P384: Final = "PKIX_ECDSA_P384_SHA_384"
ED25519: Final = "PKIX_ED25519"
RSA_2048: Final = "PKIX_RSA_PKCS1V15_2048_SHA256"
RSA_3072: Final = "PKIX_RSA_PKCS1V15_3072_SHA256"
RSA_4096: Final = "PKIX_RSA_PKCS1V15_4096_SHA256"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_GENERATORS: dict[str, Callable[[], PrivateKey]] = {
    P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    ED25519: ed25519.Ed25519PrivateKey.generate,
    RSA_2048: lambda: rsa.generate_private_key(65537, 2048),
    RSA_3072: lambda: rsa.generate_private_key(65537, 3072),
    RSA_4096: lambda: rsa.generate_private_key(65537, 4096),
}


class FileSigner:
    """A private key held in memory. A `Signer`; any number of threads may use it at once."""

    __slots__ = ("_public_key", "_sign")

    def __init__(self, key: PrivateKey) -> None:
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._public_key = PublicKey.from_spki(spki, "key file")
        self._sign = _bound_sign(key, self._public_key.details)

    def __repr__(self) -> str:
        return f"FileSigner({self._public_key.details}, {self._public_key.key_id.hex()[:16]})"

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Sign with the key's own hash: ECDSA as DER, RSA as PKCS#1 v1.5, Ed25519 pure."""
        return self._sign(message)


def create_key(path: Path, algorithm: str, passphrase: bytes) -> FileSigner:
    """Generate a key and write its file, which must not exist.

    Args:
        path: the file to make; its folder exists.
        algorithm: a PublicKeyDetails name, one of the constants above.
        passphrase: what encrypts it, not empty.

    Raises AlgorithmRefused, FileExistsError, OSError.
    """
    if algorithm not in _GENERATORS:
        raise AlgorithmRefused(f"keys of kind {algorithm} cannot be kept in a file")
    key = _GENERATORS[algorithm]()
    signer = FileSigner(key)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    create_file(path, pem + signer.public_key.to_pem().encode("ascii"), SECRET)
    return signer


def load_signer(path: Path, passphrase: bytes) -> FileSigner:
    """Read a key file made by `create_key` or by ``openssl pkcs8 -topk8``.

    Raises SettingsError if it is missing, readable by others, not encrypted or encrypted with
    another passphrase; FormatError if it is no key or a damaged one; AlgorithmRefused for kinds
    we do not use.
    """
    what = path.name
    try:
        blocks = decode_pem_blocks(read_secret(path).decode("ascii"), what)
    except UnicodeDecodeError as error:
        raise FormatError(what, "is not PEM") from error
    (label, encrypted), *public = blocks
    if label != "ENCRYPTED PRIVATE KEY":
        raise SettingsError(f"{what} is no encrypted PKCS#8 key but a {label}: refusing to use it")
    signer = FileSigner(_decrypt(encrypted, passphrase, what))
    if public not in ([], [("PUBLIC KEY", signer.public_key.spki)]):
        raise FormatError(what, "is damaged: its private and public halves differ")
    return signer


def _decrypt(encrypted: bytes, passphrase: bytes, what: str) -> PrivateKey:
    outer = der.decode(encrypted, what, der.SEQUENCE).reader(what)
    outer.read(der.SEQUENCE)
    outer.read(der.OCTET_STRING)
    outer.end()
    try:
        key = load_der_private_key(encrypted, passphrase)
    except UnsupportedAlgorithm as error:
        raise AlgorithmRefused(f"{what}: the key's algorithm is not allowed") from error
    except TypeError as error:  # what lies in it is not encrypted
        raise SettingsError(f"{what} is not encrypted: refusing to use it") from error
    except ValueError as error:
        # A wrong passphrase shows as bad padding, or one time in 256 as whatever follows from it.
        raise SettingsError(f"{what} does not open with the passphrase given") from error
    if not isinstance(key, PrivateKey):
        raise AlgorithmRefused(f"{what}: the key's algorithm is not allowed")
    return key


def _bound_sign(key: PrivateKey, details: str) -> Callable[[bytes], bytes]:
    # Everything that does not depend on the message is made once: this is the log's hot path.
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    if isinstance(key, rsa.RSAPrivateKey):
        rsa_sign, padding, digest = key.sign, PKCS1v15(), SHA256()
        return lambda message: rsa_sign(message, padding, digest)
    if details not in (P256, P384):
        raise AlgorithmRefused(f"keys of kind {details} cannot sign")
    ec_sign, scheme = key.sign, ec.ECDSA(SHA256() if details == P256 else SHA384())
    return lambda message: ec_sign(message, scheme)
