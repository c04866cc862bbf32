# SPDX-License-Identifier: Apache-2.0
"""What an agent says: a token, or a FormatError, however it is cut up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import FormatError
from countermark.core.wire.spiffe import Conversation, Frame, request

frames = st.builds(
    Frame,
    kind=st.sampled_from([0, 0, 0, 1, 2, 3, 4, 6, 7, 8, 9, 99]),
    flags=st.sampled_from([0, 0, 1, 4, 8, 9, 0xFF]),
    stream=st.sampled_from([0, 1, 1, 1, 3]),
    payload=st.binary(max_size=40),
)


def answer(token: bytes, padding: int = 0) -> list[Frame]:
    svid = b"\x12" + bytes((len(token),)) + token
    message = b"\x18\x07" + b"\x0a" + bytes((len(svid),)) + svid  # an unknown field before it
    body = b"\x00" + len(message).to_bytes(4) + message
    if padding:
        body = bytes((padding,)) + body + bytes(padding)
    return [
        Frame(4, 0, 0, b""),
        Frame(1, 4, 1, b"headers that nobody reads"),
        Frame(0, 8 if padding else 0, 1, body),
        Frame(1, 5, 1, b"trailers"),
    ]


@given(st.text("abc.", min_size=1, max_size=80), st.integers(0, 9), st.integers(1, 30))
def test_the_token_comes_out_however_it_is_cut(token: str, padding: int, piece: int) -> None:
    data = b"".join(frame.encode() for frame in answer(token.encode(), padding))
    talk = Conversation()
    said = b"".join(talk.take(data[at : at + piece]) for at in range(0, len(data), piece))
    assert talk.over
    assert said == Frame(4, 1, 0, b"").encode()  # the settings are acknowledged
    assert talk.token() == token


@given(st.lists(frames, max_size=8) | st.just(answer(b"a.b.c")), st.data())
def test_anything_else_is_refused(said: list[Frame], data: st.DataObject) -> None:
    whole = bytearray(b"".join(frame.encode() for frame in said))
    for _ in range(data.draw(st.integers(0, 3))):
        if whole:
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    talk = Conversation()
    try:
        talk.take(bytes(whole))
        token = talk.token()
    except FormatError:
        return
    assert token.isascii() or "\ufffd" in token


def test_an_endless_answer_is_cut_off() -> None:
    talk = Conversation()
    frame = Frame(0, 0, 1, b"x" * 16_000).encode()
    with pytest.raises(FormatError, match="larger than"):
        talk.take(frame * 10)


def test_the_request_begins_as_http_2_does() -> None:
    said = request("sigstore")
    assert said.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04")
    assert said.endswith(b"\x00\x00\x00\x00\x0a\x0a\x08sigstore")
