# SPDX-License-Identifier: Apache-2.0
"""Certificate paths (RFC 5280 §6) from a leaf to one configured chain, at one point in time.

There is no path building: a trusted root lists each authority's chain in order, and what a
bundle or token brings along never becomes an issuer.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from countermark.core.crypto.certificate import (
    EKU_CODE_SIGNING,
    KEY_USAGE_CERT_SIGN,
    KEY_USAGE_DIGITAL_SIGNATURE,
    OID_BASIC_CONSTRAINTS,
    OID_EXTENDED_KEY_USAGE,
    OID_KEY_USAGE,
    OID_SUBJECT_ALT_NAME,
    Certificate,
)
from countermark.core.errors import AlgorithmRefused, ChainInvalid, SignatureInvalid

# The critical extensions that the checks below and the policies act on.
_UNDERSTOOD = frozenset(
    (OID_BASIC_CONSTRAINTS, OID_EXTENDED_KEY_USAGE, OID_KEY_USAGE, OID_SUBJECT_ALT_NAME)
)


def verify_chain(
    leaf: Certificate, issuers: Sequence[Certificate], at: datetime, *, purpose: str
) -> None:
    """Check that `leaf` may be used for `purpose` at a time, vouched for by `issuers`.

    Args:
        leaf: the end-entity certificate.
        issuers: at least one; each issued the one before it, the last is the anchor, whose own
            signature says nothing and is not checked.
        at: the time to judge all of them by, the anchor included.
        purpose: dotted extended key usage; the leaf must have it, an issuer may not exclude it.

    Raises ChainInvalid.
    """
    if not issuers:
        raise ChainInvalid("there is no issuer certificate")
    _check_valid_at(leaf, at, "the certificate")
    for issuer in issuers:
        _check_valid_at(issuer, at, "an issuer's certificate")
    _verify_path(leaf.der, tuple(issuer.der for issuer in issuers), purpose)


@lru_cache(maxsize=256)
def _verify_path(leaf_der: bytes, issuer_ders: tuple[bytes, ...], purpose: str) -> None:
    # Remembered, since nothing in it depends on time: signers use a certificate several times.
    child = Certificate.parse(leaf_der)
    check_leaf(child, purpose)
    for depth, data in enumerate(issuer_ders):
        issuer = Certificate.parse(data)
        _check_issuer(issuer, purpose, certificates_below=depth)
        if child.issuer != issuer.subject:
            raise ChainInvalid("the certificate was issued under another name")
        _verify_issued(child.der, issuer.der)
        child = issuer


def check_leaf(leaf: Certificate, purpose: str) -> None:
    """Check what an end-entity certificate says of itself. Raises ChainInvalid."""
    _check_extensions(leaf)
    if leaf.basic_constraints()[0]:
        raise ChainInvalid("the certificate is an authority's, not a signer's")
    usage = leaf.has_key_usage(KEY_USAGE_DIGITAL_SIGNATURE)
    if usage is False or (usage is None and purpose == EKU_CODE_SIGNING):  # RFC 3161 asks for none
        raise ChainInvalid("the certificate is not for signing (key usage)")
    if purpose not in (leaf.extended_key_usages() or ()):
        raise ChainInvalid("the certificate is for another purpose (extended key usage)")


def _check_issuer(issuer: Certificate, purpose: str, *, certificates_below: int) -> None:
    _check_extensions(issuer)
    is_ca, path_length = issuer.basic_constraints()
    if not is_ca:
        raise ChainInvalid("an issuer's certificate is not an authority's")
    if path_length is not None and certificates_below > path_length:
        raise ChainInvalid("the path is longer than an issuer allows")
    if issuer.has_key_usage(KEY_USAGE_CERT_SIGN) is False:
        raise ChainInvalid("an issuer's key is not for certificates (key usage)")
    usages = issuer.extended_key_usages()
    if usages is not None and purpose not in usages:
        raise ChainInvalid("an issuer's certificate excludes this purpose (extended key usage)")


def _check_extensions(certificate: Certificate) -> None:
    if certificate.version != 3:
        raise ChainInvalid(f"an X.509 version {certificate.version} certificate is not accepted")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise ChainInvalid(f"critical extension {extension.oid} is not understood")


def _check_valid_at(certificate: Certificate, at: datetime, what: str) -> None:
    start, end = certificate.not_before, certificate.not_after
    if not start <= at <= end:
        raise ChainInvalid(
            f"{what} was not valid at {_utc(at)} (valid from {_utc(start)} to {_utc(end)})",
            found=f"signed at {_utc(at)}",
            expected=f"from {_utc(start)} to {_utc(end)}",
        )


def _utc(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


@lru_cache(maxsize=256)
def _verify_issued(child_der: bytes, issuer_der: bytes) -> None:
    # Remembered: an authority's own chain is the same for every bundle, and P-384 dominates.
    child, issuer = Certificate.parse(child_der), Certificate.parse(issuer_der)
    try:
        child.verify_signature(issuer.public_key)
    except (SignatureInvalid, AlgorithmRefused) as error:
        raise ChainInvalid(f"a certificate is not signed by its issuer: {error}") from error
