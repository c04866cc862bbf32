# SPDX-License-Identifier: Apache-2.0
"""Precertificates: the poison extension, and the surgery on TBSCertificates around it.

RFC 6962 section 3.1. A log signs the TBSCertificate as it is without poison and without SCT
list; both ends derive it by cutting one extension out of the DER and leaving every other byte
as it stands.
"""

from countermark.core.crypto import der
from countermark.core.errors import FormatError

POISON_OID = "1.3.6.1.4.1.11129.2.4.3"
SCT_LIST_OID = "1.3.6.1.4.1.11129.2.4.2"
_POISON_OID_DER = der.oid(POISON_OID)
_SCT_LIST_OID_DER = der.oid(SCT_LIST_OID)
_EXTENSIONS = der.context(3)

POISON_EXTENSION = der.sequence(
    _POISON_OID_DER, der.boolean(True), der.octet_string(der.NULL_VALUE)
)
"""The critical extension that keeps a precertificate from being used as a certificate."""


def sct_list_extension(sct_list: bytes) -> bytes:
    """The extension around a serialized SignedCertificateTimestampList (section 3.3)."""
    return der.sequence(_SCT_LIST_OID_DER, der.octet_string(der.octet_string(sct_list)))


def tbs_of(certificate: bytes, what: str = "certificate") -> bytes:
    """The encoded TBSCertificate of a certificate, signature unchecked. Raises FormatError."""
    body = der.decode(certificate, what, der.SEQUENCE).reader(what)
    return body.read(der.SEQUENCE).encoded


def is_precertificate(tbs: bytes) -> bool:
    """Whether a TBSCertificate is poisoned, properly.

    Raises FormatError for a poison that is not critical or not NULL: neither a precertificate
    nor a certificate that anyone should sign.
    """
    found = _find(tbs, _POISON_OID_DER)
    if found is not None and found != POISON_EXTENSION:
        raise FormatError("precertificate", "the poison extension is malformed")
    return found is not None


def without_poison(tbs: bytes) -> bytes:
    """The TBSCertificate that an SCT for this precertificate signs. Raises FormatError."""
    return _cut(tbs, _POISON_OID_DER, "poison extension")


def without_sct_list(tbs: bytes) -> bytes:
    """The TBSCertificate that the SCTs embedded in this certificate sign. Raises FormatError."""
    return _cut(tbs, _SCT_LIST_OID_DER, "SCT list")


def _fields(tbs: bytes) -> list[der.Element]:
    reader = der.decode(tbs, "TBSCertificate", der.SEQUENCE).reader("TBSCertificate")
    fields = []
    while reader:
        fields.append(reader.read())
    return fields


def _extensions(holder: der.Element) -> list[bytes]:
    outer = holder.reader("certificate extensions")
    reader = outer.sequence()
    outer.end()
    extensions = []
    while reader:
        extensions.append(reader.read(der.SEQUENCE).encoded)
    return extensions


def _oid_of(extension: bytes) -> bytes:
    return der.Reader(extension, "certificate extension").sequence().read(der.OID).encoded


def _find(tbs: bytes, oid: bytes) -> bytes | None:
    fields = _fields(tbs)
    if not fields or fields[-1].tag != _EXTENSIONS:
        return None
    found = [extension for extension in _extensions(fields[-1]) if _oid_of(extension) == oid]
    if len(found) > 1:
        raise FormatError("TBSCertificate", "holds an extension twice")
    return found[0] if found else None


def _cut(tbs: bytes, oid: bytes, name: str) -> bytes:
    fields = _fields(tbs)
    if not fields or fields[-1].tag != _EXTENSIONS:
        raise FormatError("TBSCertificate", f"holds no {name}")
    extensions = _extensions(fields[-1])
    kept = [extension for extension in extensions if _oid_of(extension) != oid]
    if len(kept) != len(extensions) - 1:
        raise FormatError("TBSCertificate", f"does not hold one {name}")
    # A certificate whose only extension is cut out has none at all: the list may not be empty.
    tail = der.encode(_EXTENSIONS, der.sequence(*kept)) if kept else b""
    return der.sequence(*(field.encoded for field in fields[:-1]), tail)
