# SPDX-License-Identifier: Apache-2.0
"""Timestamp requests: what is written is read back; garbage is a value or our error."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import CountermarkError
from countermark.core.tsp.request import DIGEST_BYTES, SIGSTORE_POLICY, TimestampRequest
from countermark.core.wire.tsa import Refusal, request_from_json, request_to_json


@st.composite
def requests(draw: st.DrawFn) -> TimestampRequest:
    name = draw(st.sampled_from(sorted(DIGEST_BYTES)))
    length = DIGEST_BYTES[name]
    arcs = st.lists(st.integers(0, 10**17), min_size=1, max_size=20)
    policies = arcs.map(lambda rest: "2." + ".".join(map(str, rest)))
    return TimestampRequest(
        name,
        draw(st.binary(min_size=length, max_size=length)),
        draw(st.none() | st.integers(-(2**511) + 1, 2**511 - 1)),
        draw(st.none() | st.just(SIGSTORE_POLICY) | policies),
        draw(st.booleans()),
    )


@given(requests())
def test_der_round_trip(request: TimestampRequest) -> None:
    assert TimestampRequest.parse(request.serialize()) == request


@given(requests())
def test_json_round_trip(request: TimestampRequest) -> None:
    assert request_from_json(request_to_json(request)) == request


@given(requests(), st.data())
def test_damaged_queries(request: TimestampRequest, data: st.DataObject) -> None:
    damaged = bytearray(request.serialize())
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CountermarkError):
        read = TimestampRequest.parse(bytes(damaged))
        assert TimestampRequest.parse(read.serialize()) == read


@given(st.binary(max_size=200))
def test_garbage_queries(data: bytes) -> None:
    for parse in (TimestampRequest.parse, request_from_json):
        with contextlib.suppress(CountermarkError):
            parse(data)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
NAMES = ("artifactHash", "hashAlgorithm", "nonce", "tsaPolicyOID", "certificates", "other")


@given(st.dictionaries(st.sampled_from(NAMES), JSON_VALUES))
def test_wrongly_typed_json(fields: dict[str, object]) -> None:
    with contextlib.suppress(CountermarkError):
        request_from_json(json.dumps(fields).encode())


@given(st.integers(100, 999), st.text(max_size=200))
def test_refusal_round_trip(code: int, message: str) -> None:
    with contextlib.suppress(UnicodeEncodeError):
        refusal = Refusal(code, message)
        assert Refusal.parse(refusal.serialize(), 400) == refusal


@given(st.binary(max_size=100))
def test_garbage_refusals(data: bytes) -> None:
    assert isinstance(Refusal.parse(data, 502), Refusal)
