# SPDX-License-Identifier: Apache-2.0
"""Attestations beside files: where they are, of which type, and what they say.

On the path of `countermark verify --type`: nothing slow to import before it is needed.
"""

import os

from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import FormatError, NotFound, SignatureInvalid
from countermark.core.intoto.envelope import Envelope
from countermark.core.intoto.predicates import PREDICATE_TYPES, is_of_type
from countermark.core.intoto.statement import Statement

_OTHER = "attestation"
_SUFFIX = ".sigstore.json"


def attestation_path(artifact: str, wanted: str) -> str:
    """Where `countermark attest` puts the attestation of that type about a file."""
    return f"{artifact}.{wanted if wanted in PREDICATE_TYPES else _OTHER}{_SUFFIX}"


def find_attestation(artifact: str, wanted: str) -> str:
    """The same if it is there. Raises NotFound."""
    path = attestation_path(artifact, wanted)
    if not os.path.exists(path):
        raise NotFound(f"there is no attestation of type {wanted} about {artifact}: no {path}")
    return path


def check_type(statement: Statement | None, wanted: str) -> None:
    """Check what a verified statement says it is. Raises SignatureInvalid for another type."""
    if statement is None:
        raise SignatureInvalid(f"the file itself was signed, not a statement of type {wanted}")
    if not is_of_type(statement.predicate_type, wanted):
        raise SignatureInvalid(
            f"the statement is of type {statement.predicate_type[:200]!r}, not {wanted}"
        )


def predicate_of(bundle: Bundle) -> bytes:
    """The predicate's bytes as they were signed. Raises FormatError."""
    import msgspec

    class _Statement(msgspec.Struct):
        predicate: msgspec.Raw = msgspec.Raw(b"null")

    content = bundle.content
    if not isinstance(content, Envelope):
        raise FormatError("bundle", "holds no statement")
    try:
        return bytes(msgspec.json.decode(content.payload, type=_Statement).predicate)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError("in-toto statement", "is not JSON that can be trusted") from error
