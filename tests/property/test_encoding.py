# SPDX-License-Identifier: Apache-2.0
"""Text encodings, keys and canonical JSON: round trips, one spelling, typed refusals."""

import contextlib
import json
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from countermark.core import encoding
from countermark.core.canonical_json import canonical_json
from countermark.core.crypto.keys import PublicKey, decode_pem, decode_pem_blocks, encode_pem
from countermark.core.errors import AlgorithmRefused, FormatError, SignatureInvalid
from tests.property.test_certificate import damaged

W = "test"
ANY_TEXT = st.text(st.characters(), max_size=24)
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC)
)
RSA = rsa.generate_private_key(65537, 2048)
KEYS: list[Any] = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    ed25519.Ed25519PrivateKey.generate(),
    RSA,
]
SPKIS = [
    key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in KEYS
]


@given(st.binary(max_size=64))
def test_base64_and_hex_round_trip(data: bytes) -> None:
    text = encoding.to_base64(data)
    assert encoding.from_base64(text, W) == data
    assert encoding.from_base64(text, W, length=len(data)) == data
    assert encoding.from_hex(data.hex(), W, length=len(data)) == data
    for spelling in (text, text.rstrip("="), urlsafe_b64encode(data).decode(), f"{text}\r\n"):
        assert encoding.from_base64_lenient(spelling, W) == data
    for read, spelling in ((encoding.from_base64, text), (encoding.from_hex, data.hex())):
        with pytest.raises(FormatError):
            read(spelling, W, length=len(data) + 1)


@given(ANY_TEXT | st.binary(max_size=12).map(lambda data: b64encode(data).decode()[:-1] + "="))
def test_exact_encodings_have_one_spelling(text: str) -> None:
    with contextlib.suppress(FormatError):
        assert encoding.to_base64(encoding.from_base64(text, W)) == text
    with contextlib.suppress(FormatError):
        assert encoding.from_hex(text, W).hex() == text
    with contextlib.suppress(FormatError):
        assert str(encoding.from_decimal(text, W)) == text
    with contextlib.suppress(FormatError):
        encoding.from_base64_lenient(text, W)
    with contextlib.suppress(FormatError):
        encoding.from_rfc3339(text, W)


@given(st.binary(max_size=20))
def test_utf8(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert encoding.from_utf8(data, W).encode() == data


@given(st.integers(0, encoding.MAX_INT64))
def test_decimals_round_trip(value: int) -> None:
    assert encoding.from_decimal(str(value), W) == value
    with pytest.raises(FormatError, match="larger than"):
        encoding.from_decimal(str(value + 1), W, maximum=value)
    for bad in (f"0{value}", f"+{value}", f"-{value}", f" {value}", f"{value}\n", "٤٢", "4_2"):
        with pytest.raises(FormatError):
            encoding.from_decimal(bad, W)


@given(TIMES)
def test_times_round_trip(time: datetime) -> None:
    assert encoding.from_rfc3339(encoding.to_rfc3339(time), W) == time


@pytest.mark.parametrize(
    "text", ["2026-02-30T00:00:00Z", "0001-01-01T00:00:00+23:00", "2026-01-01"]
)
def test_impossible_times(text: str) -> None:
    with pytest.raises(FormatError):
        encoding.from_rfc3339(text, W)


@given(st.from_regex(r"[A-Z]{1,9}( [A-Z]{1,9})?", fullmatch=True), st.binary(min_size=1))
def test_pem_round_trips(label: str, data: bytes) -> None:
    text = encode_pem(label, data)
    assert decode_pem(text, W) == (label, data)
    assert max(map(len, text.splitlines()[1:-1])) <= 64
    assert decode_pem_blocks(text + "\n" + text, W) == [(label, data)] * 2


@given(damaged(encode_pem("PUBLIC KEY", SPKIS[0]).encode()) | st.binary(max_size=80))
def test_damaged_pem(data: bytes) -> None:
    with contextlib.suppress(FormatError, AlgorithmRefused):
        PublicKey.from_pem(data.decode("latin-1"))


@given(st.sampled_from(SPKIS).flatmap(damaged) | st.binary(max_size=80))
def test_damaged_keys(data: bytes) -> None:
    with contextlib.suppress(FormatError, AlgorithmRefused):
        key = PublicKey.from_spki(data)
        assert PublicKey.from_pem(key.to_pem()) == key
        with contextlib.suppress(SignatureInvalid):
            key.verify(b"signature", b"message")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_keys_check_signatures(key: Any) -> None:
    public = PublicKey.from_spki(SPKIS[KEYS.index(key)])
    algorithm = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    if not public.hash_name:
        signature = key.sign(b"message")
    elif key is RSA:
        signature = key.sign(b"message", padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(b"message", ec.ECDSA(algorithm[public.hash_name]))
    public.verify(signature, b"message")
    for bad in (signature[:-1], b"", bytes(len(signature)), signature + b"\x00"):
        with pytest.raises(SignatureInvalid):
            public.verify(bad, b"message")
    with pytest.raises(SignatureInvalid):
        public.verify(signature, b"other")
    if public.hash_name:
        digest = hashes.Hash(algorithm[public.hash_name])
        digest.update(b"message")
        public.verify_digest(signature, digest.finalize(), public.hash_name)
        with pytest.raises(SignatureInvalid):
            public.verify_digest(signature, b"short", public.hash_name)
    else:
        with pytest.raises(AlgorithmRefused):
            public.verify_digest(signature, bytes(32), "sha256")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_canonical_json(value: Any) -> None:
    with contextlib.suppress(FormatError):
        data = canonical_json(value)
        assert json.loads(data) == value
        assert canonical_json(json.loads(data)) == data


@pytest.mark.parametrize("value", [1.5, 2**53, -(2**53), "\ud800", {"\ud800": 1}, {1: 2}, b"x"])
def test_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(FormatError):
        canonical_json(value)


def test_canonical_keys_are_sorted_by_utf16() -> None:
    # RFC 8785 section 3.2.3: U+1F600 is a surrogate pair, so it sorts before U+FB33.
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2, "é": 3, "1": 4}) == (
        '{"1":4,"é":3,"\U0001f600":2,"\ufb33":1}'.encode()
    )
