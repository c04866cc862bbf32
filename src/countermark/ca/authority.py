# SPDX-License-Identifier: Apache-2.0
"""An issuing CA: its chain, what leaves take over from it, and its private key."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from countermark.core.crypto import der
from countermark.core.crypto.certificate import (
    EKU_CODE_SIGNING,
    KEY_USAGE_CERT_SIGN,
    OID_SUBJECT_KEY_ID,
    Certificate,
)
from countermark.core.errors import CountermarkError, SettingsError
from countermark.core.identity.profile import IssuerProfile, subject_key_id
from countermark.ports.signer import Signer


@dataclass(frozen=True, slots=True)
class IssuingAuthority:
    """A chain and the key of its first certificate. Replaced as a whole when it is rotated.

    Attributes:
        chain: DER, issuing CA first, root last.
        profile: what leaves take over.
        issuer_key_hash: SHA-256 of the issuing key's SPKI.
        valid_s: the issuing certificate's validity, first and last Unix second.
        signer: the issuing key.
    """

    chain: tuple[bytes, ...]
    profile: IssuerProfile
    issuer_key_hash: bytes
    valid_s: tuple[int, int]
    signer: Signer

    @classmethod
    def load(cls, chain: Sequence[bytes], signer: Signer) -> Self:
        """Check a chain, as upstream does at start-up, and take from it what leaves need.

        The first certificate must be a CA for code signing that holds `signer`'s key, each one
        must be signed by the next, and the last by itself. Times are not judged here.
        Raises SettingsError.
        """
        try:
            certificates = [Certificate.parse(data, "CA certificate") for data in chain]
            _check_chain(certificates)
            issuing = certificates[0]
            if issuing.spki != signer.public_key.spki:
                raise SettingsError("the CA's key is not the one in its first certificate")
            key_id = _key_id(issuing)
        except SettingsError:
            raise
        except CountermarkError as error:
            raise SettingsError(f"the CA's certificate chain cannot be used: {error}") from error
        return cls(
            tuple(chain),
            IssuerProfile(issuing.subject, key_id, signer.public_key.details),
            hashlib.sha256(issuing.spki).digest(),
            (int(issuing.not_before.timestamp()), int(issuing.not_after.timestamp())),
            signer,
        )


def _check_chain(certificates: Sequence[Certificate]) -> None:
    if not certificates:
        raise SettingsError("the CA's certificate chain is empty")
    issuers = [*certificates[1:], certificates[-1]]
    for certificate, issuer in zip(certificates, issuers, strict=True):
        is_ca, _ = certificate.basic_constraints()
        if not is_ca or certificate.has_key_usage(KEY_USAGE_CERT_SIGN) is False:
            raise SettingsError("a certificate in the CA's chain may not sign certificates")
        usages = certificate.extended_key_usages()
        must_have = certificate is certificates[0] and len(certificates) > 1
        if EKU_CODE_SIGNING not in (usages or (() if must_have else (EKU_CODE_SIGNING,))):
            raise SettingsError("a certificate in the CA's chain is not for code signing")
        if certificate.issuer != issuer.subject:
            raise SettingsError("a certificate in the CA's chain is not named as its issuer is")
        certificate.verify_signature(issuer.public_key)


def _key_id(certificate: Certificate) -> bytes:
    extension = certificate.extension(OID_SUBJECT_KEY_ID)
    if extension is None:
        return subject_key_id(certificate.spki)
    return der.decode(extension.value, "subject key id", der.OCTET_STRING).content
