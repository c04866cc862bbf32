# SPDX-License-Identifier: Apache-2.0
"""Exact text encodings: base64, hex, decimal integers, UTF-8 and RFC 3339 times.

Whatever is signed, hashed or proven has one spelling only. The functions here accept that
spelling and nothing else; the ones named `lenient` accept what upstream servers accept in
requests, and their results are always re-encoded exactly.
"""

import binascii
import re
from base64 import b64encode as _b64encode
from datetime import UTC, datetime

from countermark.core.errors import FormatError

_DECIMAL = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
MAX_INT64 = 2**63 - 1


def to_base64(data: bytes) -> str:
    """Encode as standard padded base64 (RFC 4648 section 4)."""
    return _b64encode(data).decode("ascii")


def from_base64(text: str, what: str, *, length: int | None = None) -> bytes:
    """Decode canonical standard base64. Raises FormatError naming `what`.

    Args:
        text: padded, no white space, zero trailing bits.
        what: the field's name, for the error.
        length: the exact number of bytes expected, if known.
    """
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError) as error:
        raise FormatError(what, "is not standard base64") from error
    if to_base64(data) != text:
        raise FormatError(what, "is not canonical base64")
    if length is not None and len(data) != length:
        raise FormatError(what, f"holds {len(data)} bytes instead of {length}")
    return data


def from_base64_lenient(text: str, what: str) -> bytes:
    """Decode base64 as proto3 JSON readers do: standard or URL-safe, padded or not."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        pass  # not what nearly everybody writes
    folded = text.replace("\r", "").replace("\n", "").replace("-", "+").replace("_", "/")
    folded = folded.rstrip("=")
    return from_base64_bits(folded + "=" * (-len(folded) % 4), what)


def from_base64_bits(text: str, what: str) -> bytes:
    """Decode padded standard base64, forgiving non-zero trailing bits only."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise FormatError(what, "is not base64") from error


def from_hex(text: str, what: str, *, length: int | None = None) -> bytes:
    """Decode lower-case hex. Raises FormatError naming `what`."""
    if length is not None and len(text) != 2 * length:
        raise FormatError(what, f"has {len(text)} hexadecimal digits instead of {2 * length}")
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if data.hex() != text:  # it also reads capitals and white space
        raise FormatError(what, "is not lower-case hexadecimal")
    return data


def from_decimal(text: str, what: str, *, maximum: int = MAX_INT64) -> int:
    """Read a canonical non-negative decimal integer: ``0|[1-9][0-9]*``, at most `maximum`."""
    if len(text) > 20 or not _DECIMAL.fullmatch(text):
        raise FormatError(what, f"{text[:32]!r} is not a canonical decimal integer")
    value = int(text)
    if value > maximum:
        raise FormatError(what, f"{value} is larger than {maximum}")
    return value


def from_utf8(data: bytes, what: str) -> str:
    """Decode strict UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(what, "is not UTF-8") from error


def to_rfc3339(time: datetime) -> str:
    """Encode an aware time as RFC 3339 in UTC, with milliseconds only where there are some."""
    utc = time.astimezone(UTC).replace(tzinfo=None)
    # `strftime` would not pad years before 1000.
    return utc.isoformat(timespec="milliseconds" if utc.microsecond >= 1000 else "seconds") + "Z"


def from_rfc3339(text: str, what: str) -> datetime:
    """Read an RFC 3339 time; digits beyond microseconds are dropped."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise FormatError(what, f"{text[:40]!r} is not an RFC 3339 time")
    date, time, fraction, zone = match.groups()
    micros = (fraction or "0")[:6].ljust(6, "0")
    offset = "+00:00" if zone in "Zz" else zone
    try:
        return datetime.fromisoformat(f"{date}T{time}.{micros}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise FormatError(what, f"{text[:40]!r} is not a possible time") from error
