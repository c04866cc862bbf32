# SPDX-License-Identifier: Apache-2.0
"""What an entry of the distrust list can be about, each with exactly one spelling."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from countermark.core.bundle import protojson
from countermark.core.encoding import from_hex
from countermark.core.errors import FormatError, RequestRejected

MAX_NAME = 2048
_WHAT = "distrust list"
# type / namespace and name @ version; no qualifiers, no subpath: those name files, not packages.
_PURL = re.compile(r"pkg:([a-z][a-z0-9.+-]{0,63})/([^@?#\s]{1,1024})@([^@?#/\s]{1,256})", re.ASCII)
_ESCAPE = re.compile(rb"[0-9A-Fa-f]{2}")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+:!")
_PYPI_RUN = re.compile(r"[-_.]+", re.ASCII)


class KeyHash(NamedTuple):
    """A public key, of a signer, an authority or a log: SHA-256 of its SPKI."""

    sha256: bytes

    def to_json(self) -> dict[str, Any]:
        """As fields of an entry."""
        return {"kind": "key", "sha256": self.sha256.hex()}

    def __str__(self) -> str:
        return f"the key sha256:{self.sha256.hex()}"


class CertificateHash(NamedTuple):
    """One signing certificate: SHA-256 of its DER."""

    sha256: bytes

    def to_json(self) -> dict[str, Any]:
        """As fields of an entry."""
        return {"kind": "certificate", "sha256": self.sha256.hex()}

    def __str__(self) -> str:
        return f"the certificate sha256:{self.sha256.hex()}"


class SignerName(NamedTuple):
    """A certified identity; `issuer` is empty if whoever vouches for that name is meant."""

    identity: str
    issuer: str

    def to_json(self) -> dict[str, Any]:
        """As fields of an entry."""
        tree = {"kind": "identity", "identity": self.identity}
        return {**tree, "issuer": self.issuer} if self.issuer else tree

    def __str__(self) -> str:
        return f"{self.identity}{f' by {self.issuer}' if self.issuer else ''}"

    def is_of(self, name: str, issuer: str) -> bool:
        """Whether a certificate names this signer. Issuers, mail addresses match in any case."""
        if self.issuer and self.issuer.rstrip("/").casefold() != issuer.rstrip("/").casefold():
            return False
        if name == self.identity:
            return True
        address = "@" in self.identity and "/" not in self.identity
        return address and name.casefold() == self.identity.casefold()


class LoggedEntry(NamedTuple):
    """One entry of a log: its leaf hash, or else its index in the log of that id.

    Attributes:
        log_id: 32 bytes; empty with a leaf hash alone, which names one entry in any log.
        log_index: over all shards, as the log promised it; None with a leaf hash.
        leaf_hash: 32 bytes; empty with an index.
    """

    log_id: bytes
    log_index: int | None
    leaf_hash: bytes

    def to_json(self) -> dict[str, Any]:
        """As fields of an entry."""
        if self.log_index is None:
            return {"kind": "entry", "leafHash": self.leaf_hash.hex()}
        return {"kind": "entry", "logId": self.log_id.hex(), "logIndex": self.log_index}

    def __str__(self) -> str:
        if self.log_index is None:
            return f"the log entry {self.leaf_hash.hex()}"
        return f"the entry {self.log_index} of log {self.log_id.hex()}"


class Package(NamedTuple):
    """One version of a package, as a normal package URL, e.g. ``pkg:npm/%40scope/name@1.2.3``."""

    purl: str

    def to_json(self) -> dict[str, Any]:
        """As fields of an entry."""
        return {"kind": "package", "purl": self.purl}

    def __str__(self) -> str:
        return self.purl


Subject: TypeAlias = KeyHash | CertificateHash | SignerName | LoggedEntry | Package
_FIELDS = {
    "key": {"sha256"},
    "certificate": {"sha256"},
    "identity": {"identity", "issuer"},
    "entry": {"leafHash", "logId", "logIndex"},
    "package": {"purl"},
}


def subject_from_json(kind: str, tree: Mapping[str, Any]) -> Subject:
    """Read the fields that are the subject's own. Raises FormatError."""
    if kind not in _FIELDS:
        raise FormatError(_WHAT, f"has an entry of the unknown kind {kind[:40]!r}")
    if strange := sorted(set(tree) - _FIELDS[kind]):
        raise FormatError(_WHAT, f"has a {kind} with the unknown field {strange[0][:40]!r}")
    if kind in ("key", "certificate"):
        sha256 = from_hex(protojson.required_text(tree, "sha256"), "sha256", length=32)
        return KeyHash(sha256) if kind == "key" else CertificateHash(sha256)
    if kind == "identity":
        identity, issuer = protojson.required_text(tree, "identity"), protojson.text(tree, "issuer")
        for text in (identity, issuer):
            if len(text) > MAX_NAME or not text.isprintable() or text != text.strip():
                raise FormatError(_WHAT, "names an identity that no certificate can have")
        return SignerName(identity, issuer)
    if kind == "entry":
        return _logged_entry(tree)
    purl = protojson.required_text(tree, "purl")
    try:
        normal = normal_purl(purl)
    except RequestRejected as error:
        raise FormatError("purl", str(error)) from error
    if normal != purl:
        raise FormatError("purl", f"{purl[:100]!r} is not in normal form")
    return Package(purl)


def _logged_entry(tree: Mapping[str, Any]) -> LoggedEntry:
    if "leafHash" in tree:
        if len(tree) != 1:
            raise FormatError(_WHAT, "has a log entry that is named twice")
        leaf_hash = from_hex(protojson.required_text(tree, "leafHash"), "leafHash", length=32)
        return LoggedEntry(b"", None, leaf_hash)
    log_id = from_hex(protojson.required_text(tree, "logId"), "logId", length=32)
    if tree.get("logIndex") is None:
        raise FormatError("logIndex", "is missing")
    return LoggedEntry(log_id, protojson.int64(tree, "logIndex"), b"")


def normal_purl(text: str) -> str:
    """A package URL with a version in its one normal form. Raises RequestRejected.

    Percent escapes are decoded and made anew; names of PyPI are normalised as PEP 503 has it.
    """
    match = _PURL.fullmatch(text.strip())
    if match is None:
        raise RequestRejected(f"{text[:100]!r} is no package URL like pkg:npm/name@1.2.3")
    kind, path, version = match.groups()
    parts = [_decoded(part) for part in path.split("/")]
    if kind == "pypi":
        parts = [_PYPI_RUN.sub("-", part).lower() for part in parts]
    return f"pkg:{kind}/{'/'.join(map(_escaped, parts))}@{_escaped(_decoded(version))}"


def _decoded(part: str) -> str:
    """A part without its percent escapes. Raises RequestRejected."""
    pieces = part.encode("utf-8").split(b"%")
    data = pieces[0]
    for piece in pieces[1:]:
        if not _ESCAPE.match(piece):
            raise RequestRejected("the package URL has a % that escapes nothing")
        data += bytes.fromhex(piece[:2].decode("ascii")) + piece[2:]
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestRejected("the package URL is not UTF-8") from error
    if not decoded or not decoded.isprintable() or "/" in decoded:
        raise RequestRejected("the package URL has an empty or unprintable part")
    return decoded


def _escaped(text: str) -> str:
    data = text.encode("utf-8")
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in data)
