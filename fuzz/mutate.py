# SPDX-License-Identifier: Apache-2.0
"""Changes to an input that keep its structure: JSON trees, DER elements, base64 inside texts.

Bytes changed blindly rarely get past the first length or quotation mark. The same random
generator makes the same changes.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from random import Random
from typing import Any

_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**400, 0.5,
    1e300, "", "0", "-1", "01", "1e3", "A", "AA==", "=", "\x00", "\ud800", "\u202e", "é",
    "a" * 5000,
    "99999999999999999999", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z", [], {}, [[]], [None],
)  # fmt: skip
_ODD_BYTES = (b"\x00", b"\xff", b"\x80", b"\r\n", b"\n", b".", b",", b"{", b"[" * 200, b'"', b"\\u")
_ODD_TAGS = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x17, 0x18, 0x30, 0x31, 0xA0, 0xA3, 0x1F)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")
_MAX_DEPTH = 4


def mutate(data: bytes, random: Random, max_bytes: int) -> bytes:
    """`data` with one to four changes, at most `max_bytes` long."""
    for _ in range(random.choice((1, 1, 2, 4))):
        data = _changed(data, random, _MAX_DEPTH)
    return data[:max_bytes]


def _changed(data: bytes, random: Random, depth: int) -> bytes:
    choices: list[Callable[[bytes, Random, int], bytes | None]] = [_bytes]
    if data[:1] in (b"{", b"["):
        choices = [_json, _json, _json, _bytes]
    elif data[:1] in (b"\x30", b"\x31") and depth:
        choices = [_der, _der, _bytes]
    elif depth and _BASE64.search(data.decode("latin-1")):
        choices = [_base64, _bytes]
    return random.choice(choices)(data, random, depth) or _bytes(data, random, depth)


def _bytes(data: bytes, random: Random, depth: int) -> bytes:
    at = random.randint(0, len(data))
    cut = random.choice((0, 1, 1, 2, 4, 16, 64))
    kind = random.randrange(5)
    if kind == 0:
        return data[:at] + random.randbytes(random.randint(1, 4)) + data[at + cut :]
    if kind == 1:
        return data[:at] + data[at + cut :]
    if kind == 2:
        return data[:at] + random.choice(_ODD_BYTES) + data[at + cut :]
    if kind == 3:  # the same again
        return data[:at] + data[at : at + cut] * random.choice((2, 3, 50)) + data[at + cut :]
    return data[:at] if data else b"\x00"


def _json(data: bytes, random: Random, depth: int) -> bytes | None:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    places = list(_places(tree))
    if not places:
        return None
    parent, key = random.choice(places)
    kind = random.randrange(6)
    old = parent[key]
    if kind == 0 and isinstance(parent, dict):
        del parent[key]
    elif kind == 1:
        parent[key] = [old] * random.choice((1, 2, 20))
    elif kind == 2:  # a value of another place
        other, name = random.choice(places)
        parent[key] = json.loads(json.dumps(other[name]))
    elif isinstance(old, str) and kind < 5:
        parent[key] = _text(old, random, depth)
    elif isinstance(old, int) and kind < 5:
        parent[key] = old + random.choice((-1, 1, 256, 2**40))
    else:
        parent[key] = random.choice(_ODD_VALUES)
    return json.dumps(tree, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(tree: Any, depth: int = 20) -> list[tuple[Any, Any]]:
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree)) if _is_list(tree) else ()
    found = [(tree, key) for key in keys]
    if depth:
        for key in keys:
            found += _places(tree[key], depth - 1)
    return found


def _is_list(tree: object) -> bool:
    return isinstance(tree, list)


def _text(text: str, random: Random, depth: int) -> str:
    """Text changed as what it holds: JSON within a string, base64, or characters."""
    data = text.encode("utf-8", "surrogatepass")
    return _changed(data, random, depth - 1).decode("utf-8", "replace")


def _base64(data: bytes, random: Random, depth: int) -> bytes | None:
    text = data.decode("latin-1")
    if (pem := re.search(r"(-----BEGIN [^-]*-----)([^-]*)(-----END)", text)) is not None:
        start, end = pem.span(2)
        return _replaced(data, start, end, random, depth)
    found = random.choice(list(_BASE64.finditer(text)))
    return _replaced(data, *found.span(), random, depth)


def _replaced(data: bytes, start: int, end: int, random: Random, depth: int) -> bytes | None:
    url_safe = b"." in data  # a token's alphabet
    try:
        inner = data[start:end].translate(bytes.maketrans(b"-_", b"+/"))
        decoded = b64decode(inner + b"=" * (-len(inner.strip()) % 4))
    except ValueError:
        return None
    encoded = b64encode(_changed(decoded, random, depth - 1))
    if url_safe:
        encoded = encoded.rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_"))
    newline = b"\n" if data[start : start + 1] == b"\n" else b""
    return data[:start] + newline + encoded + newline + data[end:]


def _der(data: bytes, random: Random, depth: int) -> bytes | None:
    """One element somewhere inside changed; the lengths around it still fit."""
    elements = _elements(data)
    if not elements:
        return None
    at = random.randrange(len(elements))
    tag, content = elements[at]
    kind = random.randrange(8)
    if (tag & 0x20 or tag == 0x04) and content and kind < 6:
        inner = _der(content, random, depth)
        elements[at] = (tag, content if inner is None else inner)
        if inner is None:
            elements[at] = (tag, _bytes(content, random, depth))
    elif kind == 6:
        elements.insert(at, elements[random.randrange(len(elements))])
    elif kind == 7:
        del elements[at]
    elif kind == 0:
        elements[at] = (random.choice(_ODD_TAGS), content)
    else:
        elements[at] = (tag, _bytes(content, random, depth))
    return b"".join(_element(*element) for element in elements)


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of elements one after the other; empty if it is not that."""
    found, at = [], 0
    while at < len(data):
        if at + 2 > len(data):
            return []
        tag, length, start = data[at], data[at + 1], at + 2
        if length > 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[start : start + count])
            start += count
        if start + length > len(data):
            return []
        found.append((tag, data[start : start + length]))
        at = start + length
    return found


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content
