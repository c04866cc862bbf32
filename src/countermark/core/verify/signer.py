# SPDX-License-Identifier: Apache-2.0
"""Who a Fulcio certificate says its subject is: name, issuer of the identity, and the rest.

The extensions are those of 1.3.6.1.4.1.57264.1.N: N from 1 to 6 hold bare UTF-8, N from 8 a
DER UTF8String.
"""

from functools import lru_cache
from typing import NamedTuple

from countermark.core.crypto import der
from countermark.core.crypto.certificate import Certificate
from countermark.core.encoding import from_utf8
from countermark.core.errors import FormatError, IdentityMismatch

_PREFIX = "1.3.6.1.4.1.57264.1."
_ISSUER_V1, _ISSUER_V2 = 1, 8
_BARE = range(1, 7)
EXTENSION_NAMES = {
    2: "github-workflow-trigger",
    3: "github-workflow-sha",
    4: "github-workflow-name",
    5: "github-workflow-repository",
    6: "github-workflow-ref",
    9: "build-signer-uri",
    10: "build-signer-digest",
    11: "runner-environment",
    12: "source-repository-uri",
    13: "source-repository-digest",
    14: "source-repository-ref",
    15: "source-repository-identifier",
    16: "source-repository-owner-uri",
    17: "source-repository-owner-identifier",
    18: "build-config-uri",
    19: "build-config-digest",
    20: "build-trigger",
    21: "run-invocation-uri",
    22: "source-repository-visibility",
    23: "deployment-environment",
    24: "token-subject",
}

_NUMBERS = {f"{_PREFIX}{number}": number for number in (_ISSUER_V1, _ISSUER_V2, *EXTENSION_NAMES)}


class SignerIdentity(NamedTuple):
    """A certified identity.

    Attributes:
        kind: ``email``, ``uri``, ``dns``, or the dotted type-id of an otherName.
        name: the one subject alternative name.
        issuer: URL of the identity provider that vouched for it; empty if not said.
        extensions: the other Fulcio extensions, as (N, text), N ascending.
    """

    kind: str
    name: str
    issuer: str
    extensions: tuple[tuple[int, str], ...]

    @classmethod
    def from_certificate(cls, leaf: Certificate) -> "SignerIdentity":
        """Read the identity in a leaf certificate.

        Raises FormatError for fields that cannot be read, IdentityMismatch for a certificate
        that names nobody, several, or two issuers.
        """
        return _identity(leaf.der)

    def extension(self, number: int) -> str | None:
        """The text of extension N, None if the certificate does not have it."""
        return dict(self.extensions).get(number)


@lru_cache(maxsize=256)
def _identity(leaf_der: bytes) -> SignerIdentity:
    leaf = Certificate.parse(leaf_der)
    names = leaf.subject_alternative_names()
    if len(names) != 1:
        raise IdentityMismatch(f"the certificate has {len(names)} names instead of one")
    values = _fulcio_extensions(leaf)
    issuers = {values.pop(_ISSUER_V1, ""), values.pop(_ISSUER_V2, "")} - {""}
    if len(issuers) > 1:
        raise IdentityMismatch("the certificate names two different issuers of its identity")
    issuer = issuers.pop() if issuers else ""
    return SignerIdentity(names[0].kind, names[0].value, issuer, tuple(sorted(values.items())))


def _fulcio_extensions(leaf: Certificate) -> dict[int, str]:
    values: dict[int, str] = {}
    for extension in leaf.extensions:
        number = _NUMBERS.get(extension.oid)
        if number is None:
            continue  # not Fulcio's, or newer than this program: no policy can ask for it
        what, value = "certificate extension", extension.value
        if number not in _BARE:
            value = der.decode(value, what, der.UTF8_STRING).content
        values[number] = from_utf8(value, what)
        if not value:
            raise FormatError(f"{what} {extension.oid}", "is empty")
    return values
