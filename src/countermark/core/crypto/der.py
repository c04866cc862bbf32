# SPDX-License-Identifier: Apache-2.0
"""DER (X.690): a strict reader over a buffer and small functions that write.

Only what X.509, CMS and RFC 3161 need. Lengths are definite and minimal, tags have one byte;
anything else is a FormatError. `cryptography.x509` does the same and more, but costs most of
a single verification's time to import, and cannot write a certificate around a precertificate.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, Self

from countermark.core.errors import FormatError

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = (
    0x01,
    0x02,
    0x03,
    0x04,
    0x05,
    0x06,
)
UTF8_STRING, PRINTABLE_STRING, IA5_STRING = 0x0C, 0x13, 0x16
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31

_UTC_TIME = re.compile(rb"\d{12}Z")
_GENERALIZED_TIME = re.compile(rb"(\d{14})(?:\.(\d{0,5}[1-9]))?Z")
_MAX_OID_BYTES = 128  # GHSA-4qg8-fj49-pxjh: unbounded OIDs cost unbounded memory upstream


def context(number: int, *, constructed: bool = True) -> int:
    """The tag byte of context-specific ``[number]``."""
    return 0x80 | (0x20 if constructed else 0) | number


class Element(NamedTuple):
    """One decoded tag-length-value.

    Attributes:
        tag: the tag byte, class and constructed bit included.
        content: the value's bytes.
        encoded: the whole element as it stood in the input.
    """

    tag: int
    content: bytes
    encoded: bytes

    def expect(self, tag: int, what: str) -> Self:
        """This element, if it has that tag."""
        if self.tag != tag:
            raise _unexpected(self.tag, tag, what)
        return self

    def reader(self, what: str) -> "Reader":
        """A reader over the content of a constructed element."""
        if not self.tag & 0x20:
            raise FormatError(what, f"DER tag 0x{self.tag:02x} is not constructed")
        return Reader(self.content, what)


class Reader:
    """Reads the elements of a buffer one after the other; every fault is a FormatError."""

    __slots__ = ("_data", "_position", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._position = 0
        self._what = what

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._position < len(self._data)

    def peek(self) -> int:
        """The tag of the next element, or -1 at the end."""
        position, data = self._position, self._data
        return data[position] if position < len(data) else -1

    def read(self, tag: int | None = None) -> Element:
        """The next element, of that tag if one is given."""
        position, data = self._position, self._data
        found, start, end = header(data, position, len(data), self._what)
        self._position = end
        element = Element(found, data[start:end], data[position:end])
        return element if tag is None or found == tag else element.expect(tag, self._what)

    def content(self, tag: int) -> bytes:
        """The content of the next element, which must have that tag."""
        data, position = self._data, self._position
        # The short form by hand: nearly every element is below 128 bytes, and calls are dear.
        if position + 1 < len(data) and data[position + 1] < 0x80 and data[position] == tag:
            start = position + 2
            end = start + data[position + 1]
            if end <= len(data):
                self._position = end
                return data[start:end]
        found, start, self._position = header(data, position, len(data), self._what)
        if found != tag:
            raise _unexpected(found, tag, self._what)
        return data[start : self._position]

    def optional(self, tag: int) -> Element | None:
        """The next element if it has that tag, else None (and nothing is consumed)."""
        position, data = self._position, self._data
        return self.read() if position < len(data) and data[position] == tag else None

    def sequence(self) -> "Reader":
        """A reader over the next element, which must be a SEQUENCE."""
        return Reader(self.content(SEQUENCE), self._what)

    def integer(self) -> int:
        """The next element as a signed INTEGER."""
        return _integer(self.content(INTEGER), self._what)

    def oid(self) -> str:
        """The next element as a dotted OBJECT IDENTIFIER."""
        return dotted(self.content(OID), self._what)

    def end(self) -> None:
        """Raise unless everything was read."""
        if self:
            raise FormatError(self._what, "DER has trailing bytes")


def header(data: bytes, position: int, limit: int, what: str) -> tuple[int, int, int]:
    """Tag, and start and end of the content, of the element at `position`.

    For loops that must be fast: no copy is made. The element ends at `limit` or before.
    """
    start = position + 2
    if start > limit:
        raise FormatError(what, "DER ends early")
    tag, length = data[position], data[position + 1]
    if length >= 0x80:
        start, length = _long_length(data, start, limit, what)
    end = start + length
    if end > limit:
        raise FormatError(what, "DER ends early")
    if tag & 0x1F == 0x1F:
        raise FormatError(what, "DER has a multi-byte tag")
    return tag, start, end


def _long_length(data: bytes, start: int, limit: int, what: str) -> tuple[int, int]:
    size = data[start - 1] & 0x7F
    if not 1 <= size <= 4:
        raise FormatError(what, "DER length is indefinite or too long")
    length = int.from_bytes(data[start : start + size])
    start += size
    if start > limit or length < 0x80 or length >> (8 * (size - 1)) == 0:
        raise FormatError(what, "DER length is not minimal")
    return start, length


def decode(data: bytes, what: str, tag: int | None = None) -> Element:
    """Decode exactly one element that fills the whole buffer."""
    found, start, end = header(data, 0, len(data), what)
    if end != len(data):
        raise FormatError(what, "DER has trailing bytes")
    element = Element(found, data[start:], data)
    return element if tag is None or found == tag else element.expect(tag, what)


def decode_integer(element: Element, what: str) -> int:
    """Signed value of an INTEGER with minimal content."""
    return _integer(element.expect(INTEGER, what).content, what)


def _integer(content: bytes, what: str) -> int:
    if not content:
        raise FormatError(what, "DER integer is empty")
    if len(content) > 1 and content[0] == (0xFF if content[1] & 0x80 else 0):
        raise FormatError(what, "DER integer is not minimal")
    return int.from_bytes(content, signed=True)


def _unexpected(found: int, tag: int, what: str) -> FormatError:
    return FormatError(what, f"DER tag is 0x{found:02x} instead of 0x{tag:02x}")


def decode_oid(element: Element, what: str) -> str:
    """Dotted form of an OBJECT IDENTIFIER."""
    return dotted(element.expect(OID, what).content, what)


@lru_cache(maxsize=512)
def dotted(content: bytes, what: str) -> str:
    """Dotted form of an OBJECT IDENTIFIER's content. A certificate repeats a few dozen of them."""
    if not content or content[-1] & 0x80 or len(content) > _MAX_OID_BYTES:
        raise FormatError(what, "DER object identifier is malformed")
    arcs: list[int] = []
    value = 0
    fresh = True
    for byte in content:
        if fresh and byte == 0x80:
            raise FormatError(what, "DER object identifier is not minimal")
        value = value << 7 | byte & 0x7F
        fresh = not byte & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    root = min(arcs[0] // 40, 2)
    return ".".join(map(str, (root, arcs[0] - 40 * root, *arcs[1:])))


def decode_bit_string(element: Element, what: str) -> bytes:
    """Bytes of a BIT STRING without unused bits."""
    content = element.expect(BIT_STRING, what).content
    if not content or content[0] != 0:
        raise FormatError(what, "DER bit string has unused bits")
    return content[1:]


def decode_time(element: Element, what: str) -> datetime:
    """A UTCTime or GeneralizedTime (fractions cut to microseconds) as an aware UTC time."""
    if element.tag == UTC_TIME and _UTC_TIME.fullmatch(element.content):
        century = b"19" if element.content >= b"50" else b"20"  # RFC 5280 section 4.1.2.5.1
        digits, fraction = century + element.content[:-1], b"0"
    elif element.tag == GENERALIZED_TIME and (
        match := _GENERALIZED_TIME.fullmatch(element.content)
    ):
        digits, fraction = match[1], match[2] or b"0"
    else:
        raise FormatError(what, "DER time is malformed")
    month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    micros = int(fraction.ljust(6, b"0"))
    try:  # by hand: `datetime.strptime` costs 10 ms to import
        return datetime(int(digits[:4]), month, day, hour, minute, second, micros, UTC)
    except ValueError as error:
        raise FormatError(what, "DER time is impossible") from error


def encode(tag: int, content: bytes) -> bytes:
    """One element."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size) + content


def sequence(*elements: bytes) -> bytes:
    """A SEQUENCE of encoded elements."""
    return encode(SEQUENCE, b"".join(elements))


def set_of(*elements: bytes) -> bytes:
    """A SET OF, its elements in DER order."""
    return encode(SET, b"".join(sorted(elements)))


def integer(value: int) -> bytes:
    """A signed INTEGER."""
    size = (value.bit_length() if value >= 0 else (value + 1).bit_length()) // 8 + 1
    return encode(INTEGER, value.to_bytes(size, signed=True))


def boolean(value: bool) -> bytes:
    """A BOOLEAN. DER leaves out values that equal their default: that is the caller's to do."""
    return b"\x01\x01\xff" if value else b"\x01\x01\x00"


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form (trusted input)."""
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        group = [arc & 0x7F]
        while arc := arc >> 7:
            group.append(0x80 | arc & 0x7F)
        content += bytes(reversed(group))
    return encode(OID, bytes(content))


def octet_string(data: bytes) -> bytes:
    """An OCTET STRING."""
    return encode(OCTET_STRING, data)


def bit_string(data: bytes, *, unused_bits: int = 0) -> bytes:
    """A BIT STRING; `unused_bits` low bits of the last byte are not part of it."""
    return encode(BIT_STRING, bytes((unused_bits,)) + data)


def utf8_string(text: str) -> bytes:
    """A UTF8String."""
    return encode(UTF8_STRING, text.encode("utf-8"))


def x509_time(time: datetime) -> bytes:
    """A Time as certificates hold it: UTCTime through 2049, then GeneralizedTime."""
    utc = time.astimezone(UTC)
    if 1950 <= utc.year < 2050:
        return encode(UTC_TIME, utc.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    return generalized_time(utc)


def generalized_time(time: datetime) -> bytes:
    """A GeneralizedTime in whole seconds."""
    utc = time.astimezone(UTC)
    # `strftime` would not pad years before 1000.
    text = f"{utc.year:04d}{utc:%m%d%H%M%SZ}"
    return encode(GENERALIZED_TIME, text.encode("ascii"))


NULL_VALUE = b"\x05\x00"
