# SPDX-License-Identifier: Apache-2.0
"""Frames survive any chopping of the stream; garbage is a FormatError or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.errors import FormatError
from countermark.rpc import framing
from countermark.rpc.framing import Frame, FrameReader

_frames = st.builds(
    Frame,
    st.integers(0, 2**32 - 1),
    st.sampled_from([framing.REQUEST, framing.REPLY, framing.ERROR]),
    st.binary(max_size=300),
)


@given(st.lists(_frames, max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_frames_come_out_as_they_went_in(frames: list[Frame], steps: list[int]) -> None:
    stream = b"".join(framing.serialize(*frame) for frame in frames)
    reader, received, position, turn = FrameReader(), [], 0, 0
    while position < len(stream):
        step = steps[turn % len(steps)]
        received += reader.feed(stream[position : position + step])
        position += step
        turn += 1
    assert received == frames


@given(st.lists(st.binary(min_size=1, max_size=64), max_size=8))
def test_garbage_is_frames_or_a_format_error(chunks: list[bytes]) -> None:
    reader = FrameReader()
    try:
        frames = [frame for chunk in chunks for frame in reader.feed(chunk)]
    except FormatError:
        return
    taken = b"".join(framing.serialize(*frame) for frame in frames)
    assert b"".join(chunks).startswith(taken)


def test_the_largest_payload_passes_and_one_more_byte_does_not() -> None:
    largest = bytes(framing.MAX_PAYLOAD_BYTES)
    reader = FrameReader()
    assert reader.feed(framing.serialize(7, framing.REPLY, largest)) == [(7, 1, largest)]
    with pytest.raises(FormatError, match="are more than"):
        framing.serialize(7, framing.REPLY, largest + b"!")
    announced = (framing.MAX_PAYLOAD_BYTES + 6).to_bytes(4, "big") + bytes(5)
    with pytest.raises(FormatError, match="impossible length"):
        FrameReader().feed(announced)


def test_an_incomplete_frame_is_kept_without_being_copied_again_and_again() -> None:
    """4 MiB in 1 KiB pieces: quadratic copying would take seconds."""
    frame = framing.serialize(1, framing.REQUEST, bytes(framing.MAX_PAYLOAD_BYTES))
    reader = FrameReader()
    received = []
    for position in range(0, len(frame), 1024):
        received += reader.feed(frame[position : position + 1024])
    assert [len(payload) for _, _, payload in received] == [framing.MAX_PAYLOAD_BYTES]
