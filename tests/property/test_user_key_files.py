# SPDX-License-Identifier: Apache-2.0
"""Whatever a key file or a key's URI says, the outcome is a key or our own error."""

import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.client.keys import cosign, files
from countermark.client.keys.asking import Asking
from countermark.client.keys.key import P256
from countermark.client.keys.local import LocalKey
from countermark.client.keys.pkcs11_uri import KeyURI
from countermark.core.crypto.keys import encode_pem
from countermark.core.errors import CountermarkError

ASKING = Asking(passphrase=lambda what: b"secret")


@cache
def key() -> LocalKey:
    return LocalKey.generate(P256)


@cache
def key_file(as_cosign: bool) -> bytes:
    return files.encode_private_key(key(), b"secret", as_cosign=as_cosign)


@given(
    label=st.sampled_from([files.ENCRYPTED, *files.PLAIN, *cosign.LABELS]),
    data=st.binary(max_size=300),
)
def test_garbage_is_refused(label: str, data: bytes) -> None:
    with pytest.raises(CountermarkError):
        files.decode_private_key(encode_pem(label, data).encode(), ASKING, "key")


@settings(max_examples=40, deadline=None)
@given(as_cosign=st.booleans(), at=st.integers(0, 5000), new=st.binary(max_size=3))
def test_a_damaged_file_is_refused_or_the_same_key(as_cosign: bool, at: int, new: bytes) -> None:
    data = key_file(as_cosign)
    cut = at % len(data)
    try:
        read = files.decode_private_key(data[:cut] + new + data[cut + 1 :], ASKING, "key")
    except CountermarkError:
        return
    assert read.public_key == key().public_key


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@given(kdf=JSON, cipher=JSON, ciphertext=JSON)
def test_any_json_in_place_of_cosigns_is_refused(
    kdf: object, cipher: object, ciphertext: object
) -> None:
    body = json.dumps({"kdf": kdf, "cipher": cipher, "ciphertext": ciphertext}).encode()
    with pytest.raises(CountermarkError):
        cosign.unseal(body, b"secret", "cosign.key")


TEXT = st.text(max_size=20).filter(lambda text: "\x00" not in text and text.isprintable())
URIS = st.builds(
    KeyURI,
    token=st.none() | TEXT,
    manufacturer=st.none() | TEXT,
    serial=st.none() | TEXT,
    model=st.none() | TEXT,
    slot_id=st.none() | st.integers(0, 2**31),
    label=st.none() | TEXT,
    key_id=st.none() | st.binary(max_size=20),
    module_path=st.none(),
    pin=st.none(),
    pin_file=st.none(),
)


@given(URIS)
def test_a_uri_reads_as_it_was_written(uri: KeyURI) -> None:
    assert KeyURI.parse(str(uri)) == uri


@given(st.text(max_size=80) | st.from_regex(r"pkcs11:[a-z=;%?&0-9-]{0,60}", fullmatch=True))
def test_any_text_is_a_uri_or_refused(text: str) -> None:
    for candidate in (text, f"pkcs11:{text}"):
        try:
            uri = KeyURI.parse(candidate)
        except CountermarkError:
            continue
        assert (
            KeyURI.parse(str(uri))._replace(
                module_path=uri.module_path, pin=uri.pin, pin_file=uri.pin_file
            )
            == uri
        )
