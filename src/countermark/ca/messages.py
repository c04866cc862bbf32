# SPDX-License-Identifier: Apache-2.0
"""What workers ask of the CA's keeper."""

from typing import Annotated, Literal

import msgspec

from countermark.core.errors import Unavailable
from countermark.rpc.message import Request


class CTSubmissionFailed(Unavailable):
    """The CT log did not take a precertificate, or its SCT does not hold: nothing was issued."""

    code = "ct-submission-failed"


class Issued(msgspec.Struct, frozen=True, array_like=True):
    """A new certificate: DER, leaf first, root last."""

    chain: tuple[bytes, ...]


class IssueCertificate(Request[Issued], tag="ca.issue", frozen=True):
    """Certify a key whose possession was proven for an identity that a token proved.

    Fields: SubjectPublicKeyInfo as DER and its key identifier; the subject alternative name;
    Fulcio extensions as (N, text), N ascending. Answered after the CT log has the
    precertificate. Raises CTSubmissionFailed, Pushback.
    """

    spki: Annotated[bytes, msgspec.Meta(min_length=32, max_length=2048)]
    key_id: Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]
    san_type: Literal["email", "uri"]
    san_value: Annotated[str, msgspec.Meta(min_length=1, max_length=65536)]
    extensions: Annotated[
        tuple[tuple[Annotated[int, msgspec.Meta(ge=1, le=127)], str], ...],
        msgspec.Meta(max_length=64),
    ]


class Authorities(msgspec.Struct, frozen=True, array_like=True):
    """Chains that issue now: DER, issuing CA first, root last."""

    chains: tuple[tuple[bytes, ...], ...]


class GetAuthorities(Request[Authorities], tag="ca.authorities", frozen=True):
    """The chains that certificates are issued under now; no history."""
