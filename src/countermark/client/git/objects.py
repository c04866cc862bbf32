# SPDX-License-Identifier: Apache-2.0
"""Commits and tags as Git stores them, split into what was signed and the signature.

Git's own rules, but where Git leaves something out of what is verified (a second signature, one
in the other hash's header), it is refused here: nobody signed it, and it could say anything.
"""

import hashlib
from typing import NamedTuple

from countermark.core.encoding import from_utf8
from countermark.core.errors import FormatError, NotFound, SignatureInvalid

MAX_OBJECT_BYTES = 64 * 1024 * 1024
_COMMIT_HEADERS = {"sha1": b"gpgsig", "sha256": b"gpgsig-sha256"}
_SIGNATURE_HEADERS = frozenset(_COMMIT_HEADERS.values())
_OURS = b"-----BEGIN SIGNED MESSAGE-----"
_ARMOUR = (
    _OURS,
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
)


class SignedObject(NamedTuple):
    """A commit or tag.

    Attributes:
        kind: ``commit`` or ``tag``.
        payload: all that was signed.
        signature: its armour.
        tag: the name that a tag was signed under; empty for a commit.
    """

    kind: str
    payload: bytes
    signature: bytes
    tag: str


def parse_object(oid: str, kind: str, data: bytes) -> SignedObject:
    """Split an object that has a signature of the kind that we make.

    Args:
        oid: its id in hex; the length tells the repository's hash.
        kind: Git's word for what it is.
        data: its content.

    Raises SignatureInvalid if the id is of another content (a replaced or damaged object),
    NotFound if there is no signature, FormatError for what Git would pass over.
    """
    hash_name = "sha256" if len(oid) == 64 else "sha1"
    if kind not in ("commit", "tag"):
        raise FormatError(oid, f"is a {kind}, and only commits and tags are signed")
    head = f"{kind} {len(data)}\0".encode("ascii")
    if hashlib.new(hash_name, head + data, usedforsecurity=False).hexdigest() != oid:
        error = SignatureInvalid(f"Git shows another object than {oid}")
        error.add_note("see `git replace --list` and `git fsck`")
        raise error
    headers, blank, body = data.partition(b"\n\n")
    if not blank:
        headers, body = data.removesuffix(b"\n"), b""
    if kind == "tag":
        return _tag(oid, headers, body, data)
    return _commit(oid, headers, blank + body, _COMMIT_HEADERS[hash_name])


def _commit(oid: str, headers: bytes, rest: bytes, wanted: bytes) -> SignedObject:
    kept: list[bytes] = []
    signature = b""
    for header in _unfolded(headers):
        name, _, value = header.partition(b" ")
        if name not in _SIGNATURE_HEADERS:
            kept.append(header)
        elif name != wanted or signature:
            raise FormatError(oid, "has a second signature header, which nobody signed")
        else:
            signature = value.replace(b"\n ", b"\n") + b"\n"
    _check_ours(oid, signature)
    return SignedObject("commit", b"\n".join(kept) + (rest or b"\n"), signature, "")


def _tag(oid: str, headers: bytes, body: bytes, data: bytes) -> SignedObject:
    tag = ""
    for header in _unfolded(headers):
        name, _, value = header.partition(b" ")
        if name in _SIGNATURE_HEADERS:
            raise FormatError(oid, "has a signature header, which nobody signed")
        if name == b"tag":
            if tag:
                raise FormatError(oid, "has two names")
            tag = from_utf8(value, "tag name")
    # Git takes the last line that begins any kind of signature.
    start = max(_last_line(body, armour) for armour in _ARMOUR)
    signature = body[start:] if start >= 0 else b""
    _check_ours(oid, signature)
    return SignedObject("tag", data[: len(data) - len(signature)], signature, tag)


def _unfolded(headers: bytes) -> list[bytes]:
    """Headers with the lines that continue them, which begin with a space."""
    found: list[bytes] = []
    for line in headers.split(b"\n"):
        if line.startswith(b" ") and found:
            found[-1] += b"\n" + line
        else:
            found.append(line)
    return found


def _last_line(body: bytes, start: bytes) -> int:
    """Where the last line that starts so begins; -1 if there is none."""
    found = body.rfind(b"\n" + start)
    if found >= 0:
        return found + 1
    return 0 if body.startswith(start) else -1


def _check_ours(oid: str, signature: bytes) -> None:
    if not signature:
        raise NotFound(f"{oid} is not signed")
    if not signature.startswith(_OURS):
        kind = "an OpenPGP" if signature.startswith(b"-----BEGIN PGP") else "another kind of"
        raise NotFound(f"{oid} has {kind} signature, which countermark does not read")
