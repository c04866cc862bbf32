# SPDX-License-Identifier: Apache-2.0
"""The keys and certificates that entries are verified with (Rekor's `x509` format).

Nobody has to vouch for them: a log admits any key whose signature holds. They are stored as
canonical PEM, so that one key gives one leaf.
"""

import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey, encode_pem
from countermark.core.encoding import from_base64_bits, from_utf8
from countermark.core.errors import AlgorithmRefused, FormatError
from countermark.core.rekor.entry import EntryRejected, search_key

MAX_PEM_BYTES: Final = 64 * 1024
MAX_CERTIFICATES: Final = 10
_MAX_CACHED_BYTES: Final = 8 * 1024
# Text before a block and header lines inside it are dropped, as Go's reader drops them: people
# submit what `openssl x509 -text` prints. Nothing is read twice (`*+`): with 20,000 header lines
# and no end, going back to each of them took ten seconds.
_BLOCK = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n(?:[^\s:]+:[^\n]*\n)*+([^-]*+)-----END \1-----"
)
_LABELS: Final = tuple(
    (label, f"-----BEGIN {label}-----\n".encode(), f"-----END {label}-----\n".encode())
    for label in ("PUBLIC KEY", "CERTIFICATE")
)
_SAN_OID: Final = der.oid("2.5.29.17")
_CRITICAL: Final = b"\x01\x01\xff"
_FULCIO_NAME_OID: Final = der.oid("1.3.6.1.4.1.57264.1.7")
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_OTHER_NAME, _EMAIL, _DNS, _URI, _IP = 0xA0, 0x81, 0x82, 0x86, 0x87


class Verifier(NamedTuple):
    """A key, or the leaf certificate of a chain, as the log keeps it.

    Attributes:
        key: what signatures are checked with.
        pem: canonical: 64 columns, final newline; a chain is leaf first.
        pem_base64: the same as it stands in bodies.
        certificates: DER of the chain, leaf first; empty for a bare key.
        search_keys: of the PEM's hash and of the leaf's subject alternative names.
    """

    key: PublicKey
    pem: str
    pem_base64: str
    certificates: tuple[bytes, ...]
    search_keys: tuple[bytes, ...]


def read_verifier(content: bytes) -> Verifier:
    """Read a PEM public key, or up to ten certificates, leaf first. Raises EntryRejected."""
    if len(content) <= _MAX_CACHED_BYTES:
        return _read_cached(content)
    if len(content) > MAX_PEM_BYTES:
        raise EntryRejected(f"invalid public key: larger than {MAX_PEM_BYTES} bytes")
    return _read(content)


@lru_cache(maxsize=16)
def _read_cached(content: bytes) -> Verifier:
    return _read(content)


def _read(content: bytes) -> Verifier:
    blocks = _canonical_block(content) or _pem_blocks(content)
    label, data, pem = blocks[0]
    try:
        if len(blocks) == 1 and label == "PUBLIC KEY":
            return _verifier(PublicKey.from_spki(data), (), pem, ())
        for label, data, _ in blocks:
            if label != "CERTIFICATE":
                raise EntryRejected(f"invalid public key: cannot handle type {label}")
            _check_certificate(data)
        spki, names = _key_and_names(data if len(blocks) == 1 else blocks[0][1])
        key = PublicKey.from_spki(spki, "certificate's public key")
        certificates = tuple([data for _, data, _ in blocks])
        return _verifier(key, certificates, "".join([pem for _, _, pem in blocks]), names)
    except AlgorithmRefused as error:
        raise EntryRejected(f"entry algorithms are not allowed: {error}") from error
    except FormatError as error:
        raise EntryRejected(f"invalid public key: {error}") from error


def _verifier(
    key: PublicKey, certificates: tuple[bytes, ...], pem: str, names: Iterable[str]
) -> Verifier:
    raw = pem.encode("ascii")
    keys = {search_key(f"sha256:{hashlib.sha256(raw).hexdigest()}"): None}
    for name in names:
        keys[search_key(name)] = None
    encoded = binascii.b2a_base64(raw, newline=False).decode("ascii")
    return Verifier(key, pem, encoded, certificates, tuple(keys))


class _Block(NamedTuple):
    """A PEM block: its label, what it holds, and how we spell all of it."""

    label: str
    data: bytes
    pem: str


def _canonical_block(content: bytes) -> list[_Block]:
    """The one block of content that is spelled as we spell it; none of any other content.

    Nearly all content is, and what follows takes a fraction of `_pem_blocks`.
    """
    for label, begin, end in _LABELS:
        if content.startswith(begin) and content.endswith(end):
            try:
                # Passes over what is not base64; then we would spell it differently.
                data = binascii.a2b_base64(content[len(begin) : -len(end)])
            except ValueError:
                return []
            pem = encode_pem(label, data)
            return [_Block(label, data, pem)] if pem.encode("ascii") == content else []
    return []


