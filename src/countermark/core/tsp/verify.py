# SPDX-License-Identifier: Apache-2.0
"""Believing a timestamp: a trusted authority states that a signature existed at a time.

Rules: RFC 3161 §2.3 and §2.4, RFC 5816, and the trusted root's own period for the authority.
Everything is judged at the stated time, so an authority that has expired since still counts.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Protocol, TypeVar

from countermark.core.crypto import der
from countermark.core.crypto.certificate import (
    EKU_TIME_STAMPING,
    OID_EXTENDED_KEY_USAGE,
    Certificate,
)
from countermark.core.crypto.chain import verify_chain
from countermark.core.errors import (
    AlgorithmRefused,
    ChainInvalid,
    FormatError,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.tsp import response
from countermark.core.tsp.response import TimestampToken, parse_response

# CMS signature algorithms → hash; "" for those that leave it to the digest algorithm.
_SIGNATURES = {
    "1.2.840.10045.4.3.2": ("ECDSA", "sha256"),
    "1.2.840.10045.4.3.3": ("ECDSA", "sha384"),
    "1.2.840.10045.4.3.4": ("ECDSA", "sha512"),
    "1.2.840.113549.1.1.1": ("RSA_PKCS1V15", ""),
    "1.2.840.113549.1.1.11": ("RSA_PKCS1V15", "sha256"),
    "1.2.840.113549.1.1.12": ("RSA_PKCS1V15", "sha384"),
    "1.2.840.113549.1.1.13": ("RSA_PKCS1V15", "sha512"),
    "1.3.101.112": ("ED25519", ""),
}
_TST_INFO = der.oid(response.OID_TST_INFO)
_WHAT = "timestamp"


class Period(Protocol):
    """When an authority is believed."""

    def covers(self, time: datetime) -> bool:
        """Whether `time` is part of it."""
        ...


class Authority(Protocol):
    """A trusted timestamp authority."""

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Its chain, the signer or the lowest issuer first, the anchor last."""
        ...

    @property
    def validity(self) -> Period:
        """When it is believed."""
        ...


A = TypeVar("A", bound=Authority)


def verify_timestamp(data: bytes, signature: bytes, authorities: Sequence[A]) -> tuple[datetime, A]:
    """Check a DER TimeStampResp over `signature`; gives the proven time and who states it.

    Raises FormatError for bytes that are no granted response, SignatureInvalid for one whose
    own signature is wrong, TimeUnproven for one that is over something else, of nobody trusted,
    or outside its authority's time.
    """
    token = parse_response(data)
    if hashlib.new(token.info.hash_name, signature).digest() != token.info.digest:
        raise TimeUnproven("a timestamp is over something else than the bundle's signature")
    refusal: Exception | None = None
    for authority in authorities:
        for signer, issuers in _candidates(token, authority):
            try:
                _verify_signed_by(token, signer)
                _verify_signer(signer, issuers, token.info.time)
            except (ChainInvalid, SignatureInvalid, AlgorithmRefused) as error:
                refusal = error
                continue
            if not authority.validity.covers(token.info.time):
                refusal = TimeUnproven("the trusted root limits the authority to another time")
                continue
            return token.info.time, authority
    if isinstance(refusal, SignatureInvalid | TimeUnproven):
        raise refusal
    if refusal is not None:
        raise TimeUnproven(f"a timestamp authority cannot be believed: {refusal}") from refusal
    raise TimeUnproven("a timestamp is from an authority that the trusted root does not list")


def _candidates(
    token: TimestampToken, authority: Authority
) -> list[tuple[Certificate, tuple[Certificate, ...]]]:
    """Signer certificates that the token may mean, with their issuers up to the anchor."""

    def named(certificate: Certificate) -> bool:
        return (certificate.issuer, certificate.serial) == (
            token.signer_issuer,
            token.signer_serial,
        )

    chain = authority.certificates
    if not chain[0].basic_constraints()[0]:
        return [(chain[0], chain[1:])] if named(chain[0]) else []
    # The authority is listed without its signer: one that came along may be its, as a leaf only.
    return [(certificate, chain) for certificate in token.certificates if named(certificate)]


def _verify_signer(signer: Certificate, issuers: tuple[Certificate, ...], time: datetime) -> None:
    _check_profile(signer.der)
    verify_chain(signer, issuers, time, purpose=EKU_TIME_STAMPING)


@lru_cache(maxsize=64)
def _check_profile(signer_der: bytes) -> None:
    signer = Certificate.parse(signer_der)
    usage = signer.extension(OID_EXTENDED_KEY_USAGE)
    if signer.extended_key_usages() != (EKU_TIME_STAMPING,) or not (usage and usage.critical):
        raise ChainInvalid("the signer's certificate is not for timestamps alone")


def _verify_signed_by(token: TimestampToken, signer: Certificate) -> None:
    attributes = token.attributes
    content_type = attributes.get(response.OID_ATTRIBUTE_CONTENT_TYPE)
    if content_type != _TST_INFO:
        raise SignatureInvalid("the timestamp's signature is for another type of content")
    digest = hashlib.new(token.digest_hash, token.info.der).digest()
    if attributes.get(response.OID_ATTRIBUTE_MESSAGE_DIGEST) != der.octet_string(digest):
        raise SignatureInvalid("the timestamp's signature is over another statement")
    _check_signing_certificate(attributes, signer)
    kind, hash_name = _SIGNATURES.get(token.signature_algorithm, ("", ""))
    key = signer.public_key
    if not kind or f"PKIX_{kind}" not in key.details:
        raise AlgorithmRefused(
            f"timestamp signature algorithm {token.signature_algorithm} is not allowed"
        )
    key.verify_with_hash(
        token.signature, token.signed_bytes, hash_name or token.digest_hash, "timestamp signature"
    )


def _check_signing_certificate(attributes: dict[str, bytes], signer: Certificate) -> None:
    """RFC 5035 and RFC 3161 §2.4.2: the signature itself must name the signer's certificate."""
    second = attributes.get(response.OID_ATTRIBUTE_SIGNING_CERTIFICATE_V2)
    first = attributes.get(response.OID_ATTRIBUTE_SIGNING_CERTIFICATE)
    if second is not None:
        hash_name, digest = _named_certificate(second, 2)
    elif first is not None:
        hash_name, digest = _named_certificate(first, 1)
    else:
        raise SignatureInvalid("the timestamp's signature does not name its certificate")
    if digest != _digest(signer.der, hash_name):
        raise SignatureInvalid("the timestamp's signature names another certificate")


@lru_cache(maxsize=64)
def _named_certificate(attribute: bytes, version: int) -> tuple[str, bytes]:
    """Hash and digest of the named certificate; the attributes of an authority are all alike."""
    identifier, hash_name = _first_identifier(attribute), "sha1"
    if version == 2:
        algorithm = identifier.optional(der.SEQUENCE)
        hash_name = response.hash_of(algorithm.reader(_WHAT)) if algorithm else "sha256"
    return hash_name, identifier.content(der.OCTET_STRING)


@lru_cache(maxsize=64)
def _digest(signer_der: bytes, hash_name: str) -> bytes:
    return hashlib.new(hash_name, signer_der, usedforsecurity=False).digest()


def _first_identifier(attribute: bytes) -> der.Reader:
    signing_certificate = der.decode(attribute, _WHAT, der.SEQUENCE).reader(_WHAT)
    identifiers = signing_certificate.sequence()
    if not identifiers:
        raise FormatError(_WHAT, "names no signing certificate")
    return identifiers.sequence()
