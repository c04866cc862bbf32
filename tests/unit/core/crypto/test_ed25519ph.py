# SPDX-License-Identifier: Apache-2.0
"""Ed25519ph against RFC 8032's own vector, and against damage."""

import hashlib

import pytest

from countermark.core.crypto.ed25519ph import verify_ed25519ph

# RFC 8032 section 7.3.
KEY = bytes.fromhex("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf")
SIGNATURE = bytes.fromhex(
    "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
    "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
)
DIGEST = hashlib.sha512(b"abc").digest()
ORDER = 2**252 + 27742317777372353535851937790883648493


def test_rfc_8032() -> None:
    assert verify_ed25519ph(KEY, SIGNATURE, DIGEST)


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_every_part_of_the_signature_matters(position: int) -> None:
    damaged = bytearray(SIGNATURE)
    damaged[position] ^= 1
    assert not verify_ed25519ph(KEY, bytes(damaged), DIGEST)


def test_another_message_and_another_key() -> None:
    assert not verify_ed25519ph(KEY, SIGNATURE, hashlib.sha512(b"abd").digest())
    assert not verify_ed25519ph(bytes(32), SIGNATURE, DIGEST)


def test_scalar_has_one_spelling() -> None:
    scalar = int.from_bytes(SIGNATURE[32:], "little") + ORDER
    assert not verify_ed25519ph(KEY, SIGNATURE[:32] + scalar.to_bytes(32, "little"), DIGEST)


def test_a_key_that_is_no_point() -> None:
    assert not verify_ed25519ph(b"\x02" + bytes(31), SIGNATURE, DIGEST)
    assert not verify_ed25519ph(b"\xff" * 32, SIGNATURE, DIGEST)


def test_lengths() -> None:
    assert not verify_ed25519ph(KEY, SIGNATURE[:-1], DIGEST)
    assert not verify_ed25519ph(KEY[:-1], SIGNATURE, DIGEST)
    assert not verify_ed25519ph(KEY, SIGNATURE, DIGEST[:32])
