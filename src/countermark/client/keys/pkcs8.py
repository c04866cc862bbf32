# SPDX-License-Identifier: Apache-2.0
"""Encrypted PKCS#8 keys (RFC 5958, PBES2 of RFC 8018): scrypt and AES-256 when we write one.

`cryptography` writes them with PBKDF2 and few rounds, which a short passphrase does not survive;
so the outer structure is built here. What it reads is bounded first: a file can ask for any
amount of work before its passphrase is known to be right.
"""

import hashlib
from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import load_der_private_key

from countermark.client.keys.local import LocalKey, PrivateKey
from countermark.core.crypto import der
from countermark.core.errors import AlgorithmRefused, FormatError, SettingsError

SALT_BYTES: Final = 16
IV_BYTES: Final = 16
_OID_PBES2: Final = "1.2.840.113549.1.5.13"
_OID_PBKDF2: Final = "1.2.840.113549.1.5.12"
_OID_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"
_OID_AES256_CBC: Final = "2.16.840.1.101.3.4.1.42"
# As costly as OWASP's N = 2**17, p = 1, and within the 32 MiB that OpenSSL allows itself.
_N, _R, _P = 2**14, 8, 5
MAX_ROUNDS: Final = 10_000_000
MAX_SCRYPT_BYTES: Final = 256 * 1024 * 1024
_MAX_SCRYPT_WORK: Final = 2**22


def encrypt(key: LocalKey, passphrase: bytes, *, salt: bytes, iv: bytes) -> bytes:
    """DER EncryptedPrivateKeyInfo.

    Args:
        key: what to encrypt.
        passphrase: not empty.
        salt: `SALT_BYTES` random bytes.
        iv: `IV_BYTES` random bytes.
    """
    plain = key.to_pkcs8()
    padding = 16 - len(plain) % 16
    secret = scrypt(passphrase, salt, _N, _P)
    encryptor = Cipher(AES256(secret), CBC(iv)).encryptor()
    data = encryptor.update(plain + bytes((padding,)) * padding) + encryptor.finalize()
    costs = (der.integer(_N), der.integer(_R), der.integer(_P))
    kdf = der.sequence(
        der.oid(_OID_SCRYPT), der.sequence(der.octet_string(salt), *costs, der.integer(32))
    )
    scheme = der.sequence(der.oid(_OID_AES256_CBC), der.octet_string(iv))
    algorithm = der.sequence(der.oid(_OID_PBES2), der.sequence(kdf, scheme))
    return der.sequence(algorithm, der.octet_string(data))


def decrypt(data: bytes, passphrase: bytes, what: str) -> LocalKey:
    """Read a DER EncryptedPrivateKeyInfo.

    Raises SettingsError for another passphrase, FormatError for what is no such key,
    AlgorithmRefused for kinds of keys and of encryption that are not allowed.
    """
    _check_cost(data, what)
    try:
        key = load_der_private_key(data, passphrase)
    except UnsupportedAlgorithm as error:
        raise AlgorithmRefused(f"{what}: the key's algorithm is not allowed") from error
    except (ValueError, TypeError, InternalError) as error:
        # A wrong passphrase shows as bad padding, or one time in 256 as what follows from it.
        raise SettingsError(f"{what} does not open with the passphrase given") from error
    if not isinstance(key, PrivateKey):
        raise AlgorithmRefused(f"{what}: the key's algorithm is not allowed")
    return LocalKey(key)


def scrypt(passphrase: bytes, salt: bytes, n: int, p: int) -> bytes:
    """32 bytes from a passphrase; `n` costs memory and time, `p` time, and r is 8."""
    memory = 128 * _R * (n + p) + 1024 * 1024
    return hashlib.scrypt(passphrase, salt=salt, n=n, r=_R, p=p, maxmem=memory, dklen=32)


def _check_cost(data: bytes, what: str) -> None:
    outer = der.decode(data, what, der.SEQUENCE).reader(what)
    algorithm = outer.sequence()
    outer.read(der.OCTET_STRING)
    outer.end()
    if algorithm.oid() != _OID_PBES2:
        raise AlgorithmRefused(f"{what} is encrypted in an old way that is not allowed")
    kdf = algorithm.sequence().sequence()
    name = kdf.oid()
    parameters = kdf.sequence()
    parameters.read(der.OCTET_STRING)
    if name == _OID_PBKDF2:
        if not 0 < parameters.integer() <= MAX_ROUNDS:
            raise FormatError(what, f"asks for more than {MAX_ROUNDS} rounds of PBKDF2")
    elif name == _OID_SCRYPT:
        n, r, p = (parameters.integer() for _ in range(3))
        if min(n, r, p) < 1 or 128 * n * r > MAX_SCRYPT_BYTES or n * r * p > _MAX_SCRYPT_WORK:
            raise FormatError(what, "asks for more of scrypt than is reasonable")
    else:
        raise AlgorithmRefused(f"{what} is encrypted in a way that is not allowed")
