# SPDX-License-Identifier: Apache-2.0
"""Checksum files (`SHA256SUMS`): reading what they list, writing them, finding files in them.

Formats: GNU coreutils (``<hex>  name``, ``<hex> *name``, a backslash before an escaped line) and
BSD (``SHA256 (name) = <hex>``), with SHA-256, SHA-384 and SHA-512. Stricter than coreutils, since
a listing here speaks for files: a line that is neither an entry nor a comment is refused, as are
weaker hashes, names that lead out of the listing's folder, and a name listed twice differently.
"""

import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from countermark.core.errors import FormatError, NotFound, RequestRejected, SignatureInvalid
from countermark.core.verify.artifact import Artifact

MAX_BYTES = 16 * 1024 * 1024
_MAX_ENTRIES = 100_000
_MAX_NAME = 4096
_WHAT = "checksum file"
_BY_DIGITS = {64: "sha256", 96: "sha384", 128: "sha512"}
_DIGITS = {name: digits for digits, name in _BY_DIGITS.items()}
_GNU = re.compile(r"(?P<escaped>\\?)(?P<digits>[0-9A-Fa-f]{32,128}) [ *](?P<name>.+)", re.DOTALL)
_BSD = re.compile(
    r"(?P<escaped>\\?)(?P<hash>[A-Z0-9]{2,9}(?:-[0-9]{3})?) ?\((?P<name>.+)\) ?= "
    r"(?P<digits>[0-9A-Fa-f]{32,128})",
    re.DOTALL,
)
_BSD_HASHES = {
    "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512",
    "SHA2-256": "sha256", "SHA2-384": "sha384", "SHA2-512": "sha512",
}  # fmt: skip
_ESCAPES = {"\\": "\\", "n": "\n", "r": "\r"}


class Listed(NamedTuple):
    """One file that a listing speaks for.

    Attributes:
        name: relative to the listing's folder, as it is listed.
        digests: by hash; several if it is listed under several hashes. Not hashable.
    """

    name: str
    digests: dict[str, bytes]


def parse_checksums(data: bytes) -> tuple[Listed, ...]:
    """Read a listing, in its order. Raises FormatError, with the number of the line at fault."""
    if len(data) > MAX_BYTES:
        raise FormatError(_WHAT, f"is larger than {MAX_BYTES} bytes")
    found: dict[str, dict[str, bytes]] = {}
    said: dict[tuple[str, str], bytes] = {}  # of one file, however its name is spelt
    # Names are bytes on most systems; whatever is no UTF-8 comes back as it was.
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        text = line.removesuffix("\r")
        if not text.strip() or text.startswith("#"):
            continue
        try:
            name, hash_name, digest = _parse_line(text)
            if said.setdefault((_plain(name), hash_name), digest) != digest:
                raise ValueError("lists a file twice, differently")
            found.setdefault(name, {})[hash_name] = digest
        except ValueError as error:
            raise FormatError(_WHAT, f"line {number} {error}") from error
        if len(found) > _MAX_ENTRIES:
            raise FormatError(_WHAT, f"lists more than {_MAX_ENTRIES} files")
    if not found:
        raise FormatError(_WHAT, "lists no file")
    return tuple(Listed(name, digests) for name, digests in found.items())


def serialize_checksums(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """A listing in GNU's format. Raises RequestRejected for names that it could not hold.

    Args:
        entries: name and digest, SHA-256 to SHA-512 by its length.
    """
    lines = []
    for name, digest in entries:
        try:
            _check_name(name)
        except ValueError as error:
            raise RequestRejected(f"a listing cannot hold {name[:200]!r}: it {error}") from error
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        mark = "\\" if escaped != name else ""
        lines.append(f"{mark}{digest.hex()}  {escaped}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def find_listed(entries: Sequence[Listed], listing: str, file: str) -> Listed:
    """The entry that speaks for a file: by its path from the listing's folder, else by its name.

    Raises SignatureInvalid if there is none, or several of that name.
    """
    folder = os.path.dirname(os.path.abspath(listing))
    try:
        path = os.path.relpath(os.path.abspath(file), folder).replace(os.sep, "/")
    except ValueError:  # another drive
        path = ""
    for entry in entries:
        if _plain(entry.name) == path:
            return entry
    base = os.path.basename(file)
    named = [entry for entry in entries if _plain(entry.name).rpartition("/")[2] == base]
    if len(named) == 1:
        return named[0]
    if named:
        raise SignatureInvalid(f"{len(named)} files called {base} are listed in {listing}")
    raise SignatureInvalid(f"{base} is not listed in {listing}")


def path_of(entry: Listed, listing: str) -> str:
    """Where a listed file is to be."""
    return os.path.join(os.path.dirname(listing), *_plain(entry.name).split("/"))


def check_listed(entry: Listed, artifact: Artifact) -> None:
    """Check a file against all that is listed of it. Raises SignatureInvalid, NotFound."""
    for hash_name, digest in entry.digests.items():
        if artifact.digest(hash_name) != digest:
            raise SignatureInvalid("the file is not the one that was listed")


def listed_name(file: str, listing: str) -> str:
    """What a listing is to call a file; it must lie in the listing's folder or below.

    Raises RequestRejected, or NotFound if there is no such file.
    """
    if not os.path.isfile(file):
        raise NotFound(f"there is no file {file}")
    folder = os.path.dirname(os.path.abspath(listing))
    try:
        name = os.path.relpath(os.path.abspath(file), folder).replace(os.sep, "/")
        _check_name(name)
    except ValueError as error:
        refusal = RequestRejected(f"{file} is not in the folder of {listing}, nor below it")
        refusal.add_note("put the checksum file into the folder of the files that it lists")
        raise refusal from error
    return name


def _parse_line(text: str) -> tuple[str, str, bytes]:
    match = _BSD.fullmatch(text)
    if match is not None:
        hash_name = _BSD_HASHES.get(match["hash"], "")
    else:
        match = _GNU.fullmatch(text)
        if match is None:
            raise ValueError("is no checksum of a file")
        hash_name = _BY_DIGITS.get(len(match["digits"]), "")
    if not hash_name:
        raise ValueError("is of a hash that is not SHA-256, SHA-384 or SHA-512")
    if len(match["digits"]) != _DIGITS[hash_name]:
        raise ValueError("has a checksum of another length than its hash")
    name = _unescape(match["name"]) if match["escaped"] else match["name"]
    _check_name(name)
    return name, hash_name, bytes.fromhex(match["digits"])


def _unescape(text: str) -> str:
    result, rest = [], iter(text)
    for char in rest:
        if char == "\\":
            escaped = next(rest, "")
            if escaped not in _ESCAPES:
                raise ValueError("has an escape that means nothing")
            char = _ESCAPES[escaped]
        result.append(char)
    return "".join(result)


def _check_name(name: str) -> None:
    """Refuse names that lead elsewhere than into the listing's folder, on any system."""
    if len(name) > _MAX_NAME:
        raise ValueError("has too long a name")
    if not name or name == "-" or "\0" in name:
        raise ValueError("names no file")
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        raise ValueError("names a file by its place on the whole disk")
    if ".." in name.replace("\\", "/").split("/"):
        raise ValueError("names a file outside the folder")
    if os.sep == "\\" and (":" in name or "\\" in name):
        raise ValueError("names no file of this system")
    if not _plain(name):
        raise ValueError("names no file")


def _plain(name: str) -> str:
    """Without what changes nothing: ``./`` and doubled slashes."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))
