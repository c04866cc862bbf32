# SPDX-License-Identifier: Apache-2.0
"""What a file signer signs verifies, and nothing else does; garbage files are refused."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.crypto.keys import encode_pem
from countermark.core.errors import CountermarkError, SignatureInvalid
from countermark.drivers.keys.file import (
    ED25519,
    P256,
    P384,
    RSA_2048,
    FileSigner,
    create_key,
    load_signer,
)

ALGORITHMS = [P256, P384, ED25519, RSA_2048]


@cache
def key_file(algorithm: str) -> bytes:
    with TemporaryDirectory() as folder:
        create_key(Path(folder, "key.pem"), algorithm, b"secret")
        return Path(folder, "key.pem").read_bytes()


@cache
def signer(algorithm: str) -> FileSigner:
    return load(key_file(algorithm), b"secret")


def load(data: bytes, passphrase: bytes) -> FileSigner:
    with TemporaryDirectory() as folder:
        path = Path(folder, "key.pem")
        path.touch(0o600)
        path.write_bytes(data)
        return load_signer(path, passphrase)


@given(algorithm=st.sampled_from(ALGORITHMS), message=st.binary(max_size=4096))
def test_signature_verifies(algorithm: str, message: bytes) -> None:
    signer(algorithm).public_key.verify(signer(algorithm).sign(message), message)


@given(
    algorithm=st.sampled_from(ALGORITHMS),
    message=st.binary(max_size=256),
    other=st.binary(max_size=256),
)
def test_signature_is_over_that_message_alone(algorithm: str, message: bytes, other: bytes) -> None:
    signature = signer(algorithm).sign(message)
    if other != message:
        with pytest.raises(SignatureInvalid):
            signer(algorithm).public_key.verify(signature, other)


@given(algorithm=st.sampled_from(ALGORITHMS), message=st.binary(max_size=256))
def test_signature_is_of_that_key_alone(algorithm: str, message: bytes) -> None:
    signature = signer(algorithm).sign(message)
    for other in ALGORITHMS:
        if other != algorithm:
            with pytest.raises(SignatureInvalid):
                signer(other).public_key.verify(signature, message)


@given(data=st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(CountermarkError):
        load(data, b"secret")
    with pytest.raises(CountermarkError):
        load(encode_pem("ENCRYPTED PRIVATE KEY", data).encode(), b"secret")


@given(
    algorithm=st.sampled_from([P256, ED25519]),
    position=st.integers(0, 10_000),
    replacement=st.binary(min_size=0, max_size=3),
)
def test_damaged_key_file_is_refused_or_the_same_key(
    algorithm: str, position: int, replacement: bytes
) -> None:
    data = key_file(algorithm)
    cut = position % len(data)
    damaged = data[:cut] + replacement + data[cut + 1 :]
    try:
        loaded = load(damaged, b"secret")
    except CountermarkError:
        return
    # White space and the like do no harm.
    assert loaded.public_key == signer(algorithm).public_key
    loaded.public_key.verify(loaded.sign(b"message"), b"message")


@given(passphrase=st.binary(min_size=1, max_size=64))
def test_any_other_passphrase_is_refused(passphrase: bytes) -> None:
    if passphrase != b"secret":
        with pytest.raises(CountermarkError):
            load(key_file(P256), passphrase)
