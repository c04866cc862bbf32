# SPDX-License-Identifier: Apache-2.0
"""Reading detached CMS SignedData (RFC 5652 §5) of one signer, in DER.

Stricter than the standard: one signer named by issuer and serial, signed attributes always, no
content inside, no revocation lists, nothing that DER would write differently. Nothing is
believed here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from countermark.core.crypto import der
from countermark.core.errors import FormatError
from countermark.core.tsp.response import HASHES

MAX_SIGNATURE_BYTES = 256 * 1024
MAX_CERTIFICATES = 10
MAX_ATTRIBUTES = 64
OID_DATA = "1.2.840.113549.1.7.1"
OID_SIGNED_DATA = "1.2.840.113549.1.7.2"
OID_CONTENT_TYPE = "1.2.840.113549.1.9.3"
OID_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
OID_SIGNING_TIME = "1.2.840.113549.1.9.5"
# Signature algorithms that name their hash → (the key kind they need, hash).
SIGNATURES = {
    "1.2.840.10045.4.3.2": ("ECDSA", "sha256"),
    "1.2.840.10045.4.3.3": ("ECDSA", "sha384"),
    "1.2.840.10045.4.3.4": ("ECDSA", "sha512"),
    "1.2.840.113549.1.1.11": ("RSA", "sha256"),
    "1.2.840.113549.1.1.12": ("RSA", "sha384"),
    "1.2.840.113549.1.1.13": ("RSA", "sha512"),
}
_OID_RSA = "1.2.840.113549.1.1.1"  # leaves the hash to the digest algorithm
_WHAT = "signature"
_SIGNED, _UNSIGNED = der.context(0), der.context(1)


class SignedData(NamedTuple):
    """A detached signature, taken apart.

    Attributes:
        certificates: DER each, in the order of the signature.
        issuer: DER Name of the issuer of the signer's certificate.
        serial: serial number of the signer's certificate.
        hash_name: hash of the message digest and of the signature: ``sha256``…
        key_kind: ``ECDSA`` or ``RSA``.
        attributes: signed attributes: OID → DER of the one value that each has.
        signed_bytes: DER SET of the signed attributes: what `signature` is over.
        signature: raw.
        unsigned: unsigned attributes, (OID, DER of a value), in order; nobody vouches for them.
    """

    certificates: tuple[bytes, ...]
    issuer: bytes
    serial: int
    hash_name: str
    key_kind: str
    attributes: dict[str, bytes]
    signed_bytes: bytes
    signature: bytes
    unsigned: tuple[tuple[str, bytes], ...]


def parse_signed_data(data: bytes) -> SignedData:
    """Read a DER ContentInfo that holds SignedData. Raises FormatError."""
    if len(data) > MAX_SIGNATURE_BYTES:
        raise FormatError(_WHAT, f"is larger than {MAX_SIGNATURE_BYTES} bytes")
    outer = der.decode(data, _WHAT, der.SEQUENCE).reader(_WHAT)
    if outer.oid() != OID_SIGNED_DATA:
        raise FormatError(_WHAT, "is not CMS signed data")
    fields = der.decode(outer.content(der.context(0)), _WHAT, der.SEQUENCE).reader(_WHAT)
    outer.end()
    if fields.integer() != 1:
        raise FormatError(_WHAT, "is not of CMS version 1")
    digests = {_hash_of(item) for item in _set_elements(fields.read(der.SET), ordered=True)}
    content = fields.sequence()
    if content.oid() != OID_DATA:
        raise FormatError(_WHAT, "is over another type of content than plain data")
    if content:
        raise FormatError(_WHAT, "brings content of its own along")
    certificates = tuple(_certificates(fields.read(der.context(0))))
    signers = fields.read(der.SET).reader(_WHAT)
    signer = signers.sequence()
    if signers:
        raise FormatError(_WHAT, "has more than one signer")
    fields.end()
    return _parse_signer(signer, certificates, digests)


def _parse_signer(
    fields: der.Reader, certificates: tuple[bytes, ...], digests: set[str]
) -> SignedData:
    if fields.integer() != 1:
        raise FormatError(_WHAT, "names its signer by something else than issuer and serial")
    identifier = fields.sequence()
    issuer = identifier.read(der.SEQUENCE).encoded
    serial = identifier.integer()
    identifier.end()
    hash_name = _hash_of(fields.read(der.SEQUENCE))
    if hash_name not in digests:
        raise FormatError(_WHAT, "does not list its signer's hash algorithm")
    signed = fields.read(_SIGNED)
    algorithm = fields.sequence()
    key_kind = _key_kind(algorithm, hash_name)
    signature = fields.content(der.OCTET_STRING)
    unsigned = fields.optional(_UNSIGNED)
    fields.end()
    return SignedData(
        certificates,
        issuer,
        serial,
        hash_name,
        key_kind,
        _signed_attributes(signed),
        der.encode(der.SET, signed.content),  # §5.4: signed under its own tag
        signature,
        () if unsigned is None else tuple(_attributes(unsigned, ordered=False)),
    )


def _certificates(bag: der.Element) -> Iterator[bytes]:
    reader = bag.reader(_WHAT)
    for _ in range(MAX_CERTIFICATES):
        if not reader:
            return
        yield reader.read(der.SEQUENCE).encoded
    if reader:
        raise FormatError(_WHAT, f"holds more than {MAX_CERTIFICATES} certificates")


def _signed_attributes(element: der.Element) -> dict[str, bytes]:
    """Each once, with one value; in DER's order, or the signed bytes would have two spellings."""
    attributes: dict[str, bytes] = {}
    for oid, value in _attributes(element, ordered=True):
        if oid in attributes:
            raise FormatError(_WHAT, f"has signed attribute {oid} twice")
        attributes[oid] = value
    return attributes


