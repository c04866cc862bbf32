# SPDX-License-Identifier: Apache-2.0
"""The one thing Rekor v1 asks of a chain of certificates: that it is one."""

from collections.abc import Sequence

from countermark.core.crypto.certificate import KEY_USAGE_CERT_SIGN, Certificate
from countermark.core.errors import AlgorithmRefused, ChainInvalid, SignatureInvalid


def check_chain(certificates: Sequence[Certificate]) -> None:
    """The first certificate must chain up to the last one, through any of those between.

    Judged at the start of the leaf's validity, for any purpose. Nobody trusts that root: this
    only keeps certificates out that have nothing to do with the signer. Raises ChainInvalid,
    and FormatError for extensions that cannot be read.
    """
    leaf, *issuers = certificates
    at, child, below = leaf.not_before, leaf, 0
    unused = list(issuers)
    while unused:
        issuer = next((other for other in unused if _issued(child, other)), None)
        if issuer is None:
            break
        is_ca, path_length = issuer.basic_constraints()
        if not is_ca or issuer.has_key_usage(KEY_USAGE_CERT_SIGN) is False:
            raise ChainInvalid("x509: an issuer's certificate is not an authority's")
        if path_length is not None and below > path_length:
            raise ChainInvalid("x509: the path is longer than an issuer allows")
        if not issuer.not_before <= at <= issuer.not_after:
            raise ChainInvalid("x509: an issuer's certificate was not valid when it issued")
        if issuer is issuers[-1]:
            return
        unused.remove(issuer)
        child, below = issuer, below + 1
    raise ChainInvalid("x509: certificate signed by unknown authority")


def _issued(child: Certificate, issuer: Certificate) -> bool:
    if child.issuer != issuer.subject:
        return False
    try:
        child.verify_signature(issuer.public_key)
    except (SignatureInvalid, AlgorithmRefused):
        return False
    return True
