# SPDX-License-Identifier: Apache-2.0
"""Reading timestamp responses (RFC 3161 §2.4.2): status, CMS SignedData (RFC 5652), TSTInfo.

Nothing is believed here; `verify` does that. DER only, and no attribute or OID of unbounded
size. Certificates inside a token are candidates for its signer, never trust anchors.
"""

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import FormatError

MAX_RESPONSE_BYTES = 128 * 1024
HASHES = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
OID_TST_INFO = "1.2.840.113549.1.9.16.1.4"
OID_ATTRIBUTE_CONTENT_TYPE = "1.2.840.113549.1.9.3"
OID_ATTRIBUTE_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
OID_ATTRIBUTE_SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
OID_ATTRIBUTE_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
_OID_SIGNED_DATA = "1.2.840.113549.1.7.2"
_GRANTED, _GRANTED_WITH_MODS = 0, 1
_WHAT = "timestamp"
_MAX_CERTIFICATES = 10


class TSTInfo(NamedTuple):
    """What a timestamp authority states.

    Attributes:
        der: the statement's bytes, whose hash is signed.
        policy: dotted OID of the policy it was made under.
        hash_name: hash of the message imprint.
        digest: the message imprint: the digest of what was timestamped.
        serial: the token's number.
        time: when the digest existed (genTime).
        nonce: the request's nonce, if it had one.
    """

    der: bytes
    policy: str
    hash_name: str
    digest: bytes
    serial: int
    time: datetime
    nonce: int | None


class TimestampToken(NamedTuple):
    """A granted response's token, taken apart.

    Attributes:
        info: what is stated.
        certificates: those inside the token, in its order.
        signer_issuer: DER Name of the signer certificate's issuer.
        signer_serial: the signer certificate's serial number.
        digest_hash: hash of the messageDigest attribute.
        attributes: signed attributes: OID → DER of the one value each has.
        signed_bytes: DER SET of the signed attributes: what `signature` is over.
        signature_algorithm: dotted OID.
        signature: raw.
    """

    info: TSTInfo
    certificates: tuple[Certificate, ...]
    signer_issuer: bytes
    signer_serial: int
    digest_hash: str
    attributes: dict[str, bytes]
    signed_bytes: bytes
    signature_algorithm: str
    signature: bytes


def parse_response(data: bytes) -> TimestampToken:
    """Read a DER TimeStampResp and the token in it. Raises FormatError, also if not granted."""
    if len(data) > MAX_RESPONSE_BYTES:
        raise FormatError(_WHAT, f"is larger than {MAX_RESPONSE_BYTES} bytes")
    response = der.decode(data, _WHAT, der.SEQUENCE).reader(_WHAT)
    status = response.sequence().integer()
    if status not in (_GRANTED, _GRANTED_WITH_MODS):
        raise FormatError(_WHAT, f"was not granted (status {status})")
    content_info = response.sequence()
    response.end()
    if content_info.oid() != _OID_SIGNED_DATA:
        raise FormatError(_WHAT, "is not CMS signed data")
    signed_data = _explicit(content_info.read(der.context(0)))
    content_info.end()
    return _parse_signed_data(signed_data.expect(der.SEQUENCE, _WHAT).reader(_WHAT))


@lru_cache(maxsize=64)
def _hash_named(algorithm: bytes) -> str:
    """The hash that an encoded AlgorithmIdentifier names; tokens repeat a few of them."""
    return hash_of(der.Reader(algorithm, _WHAT).sequence())


def hash_of(algorithm: der.Reader) -> str:
    """The hash an AlgorithmIdentifier names; parameters absent or NULL."""
    oid = algorithm.oid()
    algorithm.optional(der.NULL)
    algorithm.end()
    if oid not in HASHES:
        raise FormatError(_WHAT, f"hash algorithm {oid} is not allowed")
    return HASHES[oid]


