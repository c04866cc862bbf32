# SPDX-License-Identifier: Apache-2.0
"""The CA's and the TSA's own certificates: a self-signed root and one certificate under it.

Profiles: the Fulcio certificate specification (root without EKU, intermediate with codeSigning
and path length 0) and RFC 3161 section 2.3 (TSA leaf: timeStamping alone, critical). Written
with our DER functions over the `Signer` port, so that a root key may be anywhere a `Signer` is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from countermark.core.crypto import der
from countermark.core.crypto.certificate import (
    EKU_CODE_SIGNING,
    EKU_TIME_STAMPING,
    OID_AUTHORITY_KEY_ID,
    OID_BASIC_CONSTRAINTS,
    OID_EXTENDED_KEY_USAGE,
    OID_KEY_USAGE,
    OID_SUBJECT_KEY_ID,
    Certificate,
)
from countermark.core.crypto.keys import PublicKey, encode_pem
from countermark.core.errors import AlgorithmRefused, SettingsError
from countermark.ports.clock import Entropy
from countermark.ports.signer import Signer

ROOT_LIFETIME = timedelta(days=3652)
INTERMEDIATE_LIFETIME = timedelta(days=1095)
CA_ROOT_NAME = "countermark-root"
TSA_ROOT_NAME = "countermark-tsa-root"
TSA_LIFETIME = ROOT_LIFETIME  # within its root; the key is as safe as the log's
_SHORTEST = timedelta(days=30)

_ALGORITHMS = {
    "PKIX_ECDSA_P256_SHA_256": der.sequence(der.oid("1.2.840.10045.4.3.2")),
    "PKIX_ECDSA_P384_SHA_384": der.sequence(der.oid("1.2.840.10045.4.3.3")),
    "PKIX_ED25519": der.sequence(der.oid("1.3.101.112")),
}
_CERT_AND_CRL_SIGN = der.bit_string(b"\x06", unused_bits=1)
_DIGITAL_SIGNATURE = der.bit_string(b"\x80", unused_bits=7)


@dataclass(frozen=True, slots=True)
class Subject:
    """A certificate's subject: sigstore-python wants both parts.

    Attributes:
        organization: O, for us the instance's host name.
        common_name: CN.
    """

    organization: str
    common_name: str

    def encode(self) -> bytes:
        """As a DER Name."""
        return der.sequence(
            der.set_of(der.sequence(der.oid("2.5.4.10"), der.utf8_string(self.organization))),
            der.set_of(der.sequence(der.oid("2.5.4.3"), der.utf8_string(self.common_name))),
        )


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate chain with the names that the trusted root gives it.

    Attributes:
        subject: the root's subject.
        chain: DER certificates, the root last.
    """

    subject: Subject
    chain: tuple[bytes, ...]

    def to_pem(self) -> str:
        """The chain as PEM, in its order."""
        return "".join(encode_pem("CERTIFICATE", certificate) for certificate in self.chain)


def issue_ca_chain(
    organization: str, root: Signer, issuing_key: PublicKey, start: datetime, entropy: Entropy
) -> Authority:
    """Certificates of the CA: the issuing intermediate (3 years) and its root (10 years).

    Args:
        organization: O of both subjects, at most 64 characters.
        root: the root key.
        issuing_key: public half of the online key.
        start: notBefore of both, whole seconds.
        entropy: for the serial numbers.
    """
    root_name = Subject(organization, CA_ROOT_NAME)
    anchor = _self_signed(root, root_name, start, entropy, path_length=None)
    return issue_under(CODE_SIGNING, organization, root, anchor, issuing_key, start, entropy)


def issue_tsa_chain(
    organization: str, root: Signer, tsa_key: PublicKey, start: datetime, entropy: Entropy
) -> Authority:
    """Certificates of the TSA: its own and its root's, both for 10 years.

    Arguments as of `issue_ca_chain`.
    """
    root_name = Subject(organization, TSA_ROOT_NAME)
    anchor = _self_signed(root, root_name, start, entropy, path_length=0)
    return issue_under(TIME_STAMPING, organization, root, anchor, tsa_key, start, entropy)


@dataclass(frozen=True, slots=True)
class Profile:
    """What the certificate under a root is for.

    Attributes:
        root_name: CN of the root.
        name: CN of the certificate.
        lifetime: how long it is valid, within its root's validity.
        extensions: that say what it is for, DER.
    """

    root_name: str
    name: str
    lifetime: timedelta
    extensions: tuple[bytes, ...]


