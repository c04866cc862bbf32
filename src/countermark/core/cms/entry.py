# SPDX-License-Identifier: Apache-2.0
"""A log entry as gitsign puts it into signatures: Sigstore's `TransparencyLogEntry` in protobuf.

The canonical body is left out, since it repeats the signature that it travels in; whoever reads
the entry rebuilds it. Unknown fields are passed over, as in every protobuf reader; what is
there twice, or of another type, is refused.
"""

from collections.abc import Iterator
from typing import TypeAlias

from countermark.core.bundle.bundle import (
    MAX_PROOF_HASHES,
    InclusionProof,
    TransparencyLogEntry,
)
from countermark.core.encoding import MAX_INT64, from_utf8
from countermark.core.errors import FormatError

_WHAT = "log entry in a signature"
_MAX_FIELDS = 256
_VARINT, _BYTES = 0, 2  # the only wire types that these messages use
_Value: TypeAlias = int | bytes
_Message: TypeAlias = dict[int, list[_Value]]


def encode_entry(entry: TransparencyLogEntry) -> bytes:
    """Protobuf of an entry, without its body."""
    message = (
        _integer(1, entry.log_index)
        + _bytes(2, _bytes(1, entry.log_id))
        + _bytes(3, _bytes(1, entry.kind.encode()) + _bytes(2, entry.version.encode()))
        + _integer(4, entry.integrated_time)
    )
    if entry.inclusion_promise:
        message += _bytes(5, _bytes(1, entry.inclusion_promise))
    proof = entry.inclusion_proof
    if proof is None:
        return message
    encoded = (
        _integer(1, proof.log_index)
        + _bytes(2, proof.root_hash)
        + _integer(3, proof.tree_size)
        + b"".join(_bytes(4, item) for item in proof.hashes)
        + _bytes(5, _bytes(1, proof.checkpoint.encode()))
    )
    return message + _bytes(6, encoded)


def parse_entry(data: bytes) -> TransparencyLogEntry:
    """Read what `encode_entry` writes; the body is as it was found, mostly empty.

    Raises FormatError.
    """
    message = _fields(data)
    kind = _message(message, 3)
    proof = _message(message, 6) if message.get(6) else None
    return TransparencyLogEntry(
        _one_integer(message, 1),
        _one_bytes(_message(message, 2), 1, length=32),
        _one_text(kind, 1),
        _one_text(kind, 2),
        _one_integer(message, 4),
        _one_bytes(_message(message, 5), 1),
        None if proof is None else _proof(proof),
        _one_bytes(message, 7),
    )


def _proof(message: _Message) -> InclusionProof:
    hashes = message.get(4, [])
    if len(hashes) > MAX_PROOF_HASHES:
        raise FormatError(_WHAT, f"has a proof of more than {MAX_PROOF_HASHES} hashes")
    return InclusionProof(
        _one_integer(message, 1),
        _one_bytes(message, 2, length=32),
        _one_integer(message, 3),
        tuple(_hash(item) for item in hashes),
        _one_text(_message(message, 5), 1),
    )


def _hash(value: _Value) -> bytes:
    if not isinstance(value, bytes) or len(value) != 32:
        raise FormatError(_WHAT, "has a proof hash that is not 32 bytes")
    return value


def _fields(data: bytes) -> _Message:
    """Every field's values, in order."""
    message: _Message = {}
    for count, (number, value) in enumerate(_pairs(data)):
        if count == _MAX_FIELDS:
            raise FormatError(_WHAT, f"has more than {_MAX_FIELDS} fields")
        message.setdefault(number, []).append(value)
    return message


def _pairs(data: bytes) -> Iterator[tuple[int, _Value]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise FormatError(_WHAT, "has a field without a number")
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind != _BYTES:
            raise FormatError(_WHAT, f"has a field of wire type {kind}")
        length, position = _varint(data, position)
        end = position + length
        if end > len(data):
            raise FormatError(_WHAT, "ends early")
        yield number, data[position:end]
        position = end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise FormatError(_WHAT, "ends early")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, position
    raise FormatError(_WHAT, "has a number of more than 64 bits")


def _single(message: _Message, number: int) -> _Value | None:
    values = message.get(number, [])
    if len(values) > 1:
        raise FormatError(_WHAT, f"has field {number} twice")
    return values[0] if values else None


def _one_integer(message: _Message, number: int) -> int:
    value = _single(message, number)
    if value is None:
        return 0
    if not isinstance(value, int) or value > MAX_INT64:
        raise FormatError(_WHAT, f"has a field {number} that is negative or no number")
    return value


def _one_bytes(message: _Message, number: int, *, length: int | None = None) -> bytes:
    value = _single(message, number)
    if value is None:
        value = b""
    if not isinstance(value, bytes):
        raise FormatError(_WHAT, f"has a field {number} that is no text")
    if length is not None and len(value) != length:
        raise FormatError(_WHAT, f"has {len(value)} bytes in field {number} instead of {length}")
    return value


def _one_text(message: _Message, number: int) -> str:
    return from_utf8(_one_bytes(message, number), _WHAT)


def _message(message: _Message, number: int) -> _Message:
    return _fields(_one_bytes(message, number))


def _integer(number: int, value: int) -> bytes:
    """A number's field; proto3 leaves out zeros."""
    return _encode_varint(number << 3 | _VARINT) + _encode_varint(value) if value else b""


def _bytes(number: int, value: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(value)) + value


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
