# SPDX-License-Identifier: Apache-2.0
"""The table of entry types: which there are, which are taken, and what reads them."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from countermark.core.rekor import (
    dsse_entry,
    dsse_proposal,
    hashedrekord,
    hashedrekord_proposal,
    intoto_proposal,
)
from countermark.core.rekor.entry import MAX_BODY_BYTES, CanonicalEntry, EntryRejected

Spec: TypeAlias = bytes | msgspec.Raw
Reader: TypeAlias = Callable[[Spec], CanonicalEntry]

_NOT_TAKEN: Final = frozenset(("alpine", "cose", "helm", "jar", "rekord", "rfc3161", "rpm", "tuf"))
_NOT_TAKEN_VERSIONS: Final = frozenset((("intoto", "0.0.1"),))
_PROPOSALS: Final[Mapping[tuple[str, str], Reader]] = {
    (hashedrekord.KIND, hashedrekord.VERSION): hashedrekord_proposal.parse_proposal,
    (dsse_entry.KIND, dsse_entry.VERSION): dsse_proposal.parse_proposal,
    (intoto_proposal.KIND, intoto_proposal.VERSION): intoto_proposal.parse_proposal,
}
_QUERIES: Final[Mapping[tuple[str, str], Reader]] = {
    **_PROPOSALS,
    (dsse_entry.KIND, dsse_entry.VERSION): dsse_proposal.parse_stored,
    (intoto_proposal.KIND, intoto_proposal.VERSION): intoto_proposal.parse_stored,
}
KNOWN_KINDS: Final = _NOT_TAKEN | {kind for kind, _ in _PROPOSALS}


def admit(kind: str, version: str, spec: Spec) -> CanonicalEntry:
    """Verify a proposed entry of one of the `KNOWN_KINDS`. Raises EntryRejected."""
    reader = _PROPOSALS.get((kind, version))
    if reader is None:
        if _is_never_taken(kind, version):
            raise EntryRejected(f"entry kind '{kind}' is not enabled for submission on this server")
        raise EntryRejected(f"unable to locate entry for version {version}")
    entry = reader(spec)
    if len(entry.body) > MAX_BODY_BYTES:
        raise EntryRejected(f"the canonical entry is larger than {MAX_BODY_BYTES} bytes")
    return entry


def canonicalize_query(kind: str, version: str, spec: Spec) -> CanonicalEntry | None:
    """The entry that a search asks for, by proposal or canonical body; not for logging.

    None for a kind that this log never takes: it holds none of them. Raises EntryRejected.
    """
    if _is_never_taken(kind, version):
        return None
    reader = _QUERIES.get((kind, version))
    if reader is None:
        raise EntryRejected(f"unable to locate entry for version {version}")
    return reader(spec)


def _is_never_taken(kind: str, version: str) -> bool:
    return kind in _NOT_TAKEN or (kind, version) in _NOT_TAKEN_VERSIONS
