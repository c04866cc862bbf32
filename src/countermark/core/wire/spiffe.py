# SPDX-License-Identifier: Apache-2.0
"""One call of the SPIFFE Workload API, `FetchJWTSVID`, as bytes in both directions.

gRPC over HTTP/2 (RFC 9113), as little of it as one unary call with a short answer needs: literal
header fields only, no flow control beyond the initial window, headers of the answer not looked at.
What the agent says of a refusal is in those headers, so here it is just no answer.
"""

from typing import Final, NamedTuple

from countermark.core.errors import FormatError

_WHAT: Final = "SPIFFE agent's answer"
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_PATH: Final = "/SpiffeWorkloadAPI/FetchJWTSVID"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_ACK, _END_STREAM, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_STREAM: Final = 1
_HEADER_BYTES: Final = 9
_MAX_FRAME: Final = 16 * 1024
MAX_ANSWER_BYTES: Final = 64 * 1024


class Frame(NamedTuple):
    """One HTTP/2 frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def encode(self) -> bytes:
        """As bytes."""
        head = len(self.payload).to_bytes(3) + bytes((self.kind, self.flags))
        return head + self.stream.to_bytes(4) + self.payload


def request(audience: str) -> bytes:
    """All that the client has to say: the preface, its settings, and the call."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": _PATH,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
        "workload.spiffe.io": "true",
    }
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers.items())
    message = b"\x0a" + _text(audience)  # JWTSVIDRequest.audience
    body = b"\x00" + len(message).to_bytes(4) + message
    frames = (
        Frame(_SETTINGS, 0, 0, b""),
        Frame(_HEADERS, _END_HEADERS, _STREAM, block),
        Frame(_DATA, _END_STREAM, _STREAM, body),
    )
    return _PREFACE + b"".join(frame.encode() for frame in frames)


class Conversation:
    """The agent's side of the call, taken in as it comes."""

    def __init__(self) -> None:
        self._pending = b""
        self._body = b""
        self.over = False

    def take(self, data: bytes) -> bytes:
        """Take bytes in; gives what must be sent back. Raises FormatError."""
        self._pending += data
        answer = b""
        while len(self._pending) >= _HEADER_BYTES and not self.over:
            length = int.from_bytes(self._pending[:3])
            if length > _MAX_FRAME:
                raise FormatError(_WHAT, "has a frame that is too large")
            if len(self._pending) < _HEADER_BYTES + length:
                break
            kind, flags = self._pending[3], self._pending[4]
            stream = int.from_bytes(self._pending[5:9]) & 0x7FFFFFFF
            payload = self._pending[_HEADER_BYTES : _HEADER_BYTES + length]
            self._pending = self._pending[_HEADER_BYTES + length :]
            answer += self._frame(Frame(kind, flags, stream, payload))
        return answer

    def token(self) -> str:
        """The first JWT of the answer. Raises FormatError if there is none."""
        if not self._body:
            raise FormatError(_WHAT, "holds no token")
        length = int.from_bytes(self._body[1:5])
        if self._body[0] or len(self._body) != 5 + length:
            raise FormatError(_WHAT, "is not one plain gRPC message")
        svid = _field(self._body[5:], 1)
        return _field(svid, 2).decode("ascii", "replace")

    def _frame(self, frame: Frame) -> bytes:
        if frame.kind == _SETTINGS and not frame.flags & _ACK:
            return Frame(_SETTINGS, _ACK, 0, b"").encode()
        if frame.kind == _PING and not frame.flags & _ACK:
            return Frame(_PING, _ACK, 0, frame.payload).encode()
        if frame.kind == _GOAWAY or (frame.kind == _RESET and frame.stream == _STREAM):
            self.over = True
        elif frame.stream == _STREAM and frame.kind in (_DATA, _HEADERS):
            if frame.kind == _DATA:
                self._body += _unpadded(frame)
                if len(self._body) > MAX_ANSWER_BYTES:
                    raise FormatError(_WHAT, f"is larger than {MAX_ANSWER_BYTES} bytes")
            self.over = bool(frame.flags & _END_STREAM)
        return b""


def _text(text: str) -> bytes:
    data = text.encode("ascii")
    if len(data) >= 127:  # more would need another form of length
        raise FormatError("audience", "is too long")
    return bytes((len(data),)) + data


def _unpadded(frame: Frame) -> bytes:
    if not frame.flags & _PADDED:
        return frame.payload
    if not frame.payload or frame.payload[0] >= len(frame.payload):
        raise FormatError(_WHAT, "has a frame of padding alone")
    return frame.payload[1 : len(frame.payload) - frame.payload[0]]


def _field(message: bytes, wanted: int) -> bytes:
    """The first length-delimited protobuf field of that number. Raises FormatError."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if key & 7 == 2:
            length, place = _varint(message, place)
            if length > len(message) - place:
                break
            if key >> 3 == wanted:
                return message[place : place + length]
            place += length
        elif key & 7 == 0:
            _, place = _varint(message, place)
        elif key & 7 in (1, 5):
            place += 8 if key & 7 == 1 else 4
        else:
            break
    raise FormatError(_WHAT, "holds no token")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise FormatError(_WHAT, "has a broken number")
