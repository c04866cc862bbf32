# SPDX-License-Identifier: Apache-2.0
"""URIs as Go's `net/url` prints them after reading them.

Fulcio sends every URI name through `url.Parse` and `String`, so the name in a certificate can
differ from the text it was made of: spaces and non-ASCII letters of a branch name are escaped,
``#`` and ``?`` split the text, a bad ``%`` is refused. Verifiers compare exact strings, so we
must print the same.
"""

import re

from countermark.core.errors import RequestRejected

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_PATH_PLAIN = _UNRESERVED | frozenset(b"$&+,/:;=@")
_FRAGMENT_PLAIN = _UNRESERVED | frozenset(b"$&+,/:;=?@!()*")
_KEPT_IF_WRITTEN = frozenset(b"!$&'()*+,;=:@[]%")
_MAX_QUOTED_CHARS = 500
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_NAMED_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")


def printed_uri(origin: str, rest: str) -> str:
    """``origin + rest`` as Go prints it.

    Args:
        origin: scheme and host, trusted, e.g. ``https://github.com``.
        rest: path with its leading slash, query and fragment, from a claim.

    Raises RequestRejected with Go's words for what cannot be parsed or is not ASCII at the end.
    """
    before, _, fragment = rest.partition("#")
    if _CONTROL.search(before):
        url = _quoted(origin + before)
        raise RequestRejected(f"parse {url}: net/url: invalid control character in URL")
    forced_query = before.endswith("?") and before.count("?") == 1
    path, _, query = before.partition("?")
    printed = origin + _printed(path, _PATH_PLAIN, origin + before)
    if query or forced_query:
        printed += "?" + query
    if fragment:
        printed += "#" + _printed(fragment, _FRAGMENT_PLAIN, origin + rest)
    return ia5(printed)


def ia5(text: str) -> str:
    """`text`, if an IA5String can hold it. Raises RequestRejected."""
    if not text.isascii():
        raise RequestRejected(f"x509: {_quoted(text)} cannot be encoded as an IA5String")
    return text


def _printed(part: str, plain: frozenset[int], url: str) -> str:
    raw = part.encode("utf-8", "surrogatepass")
    for match in _ESCAPE.finditer(raw):
        if match[1] is None:
            wrong = raw[match.start() : match.start() + 3].decode("utf-8", "surrogateescape")
            raise RequestRejected(f"parse {_quoted(url)}: invalid URL escape {_quoted(wrong)}")
    if all(byte in plain or byte in _KEPT_IF_WRITTEN for byte in raw):
        return part  # already a valid encoding: Go keeps the writer's choice
    decoded = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), raw)
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in decoded)


def _quoted(text: str) -> str:
    """As Go's ``%q``, but not endless: printable characters as they are, the rest escaped."""
    return '"' + "".join(map(_escaped, text[:_MAX_QUOTED_CHARS])) + '"'


def _escaped(character: str) -> str:
    if character in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
