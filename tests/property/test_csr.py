# SPDX-License-Identifier: Apache-2.0
"""Certification requests: any bytes are a request or a FormatError."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.crypto import der
from countermark.core.errors import CountermarkError, FormatError
from countermark.core.identity.csr import CertificationRequest
from tests.support.authority import make_chain, spki

KEY = spki(make_chain().issuing_key)
INFO = der.sequence(der.integer(0), der.sequence(), KEY, der.encode(der.context(0), b""))
GOOD = der.sequence(
    INFO, der.sequence(der.oid("1.2.840.10045.4.3.2")), der.bit_string(b"signature")
)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        CertificationRequest.parse(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)))
def test_damaged_requests(position: int, value: int, length: int) -> None:
    damaged = bytearray(GOOD)
    damaged[position] = value
    with contextlib.suppress(FormatError):
        csr = CertificationRequest.parse(bytes(damaged))
        assert csr.info in bytes(damaged)
    with contextlib.suppress(CountermarkError):
        CertificationRequest.parse(GOOD[:length])
