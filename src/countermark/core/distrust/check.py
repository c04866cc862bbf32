# SPDX-License-Identifier: Apache-2.0
"""Does a distrust list speak against what was verified? Pure: evidence and lists in, verdict out.

Judged after the verification: times, identity and entries are then proven, not claimed.
"""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from countermark.core.bundle.bundle import Bundle, TransparencyLogEntry
from countermark.core.bundle.trusted_root import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
)
from countermark.core.crypto.certificate import Certificate
from countermark.core.distrust.document import DistrustList, Entry
from countermark.core.distrust.packages import names_package
from countermark.core.distrust.subject import (
    CertificateHash,
    KeyHash,
    LoggedEntry,
    Package,
    SignerName,
)
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError, Distrusted
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.tsp.response import parse_response
from countermark.core.verify.evidence import Evidence


class Pruned(NamedTuple):
    """A trusted root without the logs and authorities whose keys are distrusted, and why."""

    root: TrustedRoot
    reasons: tuple[tuple[DistrustList, Entry], ...]


def check_distrust(bundle: Bundle, evidence: Evidence, lists: Sequence[DistrustList]) -> str:
    """Refuse what a list says not to believe; a phrase about the lists if none does.

    Args:
        bundle: what was verified.
        evidence: what that proved.
        lists: of the instances that are believed.

    Raises Distrusted. Keys of logs and authorities are for `prune`.
    """
    times = [proven.time for proven in evidence.times]
    for one in lists:
        for entry in one.entries:
            if entry.lifted is None and entry.covers(times) and _speaks_of(entry, bundle, evidence):
                raise _refusal(one, entry)
    return "; ".join(f"version {one.version} of {one.source}'s list" for one in lists)


def prune(
    root: TrustedRoot, lists: Sequence[DistrustList], times: Sequence[datetime]
) -> Pruned | None:
    """`root` without what is distrusted at these times; None if nothing of it is."""
    distrusted = {
        entry.subject.sha256: (one, entry)
        for one in lists
        for entry in one.entries
        if entry.lifted is None and isinstance(entry.subject, KeyHash) and entry.covers(times)
    }
    if not distrusted:
        return None
    hit: dict[bytes, tuple[DistrustList, Entry]] = {}

    def good_log(log: TransparencyLog) -> bool:
        found = distrusted.keys() & _log_keys(log)
        hit.update({key: distrusted[key] for key in found})
        return not found

    def good_authority(authority: CertificateAuthority) -> bool:
        found = distrusted.keys() & _authority_keys(authority)
        hit.update({key: distrusted[key] for key in found})
        return not found

    pruned = root._replace(
        tlogs=tuple(filter(good_log, root.tlogs)),
        ctlogs=tuple(filter(good_log, root.ctlogs)),
        certificate_authorities=tuple(filter(good_authority, root.certificate_authorities)),
        timestamp_authorities=tuple(filter(good_authority, root.timestamp_authorities)),
    )
    return Pruned(pruned, tuple(hit.values())) if hit else None


def refusal_of(pruned: Pruned) -> Distrusted:
    """Why nothing is left that vouches for the signature."""
    return _refusal(*pruned.reasons[0])


def _speaks_of(entry: Entry, bundle: Bundle, evidence: Evidence) -> bool:
    subject, signer = entry.subject, evidence.signer
    if isinstance(subject, KeyHash):
        return subject.sha256 == evidence.key.key_id or subject.sha256 in _stamping_keys(bundle)
    if isinstance(subject, SignerName):
        return signer is not None and subject.is_of(signer.name, signer.issuer)
    if isinstance(subject, CertificateHash):
        return subject.sha256 in map(_sha256, bundle.certificates)
    if isinstance(subject, LoggedEntry):
        return any(_is_entry(subject, logged) for logged in bundle.tlog_entries)
    assert isinstance(subject, Package)
    statement = evidence.statement
    names = (item.name for item in statement.subjects) if statement is not None else ()
    return any(names_package(name, subject.purl) for name in names)


def _is_entry(subject: LoggedEntry, logged: TransparencyLogEntry) -> bool:
    if subject.log_index is None:
        return leaf_hash(logged.canonicalized_body) == subject.leaf_hash
    if logged.log_id != subject.log_id:
        return False
    if logged.inclusion_promise:  # it covers the index
        return logged.log_index == subject.log_index
    # Nobody signed the bundle's own index then, so whatever could be the entry is taken for it.
    proof = logged.inclusion_proof
    return subject.log_index in (logged.log_index, proof.log_index if proof else logged.log_index)


def _log_keys(log: TransparencyLog) -> set[bytes]:
    keys = {log.log_id}
    try:
        keys.add(log.public_key.key_id)
    except CountermarkError:  # one that cannot be used vouches for nothing
        return keys
    return keys


def _authority_keys(authority: CertificateAuthority) -> set[bytes]:
    return _keys_of(authority.certificates)


def _stamping_keys(bundle: Bundle) -> set[bytes]:
    """Keys that came along with timestamps: a root may list their authority's issuer alone."""
    tokens = map(parse_response, bundle.timestamps)
    return {key for token in tokens for key in _keys_of(token.certificates)}


def _keys_of(certificates: Iterable[Certificate]) -> set[bytes]:
    keys: set[bytes] = set()
    for certificate in certificates:
        with suppress(CountermarkError):  # one that cannot be used vouches for nothing
            keys.add(certificate.public_key.key_id)
    return keys


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _refusal(one: DistrustList, entry: Entry) -> Distrusted:
    window = ""
    if entry.start is not None or entry.end is not None:
        start = to_rfc3339(entry.start) if entry.start else "the beginning"
        window = f" (signatures from {start} to {to_rfc3339(entry.end) if entry.end else 'now'})"
    refusal = Distrusted(f"{entry.subject} is distrusted{window}: {entry.reason}")
    refusal.add_note(
        f"entry {entry.number} of {one.source}'s distrust list, version {one.version}, added "
        f"{to_rfc3339(entry.added)} by {entry.by}"
    )
    return refusal
