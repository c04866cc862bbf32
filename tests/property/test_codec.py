# SPDX-License-Identifier: Apache-2.0
"""Keeper messages: round trips, errors as the same class, garbage as FormatError only."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core import errors
from countermark.core.errors import CountermarkError, FormatError
from countermark.rpc import codec
from countermark.rpc.message import Request, reply_type


class Kept(msgspec.Struct, frozen=True):
    index: int
    proof: tuple[bytes, ...]


class Keep(Request[Kept], tag="test.keep", frozen=True):
    record: bytes
    keys: tuple[bytes, ...] = ()


class Forget(Request[Kept], tag="test.forget", frozen=True):
    name: str


async def _unused(request: Keep) -> Kept:
    raise AssertionError(request)


_decoder = codec.RequestDecoder({Keep: _unused, Forget: _unused})
_requests = st.builds(Keep, st.binary(), st.lists(st.binary()).map(tuple)) | st.builds(
    Forget, st.text()
)
_errors = st.one_of(
    st.builds(FormatError, st.text(), st.text()),
    st.builds(errors.DuplicateEntry, st.text(), st.integers(0, 2**63 - 1)),
    st.builds(errors.Pushback, st.text(), st.integers(0, 100)),
    st.builds(errors.NotFound, st.text()),
    st.builds(errors.OutcomeUnknown, st.text()),
    st.builds(CountermarkError),
)


@given(_requests)
def test_requests_round_trip(request: Request[Kept]) -> None:
    assert _decoder.decode(codec.encode(request)) == request


@given(st.builds(Kept, st.integers(0, 2**63 - 1), st.lists(st.binary()).map(tuple)))
def test_replies_round_trip(reply: Kept) -> None:
    assert codec.decode_reply(Keep, codec.encode(reply)) == reply


@given(_errors)
def test_errors_arrive_as_what_they_were(error: CountermarkError) -> None:
    arrived = codec.decode_error(codec.encode_error(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


@given(st.binary(max_size=200))
def test_garbage_is_a_format_error(data: bytes) -> None:
    for decode in (
        _decoder.decode,
        lambda data: codec.decode_reply(Keep, data),
        codec.decode_error,
    ):
        try:
            value = decode(data)
        except FormatError:
            continue
        assert isinstance(value, (Keep, Forget, Kept, CountermarkError))


@given(st.text(), st.sampled_from(["__class__", "_private", "not a name", ""]))
def test_an_error_cannot_set_what_is_not_an_attribute_of_ours(code: str, name: str) -> None:
    with pytest.raises(FormatError):
        codec.decode_error(msgspec.msgpack.encode([code, "message", {name: 1}]))


def test_an_unknown_code_is_still_one_of_our_errors() -> None:
    arrived = codec.decode_error(msgspec.msgpack.encode(["of-a-later-version", "told", {}]))
    assert type(arrived) is CountermarkError
    assert str(arrived) == "told"


def test_a_request_must_say_its_reply() -> None:
    assert reply_type(Keep) is Kept

    class Silent(Request, tag="test.silent", frozen=True):  # type: ignore[type-arg]
        pass

    with pytest.raises(TypeError, match="Silent does not say"):
        reply_type(Silent)
