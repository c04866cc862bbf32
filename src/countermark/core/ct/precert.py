# SPDX-License-Identifier: Apache-2.0
"""Precertificates: certificates that carry a poison extension until their SCT exists.

RFC 6962 section 3.1. Only precertificates signed by the issuing certificate itself: the other
kind, with a precertificate signing certificate in between, no Sigstore CA makes.
"""

from countermark.core.crypto import der
from countermark.core.crypto.certificate import OID_PRECERT_POISON, OID_SCT_LIST, Certificate
from countermark.core.errors import FormatError

POISON_EXTENSION = der.sequence(
    der.oid(OID_PRECERT_POISON), der.boolean(True), der.octet_string(der.NULL_VALUE)
)
"""The critical extension that keeps a precertificate from being used as a certificate."""

_SCT_LIST_OID = der.oid(OID_SCT_LIST)


def sct_list_extension(sct_list: bytes) -> bytes:
    """The extension around a serialized SignedCertificateTimestampList (section 3.3)."""
    return der.sequence(_SCT_LIST_OID, der.octet_string(der.octet_string(sct_list)))


def is_precertificate(certificate: Certificate) -> bool:
    """Whether a certificate is poisoned, properly.

    Raises FormatError for a poison that is not critical or not NULL: neither a precertificate
    nor a certificate that anyone should vouch for.
    """
    poison = certificate.extension(OID_PRECERT_POISON)
    if poison is None:
        return False
    if not poison.critical or poison.value != der.NULL_VALUE:
        raise FormatError("precertificate", "the poison extension is malformed")
    return True
