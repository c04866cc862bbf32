# SPDX-License-Identifier: Apache-2.0
"""Reading the proto3 JSON of Sigstore's documents: lenient in spelling, strict in types.

Accepted as other clients write them: integers as numbers or strings, base64 standard or
URL-safe, unknown fields, null for absent, and in messages the fields' proto names. Refused: the
same key twice, in either spelling, floats, deep nesting.
Absent text is ``""`` and absent bytes ``b""``, as in proto3.
"""

import json
import re
from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any, TypeAlias

from countermark.core.encoding import MAX_INT64, from_base64_lenient, from_decimal, from_utf8
from countermark.core.errors import FormatError

JSONObject: TypeAlias = Mapping[str, Any]
_MAX_ELEMENTS = 100_000
_PROTO_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+", re.ASCII)


def parse_object(data: bytes, what: str, *, limit: int) -> JSONObject:
    """Read a JSON document that is an object, at most `limit` bytes long."""
    return _parse(data, what, limit, proto_names=False)


def parse_message(data: bytes, what: str, *, limit: int) -> JSONObject:
    """Read a protobuf message: `parse_object`, and ``log_index`` is another ``logIndex``."""
    return _parse(data, what, limit, proto_names=True)


def _parse(data: bytes, what: str, limit: int, *, proto_names: bool) -> JSONObject:
    if len(data) > limit:
        raise FormatError(what, f"is larger than {limit} bytes")
    # Counted before they are read: an element of two bytes takes 64 in memory.
    if len(data) > _MAX_ELEMENTS and data.count(b",") > _MAX_ELEMENTS:
        raise FormatError(what, f"has more than {_MAX_ELEMENTS} elements")
    text = from_utf8(data, what)
    try:
        value = _QUICK_DECODER.decode(text)
        keys, names = _keys(value)
        if proto_names and "_" in "".join(names):
            value = _MESSAGE_DECODER.decode(text)
        elif text.count(":") != keys:
            value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(what, "is not JSON, or not JSON that can be trusted") from error
    return as_object(value, what)


def _keys(value: object) -> tuple[int, set[str]]:
    """How many keys a decoded document has, and which.

    In its text each key is followed by a colon of its own. So a text with as many colons as the
    decoded document has keys lost none of them: no key came twice.
    """
    count, names, found = 0, set[str](), [value]
    for item in found:  # which grows meanwhile
        if type(item) is dict:
            count += len(item)
            names.update(item)
            found += item.values()
        elif type(item) is list:
            found += item
    return count, names


def as_object(value: object, what: str) -> JSONObject:
    """`value` if it is an object."""
    if not isinstance(value, dict):
        raise FormatError(what, "is not a JSON object")
    return value


def objects(parent: JSONObject, name: str, *, limit: int) -> list[JSONObject]:
    """A repeated message field, at most `limit` long."""
    value = parent.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise FormatError(name, "is not a JSON array")
    if len(value) > limit:
        raise FormatError(name, f"has more than {limit} elements")
    return [as_object(item, name) for item in value]


def optional_object(parent: JSONObject, name: str) -> JSONObject | None:
    """A message field, None if absent."""
    value = parent.get(name)
    return None if value is None else as_object(value, name)


def required_object(parent: JSONObject, name: str) -> JSONObject:
    """A message field that must be there."""
    value = optional_object(parent, name)
    if value is None:
        raise FormatError(name, "is missing")
    return value


def text(parent: JSONObject, name: str) -> str:
    """A string field."""
    value = parent.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FormatError(name, "is not a JSON string")
    return well_formed(value, name)


def required_text(parent: JSONObject, name: str) -> str:
    """A string field that must not be empty."""
    value = text(parent, name)
    if not value:
        raise FormatError(name, "is missing")
    return value


def raw_bytes(parent: JSONObject, name: str) -> bytes:
    """A bytes field."""
    value = parent.get(name)
    if type(value) is str:
        try:
            return a2b_base64(value, strict_mode=True)
        except ValueError:  # not what nearly everybody writes
            return from_base64_lenient(value, name)
    if value is None:
        return b""
    raise FormatError(name, "is not a JSON string")


def required_bytes(parent: JSONObject, name: str, *, length: int | None = None) -> bytes:
    """A bytes field that must not be empty, and of `length` bytes if one is given."""
    data = raw_bytes(parent, name)
    if not data:
        raise FormatError(name, "is missing")
    if length is not None and len(data) != length:
        raise FormatError(name, f"holds {len(data)} bytes instead of {length}")
    return data


def required_bytes_list(parent: JSONObject, name: str, *, length: int, limit: int) -> list[bytes]:
    """A repeated bytes field of items of one length, at most `limit` of them."""
    value = parent.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > limit:
        raise FormatError(name, f"is not a JSON array of at most {limit} elements")
    items: list[bytes] = []
    for item in value:
        if not isinstance(item, str):
            raise FormatError(name, "holds something that is not text")
        try:
            data = a2b_base64(item, strict_mode=True)
        except ValueError:
            data = from_base64_lenient(item, name)
        if len(data) != length:
            raise FormatError(name, f"holds {len(data)} bytes instead of {length}")
        items.append(data)
    return items


def int64(parent: JSONObject, name: str) -> int:
    """A non-negative int64 field, as a string or a number; 0 if absent."""
    value = parent.get(name)
    if value is None:
        return 0
    if isinstance(value, str):
        return from_decimal(value, name)
    if type(value) is not int or not 0 <= value <= MAX_INT64:
        raise FormatError(name, "is not a non-negative 64-bit integer")
    return value


def well_formed(value: str, what: str) -> str:
    """`value`, if it is text at all: JSON's escapes can spell half a character."""
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise FormatError(what, "holds a lone surrogate") from error
    return value


def enum(parent: JSONObject, name: str, names: Mapping[int, str]) -> str:
    """An enum field as its name; numbers are looked up in `names`, "" if absent."""
    value = parent.get(name)
    if type(value) is int:
        if value not in names:
            raise FormatError(name, f"has the unknown number {value}")
        return names[value]
    return text(parent, name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return _unique([(_json_name(key), value) for key, value in pairs])


def _json_name(key: str) -> str:
    if not _PROTO_NAME.fullmatch(key):
        return key
    first, *others = key.split("_")
    return first + "".join([word[:1].upper() + word[1:] for word in others])


def _refuse_number(literal: str) -> None:
    raise ValueError(f"{literal[:32]} is not an integer")


_QUICK_DECODER = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_refuse_number, parse_constant=_refuse_number
)
_MESSAGE_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_fields, parse_float=_refuse_number, parse_constant=_refuse_number
)
