# SPDX-License-Identifier: Apache-2.0
"""Which submitted chains a CT log takes: RFC 6962 section 3.1 with Sigstore's settings.

The chain is in order, every certificate signed by the next, up to an accepted root (which may
be left out); the leaf is for code signing; precertificates come through their own endpoint.
Neither validity times nor names are judged: the log records what a CA did, right or wrong.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from countermark.core.crypto.certificate import (
    EKU_CODE_SIGNING,
    KEY_USAGE_CERT_SIGN,
    OID_PRECERT_POISON,
    Certificate,
)
from countermark.core.ct.precert import is_precertificate
from countermark.core.errors import ChainInvalid, CountermarkError, RequestRejected

_ANY_PURPOSE = "2.5.29.37.0"


@dataclass(frozen=True, slots=True)
class CheckedChain:
    """A chain that the log may take, and what becomes of it.

    Attributes:
        issuer_key_hash: SHA-256 of the issuer's SPKI for a precertificate, else empty.
        certificate: what is logged, DER.
        pre_certificate: the precertificate as submitted, else empty.
        chain: what stands above the leaf, issuer first, root last; DER.
    """

    issuer_key_hash: bytes
    certificate: bytes
    pre_certificate: bytes
    chain: tuple[bytes, ...]


def check_chain(
    chain: Sequence[bytes], roots: Collection[bytes], *, precertificate: bool
) -> CheckedChain:
    """Check a submitted chain, DER, leaf first.

    Args:
        chain: at least one certificate.
        roots: the accepted roots, DER.
        precertificate: whether it came through ``add-pre-chain``.

    Raises RequestRejected.
    """
    try:
        certificates = [Certificate.parse(data) for data in chain]
        path = _path(certificates, [Certificate.parse(data) for data in roots])
        is_poisoned = is_precertificate(path[0])
    except CountermarkError as error:
        raise RequestRejected(f"chain failed to verify: {error}") from error
    if is_poisoned != precertificate:
        raise RequestRejected("cert / precert mismatch: the leaf is not of the endpoint's kind")
    above = tuple(certificate.der for certificate in path[1:])
    leaf = path[0]
    if not precertificate:
        return CheckedChain(b"", leaf.der, b"", above)
    issuer_key_hash = hashlib.sha256(path[1].spki).digest()
    return CheckedChain(issuer_key_hash, leaf.tbs_without(OID_PRECERT_POISON), leaf.der, above)


def _path(certificates: list[Certificate], roots: list[Certificate]) -> list[Certificate]:
    """The chain with its root at the end, every signature checked."""
    if len({certificate.der for certificate in certificates}) != len(certificates):
        raise ChainInvalid("a certificate is in the chain twice")
    for certificate, issuer in pairwise(certificates):
        _check_issued(certificate, issuer)
    last = certificates[-1]
    path = certificates
    if all(last.der != root.der for root in roots):
        path = [*certificates, _root_of(last, roots)]
    for below, issuer in enumerate(path[1:]):
        _, limit = issuer.basic_constraints()
        if limit is not None and below > limit:
            raise ChainInvalid("an issuer in the chain allows no chain this long below it")
    if len(path) == 1:
        raise ChainInvalid("the chain is a root alone")
    usages = path[0].extended_key_usages()
    if usages is not None and not {EKU_CODE_SIGNING, _ANY_PURPOSE} & set(usages):
        raise ChainInvalid("the leaf is not for code signing")
    return path


def _root_of(certificate: Certificate, roots: list[Certificate]) -> Certificate:
    for root in roots:
        if root.subject == certificate.issuer:
            try:
                _check_issued(certificate, root)
            except CountermarkError:
                continue  # another accepted root may have the same name
            return root
    raise ChainInvalid("no accepted root issued the last certificate")


def _check_issued(certificate: Certificate, issuer: Certificate) -> None:
    if certificate.issuer != issuer.subject:
        raise ChainInvalid("a certificate is not followed by the one that issued it")
    is_ca, _ = issuer.basic_constraints()
    if not is_ca or issuer.has_key_usage(KEY_USAGE_CERT_SIGN) is False:
        raise ChainInvalid("an issuer in the chain may not sign certificates")
    certificate.verify_signature(issuer.public_key)
