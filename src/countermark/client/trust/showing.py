# SPDX-License-Identifier: Apache-2.0
"""The parties of a trusted root, one by one: which key, since when, until when, whose."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from countermark.core.bundle.trusted_root import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
    Validity,
)
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError


class Party(NamedTuple):
    """A log or an authority.

    Attributes:
        kind: ``log``, ``ct-log``, ``certificate-authority`` or ``timestamp-authority``.
        name: its URL, or the subject of its root if it has none.
        key_id: a log's id; of an authority, SHA-256 of its root certificate; in hex.
        key: the kind of key or, of an authority, the subject of its root.
        validity: when it is believed.
        operator: who runs it; empty if not said.
    """

    kind: str
    name: str
    key_id: str
    key: str
    validity: Validity
    operator: str

    def active(self, now: datetime) -> bool:
        """Whether it is believed about signatures of `now`."""
        return self.validity.covers(now)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        valid = {"start": to_rfc3339(self.validity.start)}
        if self.validity.end is not None:
            valid["end"] = to_rfc3339(self.validity.end)
        return {
            "kind": self.kind,
            "name": self.name,
            "keyId": self.key_id,
            "key": self.key,
            "validFor": valid,
            "operator": self.operator or None,
        }


def parties(root: TrustedRoot) -> list[Party]:
    """All parties, in the order of the file."""
    return [
        *(_log("log", log) for log in root.tlogs),
        *(_authority("certificate-authority", item) for item in root.certificate_authorities),
        *(_log("ct-log", log) for log in root.ctlogs),
        *(_authority("timestamp-authority", item) for item in root.timestamp_authorities),
    ]


def _log(kind: str, log: TransparencyLog) -> Party:
    return Party(kind, log.base_url, log.log_id.hex(), log.key_details, log.validity, log.operator)


def _authority(kind: str, authority: CertificateAuthority) -> Party:
    subject = ", ".join(filter(None, (authority.organization, authority.common_name)))
    key_id = hashlib.sha256(authority.chain[-1]).hexdigest()
    name = authority.uri or subject
    return Party(kind, name, key_id, subject, authority.validity, authority.operator)


def unusable_parts(root: TrustedRoot) -> Iterator[str]:
    """Keys and chains that no signature can be verified with, and why."""
    for log in (*root.tlogs, *root.ctlogs):
        try:
            _ = log.public_key
        except CountermarkError as error:
            yield str(error)
    for authority in (*root.certificate_authorities, *root.timestamp_authorities):
        try:
            _ = authority.certificates
        except CountermarkError as error:
            yield str(error)
