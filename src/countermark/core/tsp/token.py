# SPDX-License-Identifier: Apache-2.0
"""Writing timestamp tokens (RFC 3161 section 2.4.2, RFC 5652, RFC 5816) as upstream writes them.

In two halves, so that any `Signer` can be between them: `TokenTemplate.draft` gives the bytes to
sign, `Draft.with_signature` the finished TimeStampResp. Reading tokens is in `response`.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from countermark.core.crypto import der
from countermark.core.crypto.certificate import (
    EKU_TIME_STAMPING,
    OID_EXTENDED_KEY_USAGE,
    Certificate,
)
from countermark.core.errors import AlgorithmRefused, ChainInvalid
from countermark.core.tsp.request import (
    DIGEST_BYTES,
    HASH_OIDS,
    TimestampRequest,
    message_imprint,
)

SERIAL_BYTES = 20  # RFC 3161 section 2.4.2: up to 160 bits

_OID_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_OID_TST_INFO = der.oid("1.2.840.113549.1.9.16.1.4")
_OID_CONTENT_TYPE = der.oid("1.2.840.113549.1.9.3")
_OID_MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.4")
_OID_SIGNING_TIME = der.oid("1.2.840.113549.1.9.5")
_OID_SIGNING_CERTIFICATE_V2 = der.oid("1.2.840.113549.1.9.16.2.47")
_SIGNATURE_ALGORITHMS = {
    ("ECDSA", "sha256"): der.sequence(der.oid("1.2.840.10045.4.3.2")),
    ("ECDSA", "sha384"): der.sequence(der.oid("1.2.840.10045.4.3.3")),
    ("ECDSA", "sha512"): der.sequence(der.oid("1.2.840.10045.4.3.4")),
    ("RSA", "sha256"): der.sequence(der.oid("1.2.840.113549.1.1.11"), der.NULL_VALUE),
}
_VERSION_1, _VERSION_3 = der.integer(1), der.integer(3)
_GRANTED = der.sequence(der.integer(0))
_ACCURACY = der.sequence(der.integer(1))  # one second: times are whole seconds


@dataclass(frozen=True, slots=True)
class Draft:
    """A token that lacks its signature.

    Attributes:
        message_to_sign: DER of the signed attributes, as a SET.
        signed_data: all elements of the SignedData before its signer infos.
        before_attributes: the elements of the SignerInfo that come before its attributes.
        signature_algorithm: DER AlgorithmIdentifier.
    """

    message_to_sign: bytes
    signed_data: bytes
    before_attributes: bytes
    signature_algorithm: bytes

    def with_signature(self, signature: bytes) -> bytes:
        """The DER TimeStampResp, status granted."""
        # The same bytes under another tag: what is signed is the SET (RFC 5652 section 5.4).
        attributes = bytes((der.context(0),)) + self.message_to_sign[1:]
        signer_info = der.sequence(
            self.before_attributes,
            attributes,
            self.signature_algorithm,
            der.octet_string(signature),
        )
        signed_data = der.sequence(self.signed_data, der.encode(der.SET, signer_info))
        token = der.sequence(_OID_SIGNED_DATA, der.encode(der.context(0), signed_data))
        return der.sequence(_GRANTED, token)


class TokenTemplate:
    """What is the same in every token of an authority, made once from its certificate."""

    __slots__ = (
        "_before_digest",
        "_certificates",
        "_digest_algorithm",
        "_hash_name",
        "_policy",
        "_signature_algorithm",
        "_signer_id",
        "_signing_certificate",
        "_tsa",
    )

    def __init__(self, certificate: Certificate, *, policy: str) -> None:
        """Make ready to issue under `certificate` and the policy of that dotted OID.

        Raises ChainInvalid for one that verifiers would refuse, AlgorithmRefused for keys that
        cannot sign tokens.
        """
        _check_profile(certificate)
        key = certificate.public_key
        kind = "RSA" if "RSA" in key.details else "ECDSA"
        if (kind, key.hash_name) not in _SIGNATURE_ALGORITHMS:
            raise AlgorithmRefused(f"{key.details} keys cannot sign timestamp tokens")
        self._policy = der.oid(policy)
        length = DIGEST_BYTES[key.hash_name]
        self._before_digest = _attribute(_OID_MESSAGE_DIGEST, der.octet_string(bytes(length)))[
            :-length
        ]
        self._hash_name = key.hash_name
        self._signature_algorithm = _SIGNATURE_ALGORITHMS[kind, key.hash_name]
        self._digest_algorithm = der.sequence(der.oid(HASH_OIDS[key.hash_name]))
        serial = der.integer(certificate.serial)
        signer = der.sequence(certificate.issuer, serial)
        self._signer_id = _VERSION_1 + signer + self._digest_algorithm
        self._certificates = der.encode(der.context(0), certificate.der)
        # GeneralName is a CHOICE: both of its tags are explicit.
        self._tsa = der.encode(der.context(0), der.encode(der.context(4), certificate.subject))
        issuer = der.sequence(der.encode(der.context(4), certificate.issuer))
        self._signing_certificate = {
            name: _signing_certificate(certificate.der, der.sequence(issuer, serial), name)
            for name in HASH_OIDS
        }

    def draft(self, request: TimestampRequest, *, serial: int, time: datetime) -> Draft:
        """Begin a token.

        Args:
            request: what to timestamp. Its `policy` is the caller's to accept or refuse.
            serial: unique among all of the authority's tokens, positive, at most 160 bits.
            time: when; fractions of a second are dropped.
        """
        token_time, signing_time = _times(time.replace(microsecond=0))
        fields = [
            _VERSION_1,
            self._policy,
            message_imprint(request.hash_name, request.digest),
            der.integer(serial),
            token_time,
            _ACCURACY,
        ]
        if request.nonce is not None:
            fields.append(der.integer(request.nonce))
        info = der.sequence(*fields, self._tsa)
        attributes = der.set_of(
            _CONTENT_TYPE,
            signing_time,
            self._before_digest + hashlib.new(self._hash_name, info).digest(),
            self._signing_certificate[request.hash_name],
        )
        content = der.sequence(_OID_TST_INFO, der.encode(der.context(0), der.octet_string(info)))
        certificates = self._certificates if request.certificates else b""
        return Draft(
            attributes,
            _VERSION_3 + der.encode(der.SET, self._digest_algorithm) + content + certificates,
            self._signer_id,
            self._signature_algorithm,
        )


def _attribute(oid: bytes, value: bytes) -> bytes:
    return der.sequence(oid, der.encode(der.SET, value))


@lru_cache(maxsize=2)
def _times(time: datetime) -> tuple[bytes, bytes]:
    """The token's time and the signing time attribute, the same for all of a second's tokens."""
    return der.generalized_time(time), _attribute(_OID_SIGNING_TIME, der.x509_time(time))


_CONTENT_TYPE = _attribute(_OID_CONTENT_TYPE, _OID_TST_INFO)


def _signing_certificate(certificate: bytes, issuer_serial: bytes, hash_name: str) -> bytes:
    # Upstream names the certificate by the request's hash; SHA-256 is the default, left out.
    digest = der.octet_string(hashlib.new(hash_name, certificate).digest())
    algorithm = b"" if hash_name == "sha256" else der.sequence(der.oid(HASH_OIDS[hash_name]))
    certificate_id = der.sequence(algorithm, digest, issuer_serial)
    return _attribute(_OID_SIGNING_CERTIFICATE_V2, der.sequence(der.sequence(certificate_id)))


def _check_profile(certificate: Certificate) -> None:
    # RFC 3161 section 2.3: timeStamping alone, and critical.
    usage = certificate.extension(OID_EXTENDED_KEY_USAGE)
    if certificate.basic_constraints()[0]:
        raise ChainInvalid("the timestamp authority's signing certificate is a CA's")
    if certificate.extended_key_usages() != (EKU_TIME_STAMPING,) or not (usage and usage.critical):
        raise ChainInvalid(
            "the timestamp authority's certificate is not for time stamping alone, critically"
        )