def issue_under(
    profile: Profile,
    organization: str,
    root: Signer,
    anchor: bytes,
    key: PublicKey,
    start: datetime,
    entropy: Entropy,
) -> Authority:
    """A certificate for another key under a root that exists; its chain.

    Args:
        profile: `CODE_SIGNING` or `TIME_STAMPING`.
        organization: O of both subjects.
        root: the root key.
        anchor: the root's own certificate, DER.
        key: public half of the online key.
        start: notBefore, whole seconds.
        entropy: for the serial number.

    Raises SettingsError if `root` is not the key of `anchor`, or that has not long to live.
    """
    parsed = Certificate.parse(anchor)
    root_name = Subject(organization, profile.root_name)
    if parsed.spki != root.public_key.spki or parsed.subject != root_name.encode():
        raise SettingsError("the root key is not that of the root certificate")
    end = min(start + profile.lifetime, parsed.not_after)
    if end - start < _SHORTEST:
        error = SettingsError(f"the root certificate ends on {parsed.not_after:%Y-%m-%d}")
        error.add_note("rotate the root as well: add --new-root")
        raise error
    name = Subject(organization, profile.name)
    serial = _serial(entropy)
    certificate = _certificate(root, root_name, name, key, start, end, serial, profile.extensions)
    return Authority(root_name, (certificate, anchor))


def _self_signed(
    root: Signer, name: Subject, start: datetime, entropy: Entropy, *, path_length: int | None
) -> bytes:
    return _certificate(
        root,
        name,
        name,
        root.public_key,
        start,
        start + ROOT_LIFETIME,
        _serial(entropy),
        (_key_usage(_CERT_AND_CRL_SIGN), _basic_constraints(path_length=path_length)),
    )


def _certificate(
    issuer: Signer,
    issuer_name: Subject,
    name: Subject,
    key: PublicKey,
    start: datetime,
    end: datetime,
    serial: int,
    extensions: Sequence[bytes],
) -> bytes:
    details = issuer.public_key.details
    if details not in _ALGORITHMS:
        raise AlgorithmRefused(f"keys of kind {details} cannot sign certificates here")
    algorithm = _ALGORITHMS[details]
    identifiers = [_extension(OID_SUBJECT_KEY_ID, der.octet_string(_key_identifier(key)))]
    if key != issuer.public_key:
        authority = der.encode(
            der.context(0, constructed=False), _key_identifier(issuer.public_key)
        )
        identifiers.append(_extension(OID_AUTHORITY_KEY_ID, der.sequence(authority)))
    body = der.sequence(
        der.encode(der.context(0), der.integer(2)),
        der.integer(serial),
        algorithm,
        issuer_name.encode(),
        der.sequence(der.x509_time(start), der.x509_time(end)),
        name.encode(),
        key.spki,
        der.encode(der.context(3), der.sequence(*extensions, *identifiers)),
    )
    return der.sequence(body, algorithm, der.bit_string(issuer.sign(body)))


def _serial(entropy: Entropy) -> int:
    # RFC 5280 section 4.1.2.2: positive, at most 20 octets.
    return int.from_bytes(entropy.bytes(20)) >> 1 | 1


def _key_identifier(key: PublicKey) -> bytes:
    """RFC 5280 section 4.2.1.2, method (1): SHA-1 of the SPKI's bit string."""
    info = der.Reader(key.spki, "public key").sequence()
    info.read(der.SEQUENCE)
    bits = der.decode_bit_string(info.read(), "public key")
    return hashlib.sha1(bits, usedforsecurity=False).digest()


def _key_usage(bits: bytes) -> bytes:
    return _extension(OID_KEY_USAGE, bits, critical=True)


def _basic_constraints(*, path_length: int | None) -> bytes:
    limit = () if path_length is None else (der.integer(path_length),)
    return _extension(OID_BASIC_CONSTRAINTS, der.sequence(der.boolean(True), *limit), critical=True)


def _extension(number: str, value: bytes, *, critical: bool = False) -> bytes:
    flag = (der.boolean(True),) if critical else ()
    return der.sequence(der.oid(number), *flag, der.octet_string(value))


CODE_SIGNING: Final = Profile(
    CA_ROOT_NAME,
    "countermark-intermediate",
    INTERMEDIATE_LIFETIME,
    (
        _key_usage(_CERT_AND_CRL_SIGN),
        _extension(OID_EXTENDED_KEY_USAGE, der.sequence(der.oid(EKU_CODE_SIGNING))),
        _basic_constraints(path_length=0),
    ),
)
TIME_STAMPING: Final = Profile(
    TSA_ROOT_NAME,
    "countermark-tsa",
    TSA_LIFETIME,
    (
        _key_usage(_DIGITAL_SIGNATURE),
        _extension(OID_EXTENDED_KEY_USAGE, der.sequence(der.oid(EKU_TIME_STAMPING)), critical=True),
    ),
)