def _pem_blocks(content: bytes) -> list[_Block]:
    blocks: list[_Block] = []
    end = 0
    for match in _BLOCK.finditer(content):
        if len(blocks) == MAX_CERTIFICATES:
            raise EntryRejected(f"invalid public key: more than {MAX_CERTIFICATES} PEM blocks")
        try:
            text = b"".join(match[2].split()).decode("ascii")
            data = from_base64_bits(text, "PEM")
            label = match[1].decode("ascii")
            blocks.append(_Block(label, data, encode_pem(label, data)))
        except (UnicodeDecodeError, FormatError) as error:
            raise EntryRejected("invalid public key: failure decoding PEM") from error
        end = match.end()
    if not blocks or content[end:].strip():
        raise EntryRejected("invalid public key: failure decoding PEM")
    return blocks


def _check_certificate(data: bytes) -> None:
    # Ours (core.crypto.certificate) says the same in fifty times the time; a log reads as many
    # certificates as it takes entries.
    from cryptography import x509

    try:
        _check_serial(data)
        x509.load_der_x509_certificate(data)
    except (ValueError, IndexError, x509.InvalidVersion) as error:
        raise FormatError("certificate", "is not an X.509 certificate in DER") from error


def _check_serial(certificate: bytes) -> None:
    # RFC 5280 section 4.1.2.2. `cryptography` only warns, and says that it will refuse.
    position, _ = _content(certificate, 0)
    position, _ = _content(certificate, position)
    if certificate[position] == _VERSION:
        _, position = _content(certificate, position)
    start, end = _content(certificate, position)
    if int.from_bytes(certificate[start:end], signed=True) <= 0:
        raise FormatError("certificate", "has a serial number that is not positive")


def _key_and_names(certificate: bytes) -> tuple[bytes, list[str]]:
    """SPKI and subject alternative names of a certificate whose DER was checked."""
    start, _ = _content(certificate, 0)
    position, end = _content(certificate, start)
    if certificate[position] == _VERSION:  # absent in X.509 v1
        position = _end(certificate, position)
    for _ in range(5):  # serial, algorithm, issuer, validity, subject
        position = _end(certificate, position)
    spki_start = position
    position = _end(certificate, position)
    spki = certificate[spki_start:position]
    while position < end and certificate[position] != _EXTENSIONS:  # the unique identifiers of 1993
        position = _end(certificate, position)
    if position >= end:
        return spki, []
    position, _ = _content(certificate, position)
    position, end = _content(certificate, position)
    while position < end:
        start, length = position + 2, certificate[position + 1]
        if length < 0x80:  # in place of a call, for the dozen or two that a signer's has
            position = start + length
        else:
            start, position = _content(certificate, position)
        if certificate.startswith(_SAN_OID, start):
            return spki, _alternative_names(certificate[start:position])
    return spki, []


def _end(data: bytes, position: int) -> int:
    """Where the DER element at `position` ends."""
    length = data[position + 1]
    if length < 0x80:
        return position + 2 + length
    start = position + 2 + (length & 0x7F)
    return start + int.from_bytes(data[position + 2 : start])


def _content(data: bytes, position: int) -> tuple[int, int]:
    """Start and end of the content of the DER element at `position`."""
    length = data[position + 1]
    start = position + 2
    if length >= 0x80:
        size = length & 0x7F
        start += size
        length = int.from_bytes(data[position + 2 : start])
    return start, start + length


def _alternative_names(extension: bytes) -> list[str]:
    """The names that Rekor indexes; names of other kinds are passed over."""
    # A signer's certificate has one name, and it is short: nothing of it need be searched.
    start = len(_SAN_OID)
    if extension.startswith(_CRITICAL, start):
        start += len(_CRITICAL)
    size = len(extension) - start
    if 6 <= size < 0x82 and extension[start : start + 4] == bytes((0x04, size - 2, 0x30, size - 4)):
        tag, length = extension[start + 4 : start + 6]
        if length == size - 6 and tag in (_EMAIL, _DNS, _URI):
            return [_ascii(extension[start + 6 :])]
    return list(_any_alternative_names(extension))


def _any_alternative_names(extension: bytes) -> Iterator[str]:
    what = "subject alternative name"
    fields = der.Reader(extension, what)
    fields.read(der.OID)
    fields.optional(der.BOOLEAN)
    names = der.decode(fields.read(der.OCTET_STRING).content, what, der.SEQUENCE).reader(what)
    while names:
        name = names.read()
        if name.tag in (_EMAIL, _DNS, _URI):
            yield _ascii(name.content)
        elif name.tag == _IP and len(name.content) in (4, 16):
            yield str(ipaddress.ip_address(name.content))
        elif name.tag == _OTHER_NAME and name.content.startswith(_FULCIO_NAME_OID):
            inner = der.Reader(name.content[len(_FULCIO_NAME_OID) :], what).read(_OTHER_NAME)
            value = der.decode(inner.content, what, der.UTF8_STRING)
            yield from_utf8(value.content, what)


def _ascii(data: bytes) -> str:
    if not data.isascii():
        raise FormatError("subject alternative name", "is not an IA5String")
    return data.decode("ascii")