def _attributes(element: der.Element, *, ordered: bool) -> Iterator[tuple[str, bytes]]:
    """(OID, DER of a value) of a SET OF Attribute, whose own values are sets too."""
    count = 0
    for item in _set_elements(element, ordered=ordered):
        attribute = item.expect(der.SEQUENCE, _WHAT).reader(_WHAT)
        oid = attribute.oid()
        values = _set_elements(attribute.read(der.SET), ordered=ordered)
        attribute.end()
        count += len(values)
        if count > MAX_ATTRIBUTES:
            raise FormatError(_WHAT, f"has more than {MAX_ATTRIBUTES} attributes")
        for value in values:
            yield oid, value.encoded


def _set_elements(element: der.Element, *, ordered: bool) -> list[der.Element]:
    """The elements of a SET OF, of which there must be one; `ordered` as DER has it (§11.6).

    Peers differ in how they order unsigned attributes, where it means nothing.
    """
    reader = element.reader(_WHAT)
    elements: list[der.Element] = []
    while reader:
        if len(elements) == MAX_ATTRIBUTES:
            raise FormatError(_WHAT, f"has a set of more than {MAX_ATTRIBUTES} elements")
        elements.append(reader.read())
    if not elements:
        raise FormatError(_WHAT, "has an empty set")
    encoded = [item.encoded for item in elements]
    if ordered and encoded != sorted(encoded):
        raise FormatError(_WHAT, "has a set whose elements are not in DER's order")
    return elements


def _hash_of(element: der.Element) -> str:
    algorithm = element.expect(der.SEQUENCE, _WHAT).reader(_WHAT)
    oid = algorithm.oid()
    _no_parameters(algorithm)
    if oid not in HASHES:
        raise FormatError(_WHAT, f"hash algorithm {oid} is not allowed")
    return HASHES[oid]


def _key_kind(algorithm: der.Reader, hash_name: str) -> str:
    oid = algorithm.oid()
    _no_parameters(algorithm)
    kind, its_hash = ("RSA", hash_name) if oid == _OID_RSA else SIGNATURES.get(oid, ("", ""))
    if not kind:
        raise FormatError(_WHAT, f"signature algorithm {oid} is not allowed")
    if its_hash != hash_name:
        raise FormatError(_WHAT, "names two different hash algorithms")
    return kind


def _no_parameters(algorithm: der.Reader) -> None:
    parameters = algorithm.optional(der.NULL)  # RFC 5754 §2: NULL or left out
    if parameters is not None and parameters.content:
        raise FormatError(_WHAT, "has a NULL that is not empty")
    algorithm.end()
