# SPDX-License-Identifier: Apache-2.0
"""Writing detached CMS SignedData as gitsign does: one signer, its leaf certificate alone.

First `signed_attributes` gives the bytes to sign, then `signed_data` the whole.
"""

from collections.abc import Iterable
from datetime import datetime

from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.cms.entry import encode_entry
from countermark.core.cms.git_signature import OID_LOG_ENTRY, OID_TIMESTAMP, PEM_LABEL
from countermark.core.cms.signed_data import (
    OID_CONTENT_TYPE,
    OID_DATA,
    OID_MESSAGE_DIGEST,
    OID_SIGNED_DATA,
    OID_SIGNING_TIME,
    SIGNATURES,
)
from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import encode_pem
from countermark.core.errors import AlgorithmRefused, FormatError
from countermark.core.tsp.request import HASH_OIDS

_ALGORITHMS = {
    names: der.sequence(der.oid(oid), *((der.NULL_VALUE,) if names[0] == "RSA" else ()))
    for oid, names in SIGNATURES.items()
}
_VERSION_1 = der.integer(1)


def attribute(oid: str, *values: bytes) -> bytes:
    """An Attribute with one or more encoded values."""
    return der.sequence(der.oid(oid), der.set_of(*values))


def signed_attributes(digest: bytes, time: datetime) -> bytes:
    """DER SET of the attributes that are signed for plain data.

    Args:
        digest: of the data, under the hash that the signer's key signs with.
        time: the signer's own word for when; verifiers go by proven times instead.
    """
    return der.set_of(
        attribute(OID_CONTENT_TYPE, der.oid(OID_DATA)),
        attribute(OID_MESSAGE_DIGEST, der.octet_string(digest)),
        attribute(OID_SIGNING_TIME, der.x509_time(time)),
    )


def signed_data(
    attributes: bytes, signature: bytes, certificate: Certificate, unsigned: Iterable[bytes]
) -> bytes:
    """DER ContentInfo that holds a detached signature.

    Args:
        attributes: the signed ones, of `signed_attributes`.
        signature: over them, under the hash that the certificate's key signs with.
        certificate: the signer's.
        unsigned: more attributes, of `attribute`.

    Raises AlgorithmRefused for keys that cannot sign in CMS.
    """
    key = certificate.public_key
    kind = "RSA" if "RSA" in key.details else "ECDSA"
    if (kind, key.hash_name) not in _ALGORITHMS:
        raise AlgorithmRefused(f"{key.details} keys make no signatures for Git")
    digest_algorithm = der.sequence(der.oid(HASH_OIDS[key.hash_name]))
    tail = b"".join(sorted(unsigned))
    signer = der.sequence(
        _VERSION_1,
        der.sequence(certificate.issuer, der.integer(certificate.serial)),
        digest_algorithm,
        bytes((der.context(0),)) + attributes[1:],  # under another tag than it was signed under
        _ALGORITHMS[kind, key.hash_name],
        der.octet_string(signature),
        der.encode(der.context(1), tail) if tail else b"",
    )
    content = der.sequence(
        _VERSION_1,
        der.encode(der.SET, digest_algorithm),
        der.sequence(der.oid(OID_DATA)),
        der.encode(der.context(0), certificate.der),
        der.encode(der.SET, signer),
    )
    return der.sequence(der.oid(OID_SIGNED_DATA), der.encode(der.context(0), content))


def git_signature(attributes: bytes, bundle: Bundle) -> str:
    """PEM of the signature that a bundle is about the bytes of `attributes` (see there).

    Raises FormatError for a bundle that does not fit, AlgorithmRefused.
    """
    if not isinstance(bundle.content, MessageSignature) or len(bundle.certificates) != 1:
        raise FormatError("bundle", "is no certified signature over plain data")
    unsigned = [
        attribute(OID_LOG_ENTRY, der.octet_string(encode_entry(entry)))
        for entry in bundle.tlog_entries
    ]
    unsigned += [attribute(OID_TIMESTAMP, _token(stamp)) for stamp in bundle.timestamps]
    certificate = Certificate.parse(bundle.certificates[0])
    data = signed_data(attributes, bundle.signature, certificate, unsigned)
    return encode_pem(PEM_LABEL, data)


def _token(response: bytes) -> bytes:
    """The token in a DER TimeStampResp."""
    fields = der.decode(response, "timestamp", der.SEQUENCE).reader("timestamp")
    fields.read(der.SEQUENCE)
    return fields.read(der.SEQUENCE).encoded
