# SPDX-License-Identifier: Apache-2.0
"""Public keys and signatures as devices and services give them, turned into Sigstore's forms."""

from typing import Final

from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError

OID_EC: Final = "1.2.840.10045.2.1"
OID_RSA: Final = "1.2.840.113549.1.1.1"
OID_ED25519: Final = "1.3.101.112"
CURVES: Final = {
    "P-256": "1.2.840.10045.3.1.7",
    "P-384": "1.3.132.0.34",
    "P-521": "1.3.132.0.35",
}
"""JWK's names of curves, and their object identifiers."""
COORDINATE_BYTES: Final = {
    "PKIX_ECDSA_P256_SHA_256": 32,
    "PKIX_ECDSA_P384_SHA_384": 48,
    "PKIX_ECDSA_P521_SHA_512": 66,
}
_MAX_NUMBER_BYTES: Final = 1024
# RFC 8017 section 9.2: what PKCS#1 v1.5 puts before a SHA-256 digest.
_SHA256_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")


def ec_key(curve: bytes, point: bytes, what: str) -> PublicKey:
    """An ECDSA key.

    Args:
        curve: DER object identifier.
        point: uncompressed, as SEC 1 has it.
        what: where it comes from, for errors.
    """
    algorithm = der.sequence(der.oid(OID_EC), curve)
    return PublicKey.from_spki(der.sequence(algorithm, der.bit_string(point)), what)


def ec_key_of_numbers(curve: str, x: int, y: int, what: str) -> PublicKey:
    """An ECDSA key; `curve` is a name in `CURVES`."""
    if curve not in CURVES:
        raise FormatError(what, f"is on the curve {curve[:40]!r}, which Sigstore does not use")
    size = (int(curve[2:]) + 7) // 8
    if max(x, y) >> (8 * size):
        raise FormatError(what, "is no point of its curve")
    point = b"\x04" + x.to_bytes(size) + y.to_bytes(size)
    return ec_key(der.oid(CURVES[curve]), point, what)


def rsa_key(modulus: int, exponent: int, what: str) -> PublicKey:
    """An RSA key."""
    if modulus.bit_length() > 8 * _MAX_NUMBER_BYTES or exponent.bit_length() > 64:
        raise FormatError(what, "has an RSA key that is too large")
    algorithm = der.sequence(der.oid(OID_RSA), der.encode(der.NULL, b""))
    numbers = der.sequence(der.integer(modulus), der.integer(exponent))
    return PublicKey.from_spki(der.sequence(algorithm, der.bit_string(numbers)), what)


def ed25519_key(raw: bytes, what: str) -> PublicKey:
    """An Ed25519 key of 32 bytes."""
    if len(raw) != 32:
        raise FormatError(what, f"gives an Ed25519 key of {len(raw)} bytes")
    info = der.sequence(der.sequence(der.oid(OID_ED25519)), der.bit_string(raw))
    return PublicKey.from_spki(info, what)


def ecdsa_as_der(raw: bytes, key: PublicKey, what: str) -> bytes:
    """DER of an ECDSA signature that is bare r and s, as PKCS#11 and JOSE have them."""
    size = COORDINATE_BYTES[key.details]
    if len(raw) != 2 * size:
        raise FormatError(what, f"is {len(raw)} bytes instead of {2 * size}")
    r, s = int.from_bytes(raw[:size]), int.from_bytes(raw[size:])
    return der.sequence(der.integer(r), der.integer(s))


def sha256_info(digest: bytes) -> bytes:
    """The DER DigestInfo that RSA pads and signs, of a SHA-256 digest."""
    return _SHA256_INFO + digest