def _parse_signed_data(fields: der.Reader) -> TimestampToken:
    if fields.integer() not in (1, 3, 4, 5):
        raise FormatError(_WHAT, "CMS version is unknown")
    fields.content(der.SET)  # digest algorithms, named again by the signer
    encapsulated = fields.sequence()
    if encapsulated.oid() != OID_TST_INFO:
        raise FormatError(_WHAT, "holds no TSTInfo")
    content = _explicit(encapsulated.read(der.context(0))).expect(der.OCTET_STRING, _WHAT).content
    encapsulated.end()
    certificates: list[Certificate] = []
    if (bag := fields.optional(der.context(0))) is not None:
        reader = bag.reader(_WHAT)
        while reader:
            if len(certificates) == _MAX_CERTIFICATES:
                raise FormatError(_WHAT, f"holds more than {_MAX_CERTIFICATES} certificates")
            encoded = reader.read(der.SEQUENCE).encoded
            certificates.append(Certificate.parse(encoded, "certificate in a timestamp"))
    fields.optional(der.context(1))  # revocation lists mean nothing here
    signers = fields.read(der.SET).reader(_WHAT)
    signer = signers.sequence()
    signers.end()  # RFC 3161: exactly one signer
    fields.end()
    return _parse_signer(signer, _parse_tst_info(content), tuple(certificates))


def _parse_signer(
    fields: der.Reader, info: TSTInfo, certificates: tuple[Certificate, ...]
) -> TimestampToken:
    if fields.integer() != 1:
        raise FormatError(_WHAT, "names its signer by something else than issuer and serial")
    identifier = fields.sequence()
    issuer = identifier.read(der.SEQUENCE).encoded
    serial = identifier.integer()
    identifier.end()
    digest_hash = _hash_named(fields.read(der.SEQUENCE).encoded)
    attributes = fields.read(der.context(0))
    algorithm = fields.sequence().oid()
    signature = fields.content(der.OCTET_STRING)
    fields.optional(der.context(1))  # unsigned attributes mean nothing here
    fields.end()
    return TimestampToken(
        info,
        certificates,
        issuer,
        serial,
        digest_hash,
        _parse_attributes(attributes),
        der.encode(der.SET, attributes.content),  # RFC 5652 §5.4: signed under its own tag
        algorithm,
        signature,
    )


def _parse_attributes(element: der.Element) -> dict[str, bytes]:
    reader = element.reader(_WHAT)
    attributes: dict[str, bytes] = {}
    while reader:
        attribute = reader.sequence()
        oid = attribute.oid()
        values = attribute.content(der.SET)
        attribute.end()
        if oid in attributes:
            raise FormatError(_WHAT, f"has attribute {oid} twice")
        attributes[oid] = der.decode(values, _WHAT).encoded  # exactly one value
    return attributes


def _parse_tst_info(data: bytes) -> TSTInfo:
    fields = der.decode(data, _WHAT, der.SEQUENCE).reader(_WHAT)
    if fields.integer() != 1:
        raise FormatError(_WHAT, "TSTInfo version is not 1")
    policy = fields.oid()
    imprint = fields.sequence()
    hash_name = _hash_named(imprint.read(der.SEQUENCE).encoded)
    digest = imprint.content(der.OCTET_STRING)
    imprint.end()
    serial = fields.integer()
    time = der.decode_time(fields.read(der.GENERALIZED_TIME), _WHAT)
    fields.optional(der.SEQUENCE)  # accuracy
    fields.optional(der.BOOLEAN)  # ordering
    nonce = fields.integer() if fields.peek() == der.INTEGER else None
    fields.optional(der.context(0))  # the authority's name: a hint
    if fields:
        # RFC 3161 §2.4.2: an extension may change what the token means.
        raise FormatError(_WHAT, "has extensions")
    return TSTInfo(data, policy, hash_name, digest, serial, time, nonce)


def _explicit(element: der.Element) -> der.Element:
    return der.decode(element.content, _WHAT)
