# SPDX-License-Identifier: Apache-2.0
"""Keys that everybody can sign with, and signatures with more than one spelling."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from countermark.core.crypto import der
from countermark.core.crypto.ed25519ph import _add, _decode, _encode
from countermark.core.crypto.keys import _SMALL_ORDER, PublicKey
from countermark.core.errors import AlgorithmRefused, FormatError, SignatureInvalid
from tests.support.made_certificates import spki

MODULUS = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519 = bytes.fromhex("302a300506032b6570032100")
PRIME = 2**255 - 19


def rsa_key(modulus: int, exponent: int) -> bytes:
    numbers = der.sequence(der.integer(modulus), der.integer(exponent))
    kind = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL_VALUE)
    return der.sequence(kind, der.bit_string(numbers))


@pytest.mark.parametrize("exponent", [0, 1, 2, 4, 65536, -1, -3, -65537])
def test_refuses_rsa_exponents_that_make_no_key(exponent: int) -> None:
    with pytest.raises(FormatError, match="not a valid key"):
        PublicKey.from_spki(rsa_key(MODULUS, exponent))
    assert PublicKey.from_spki(rsa_key(MODULUS, 65537))


def test_refuses_rsa_numbers_that_are_negative_even_huge_or_followed_by_more() -> None:
    with pytest.raises(FormatError, match="not a valid key"):
        PublicKey.from_spki(rsa_key(-MODULUS, 65537))
    with pytest.raises(AlgorithmRefused, match="exponent has more"):
        PublicKey.from_spki(rsa_key(MODULUS, 2**40 + 1))
    for bits in (1024, 2047, 2049, 8192):
        with pytest.raises(AlgorithmRefused, match="bits are not allowed"):
            PublicKey.from_spki(rsa_key(2**bits - 1, 65537))
    with pytest.raises(FormatError, match="is larger than"):
        PublicKey.from_spki(rsa_key(2**40_000 - 1, 65537))


def order_divides_8(data: bytes) -> bool:
    point = _decode(data)
    assert point is not None
    for _ in range(3):
        point = _add(point, point)
    return _encode(point) == _encode((0, 1, 1, 0))


@pytest.mark.parametrize("sign", [0, 0x80])
def test_refuses_ed25519_keys_that_sign_everything(sign: int) -> None:
    for y in _SMALL_ORDER:
        with pytest.raises(AlgorithmRefused, match="small order"):
            PublicKey.from_spki(ED25519 + y[:31] + bytes((y[31] | sign,)))


def test_the_list_of_small_orders_is_complete() -> None:
    """Twice a point of order 8 has order 4, and so on down: eight points, five y coordinates."""
    reduced = {int.from_bytes(y, "little") % PRIME for y in _SMALL_ORDER}
    assert len(reduced) == 5
    for y in reduced:
        assert order_divides_8(y.to_bytes(32, "little"))
    spellings = {value + extra for value in reduced for extra in (0, PRIME)}
    wanted = {value.to_bytes(32, "little") for value in spellings if value < 2**255}
    assert wanted == _SMALL_ORDER


def padded(value: int) -> bytes:
    return der.encode(der.INTEGER, b"\x00\x00" + value.to_bytes(32))


SPELLINGS: dict[str, Callable[[int, int], bytes]] = {
    "both zero": lambda r, s: encode_dss_signature(0, 0),
    "r zero": lambda r, s: encode_dss_signature(0, s),
    "s zero": lambda r, s: encode_dss_signature(r, 0),
    "r plus order": lambda r, s: encode_dss_signature(r + ORDER_P256, s),
    "s plus order": lambda r, s: encode_dss_signature(r, s + ORDER_P256),
    "negative": lambda r, s: der.sequence(der.integer(-r), der.integer(s)),
    "padded integers": lambda r, s: der.sequence(padded(r), padded(s)),
    "three integers": lambda r, s: der.sequence(*map(der.integer, (r, s, 1))),
    "trailing byte": lambda r, s: encode_dss_signature(r, s) + b"\x00",
    "long length": lambda r, s: b"\x30\x81" + encode_dss_signature(r, s)[1:],
    "indefinite length": lambda r, s: b"\x30\x80" + der.integer(r) + der.integer(s) + b"\x00\x00",
    "raw": lambda r, s: r.to_bytes(32) + s.to_bytes(32),
    "empty": lambda r, s: b"",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_an_ecdsa_signature_has_one_spelling(spelling: Callable[[int, int], bytes]) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    signature = private.sign(b"message", ec.ECDSA(hashes.SHA256()))
    key = PublicKey.from_spki(spki(private))
    key.verify(signature, b"message")
    with pytest.raises(SignatureInvalid):
        key.verify(spelling(*decode_dss_signature(signature)), b"message")
