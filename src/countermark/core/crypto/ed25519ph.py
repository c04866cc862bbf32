# SPDX-License-Identifier: Apache-2.0
"""Checking Ed25519ph signatures (RFC 8032 section 5.1), which `cryptography` cannot.

Verification only: everything here is public, so nothing needs constant time. One check takes a
few milliseconds. Cofactorless, like Go: the recomputed R must equal the signature's own bytes.
"""

import hashlib
from typing import Final, TypeAlias

_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQRT_M1: Final = pow(2, (_P - 1) // 4, _P)
# The prefix dom2 with the prehash flag set and an empty context.
_DOM2: Final = b"SigEd25519 no Ed25519 collisions\x01\x00"

Point: TypeAlias = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, x·y = T/Z."""

_IDENTITY: Final[Point] = (0, 1, 1, 0)


def verify_ed25519ph(public_key: bytes, signature: bytes, digest: bytes) -> bool:
    """Whether `signature` is one over a message with that SHA-512 digest, with an empty context.

    Args:
        public_key: the raw key, 32 bytes.
        signature: 64 bytes.
        digest: SHA-512 of the message, 64 bytes.
    """
    if len(public_key) != 32 or len(signature) != 64 or len(digest) != 64:
        return False
    key = _decode(public_key)
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or scalar >= _L:
        return False
    challenge = hashlib.sha512(_DOM2 + signature[:32] + public_key + digest).digest()
    factor = int.from_bytes(challenge, "little") % _L
    x, y, z, t = key
    return _encode(_two_products(scalar, _BASE, factor, (_P - x, y, z, _P - t))) == signature[:32]


def _decode(data: bytes) -> Point | None:
    number = int.from_bytes(data, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _SQRT_M1 % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


def _encode(point: Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _add(left: Point, right: Point) -> Point:
    # The complete formula of RFC 8032 section 5.1.4: no special cases, doubling included.
    a = (left[1] - left[0]) * (right[1] - right[0]) % _P
    b = (left[1] + left[0]) * (right[1] + right[0]) % _P
    c = 2 * left[3] * right[3] * _D % _P
    d = 2 * left[2] * right[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _two_products(first: int, base: Point, second: int, other: Point) -> Point:
    """``first * base + second * other`` in one pass over the bits of both."""
    table = (_IDENTITY, base, other, _add(base, other))
    result = _IDENTITY
    for bit in range(max(first.bit_length(), second.bit_length()) - 1, -1, -1):
        result = _add(result, result)
        chosen = (first >> bit & 1) | (second >> bit & 1) << 1
        if chosen:
            result = _add(result, table[chosen])
    return result


def _base_point() -> Point:
    point = _decode((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert point is not None
    return point


_BASE: Final = _base_point()
