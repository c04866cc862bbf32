# SPDX-License-Identifier: Apache-2.0
"""A Git signature as a bundle, and back: gitsign's format with the log entry inside.

What is signed, timestamped and logged is not the Git object but the signature's signed
attributes, one of which is the object's digest. So a signature is a bundle about the bytes of
its attributes, and `countermark.core.verify` judges it like any other.

Entry: unsigned attribute 1.3.6.1.4.1.57264.3.1, an OCTET STRING of protobuf. Timestamp: RFC
3161's attribute, a bare token.
"""

import hashlib
from typing import NamedTuple

from countermark.core.bundle.bundle import (
    MAX_ENTRIES,
    MAX_TIMESTAMPS,
    Bundle,
    MessageSignature,
    TransparencyLogEntry,
)
from countermark.core.cms.entry import parse_entry
from countermark.core.cms.signed_data import (
    OID_CONTENT_TYPE,
    OID_DATA,
    OID_MESSAGE_DIGEST,
    SignedData,
    parse_signed_data,
)
from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import decode_pem
from countermark.core.encoding import from_utf8
from countermark.core.errors import FormatError, InclusionInvalid, SignatureInvalid
from countermark.core.rekor.hashedrekord import (
    KIND,
    VERSION,
    VERSION_V2,
    canonical_body,
    canonical_body_v2,
)

PEM_LABEL = "SIGNED MESSAGE"
OID_LOG_ENTRY = "1.3.6.1.4.1.57264.3.1"
OID_TIMESTAMP = "1.2.840.113549.1.9.16.2.14"
MAX_ARMOUR_BYTES = 64 * 1024
_WHAT = "signature"
_DATA = der.oid(OID_DATA)
_GRANTED = der.sequence(der.integer(0))


class GitSignature(NamedTuple):
    """A parsed signature of a commit or tag; nothing is verified.

    Attributes:
        signed_data: as it was taken apart.
        certificate: the signer's.
    """

    signed_data: SignedData
    certificate: Certificate

    @classmethod
    def parse(cls, armoured: bytes) -> "GitSignature":
        """Read PEM ``SIGNED MESSAGE``, one block and nothing else. Raises FormatError."""
        if len(armoured) > MAX_ARMOUR_BYTES:
            raise FormatError(_WHAT, f"is larger than {MAX_ARMOUR_BYTES} bytes")
        label, data = decode_pem(from_utf8(armoured, _WHAT), _WHAT)
        if label != PEM_LABEL:
            raise FormatError(_WHAT, f"is a PEM {label[:40]!r} block instead of {PEM_LABEL!r}")
        signed = parse_signed_data(data)
        found = [
            certificate
            for certificate in map(_certificate, signed.certificates)
            if (certificate.issuer, certificate.serial) == (signed.issuer, signed.serial)
        ]
        if len(found) != 1:
            raise FormatError(_WHAT, f"holds {len(found)} certificates of its signer")
        return cls(signed, found[0])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the signer's certificate, in hex."""
        return hashlib.sha256(self.certificate.der).hexdigest()

    def check_payload(self, payload: bytes) -> None:
        """Check that the signed attributes are of this object. Raises SignatureInvalid.

        Nothing else ties the signature to it.
        """
        signed = self.signed_data
        if signed.attributes.get(OID_CONTENT_TYPE) != _DATA:
            raise SignatureInvalid("the signature is for another type of content")
        digest = hashlib.new(signed.hash_name, payload).digest()
        if signed.attributes.get(OID_MESSAGE_DIGEST) != der.octet_string(digest):
            raise SignatureInvalid("the signature is of another commit or tag")

    def bundle(self) -> Bundle:
        """The bundle about `signed_data.signed_bytes`.

        Raises FormatError for attributes that cannot be read, InclusionInvalid for a signature
        without log entry.
        """
        signed = self.signed_data
        if signed.key_kind not in self.certificate.public_key.details:
            raise FormatError(_WHAT, "names another kind of key than its certificate has")
        entries = _values(signed, OID_LOG_ENTRY, MAX_ENTRIES)
        if not entries:
            error = InclusionInvalid("the signature carries no log entry")
            error.add_note("gitsign leaves it out unless it is told to sign with rekorMode=offline")
            raise error
        return Bundle(
            "0.3",
            (self.certificate.der,),
            None,
            tuple(self._entry(value) for value in entries),
            tuple(
                der.sequence(_GRANTED, token)
                for token in _values(signed, OID_TIMESTAMP, MAX_TIMESTAMPS)
            ),
            MessageSignature(signed.signature, "", b""),
        )

    def _entry(self, value: bytes) -> TransparencyLogEntry:
        """The entry with its body, which is rebuilt: it can then be of nothing else."""
        entry = parse_entry(der.decode(value, _WHAT, der.OCTET_STRING).content)
        signed, certificate = self.signed_data, self.certificate
        digest = hashlib.new(signed.hash_name, signed.signed_bytes).digest()
        if (entry.kind, entry.version) == (KIND, VERSION):
            pem = certificate.to_pem()
            body = canonical_body(signed.hash_name, digest.hex(), signed.signature, pem)
        elif (entry.kind, entry.version) == (KIND, VERSION_V2):
            details = certificate.public_key.details
            body = canonical_body_v2(
                signed.hash_name, digest, signed.signature, details, certificate.der
            )
        else:
            kind = f"{entry.kind} {entry.version}"[:80]
            raise FormatError(_WHAT, f"carries a log entry of kind {kind!r}")
        if entry.canonicalized_body not in (b"", body):
            raise InclusionInvalid("the log entry in the signature is of another signature")
        return entry._replace(canonicalized_body=body)


def _certificate(data: bytes) -> Certificate:
    return Certificate.parse(data, "certificate in a signature")


def _values(signed: SignedData, wanted: str, limit: int) -> list[bytes]:
    values = [value for oid, value in signed.unsigned if oid == wanted]
    if len(values) > limit:
        raise FormatError(_WHAT, f"has more than {limit} attributes {wanted}")
    if len(set(values)) < len(values):
        raise FormatError(_WHAT, f"has attribute {wanted} twice with one value")
    return values
