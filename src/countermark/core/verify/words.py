# SPDX-License-Identifier: Apache-2.0
"""How evidence speaks of times, windows, keys and digests: the same in text, JSON and errors."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from countermark.core.bundle.trusted_root import CertificateAuthority, TransparencyLog, Validity
from countermark.core.encoding import to_base64


@lru_cache(maxsize=1024)
def utc(time: datetime) -> str:
    """A time to the second: ``2026-03-04 05:06:07 UTC``."""
    return f"{time.isoformat(' ', 'seconds')[:19]} UTC"


def window(validity: Validity) -> str:
    """A closed range of times."""
    if validity.end is None:
        return f"from {utc(validity.start)} on"
    return f"from {utc(validity.start)} to {utc(validity.end)}"


def times(found: Iterable[datetime]) -> str:
    """Several times, earliest first, none twice."""
    return ", ".join(map(utc, sorted(set(found)))) or "no time"


def authority_name(authority: CertificateAuthority) -> str:
    """What to call an authority."""
    return authority.uri or authority.common_name or "a trusted authority"


def log_name(log: TransparencyLog) -> str:
    """A log with the beginning of its id, which tells shards apart."""
    return f"{log.base_url} ({log.log_id.hex()[:16]}…)"


def operator_of(party: TransparencyLog | CertificateAuthority) -> str:
    """Whom a party counts for: its operator or, if the root does not say, its URL."""
    if party.operator:
        return party.operator
    return party.base_url if isinstance(party, TransparencyLog) else party.uri


def short(data: bytes) -> str:
    """A signature or key for comparing by eye: base64, cut if it is long."""
    text = to_base64(data)
    return text if len(text) <= 100 else f"{text[:96]}… ({len(data)} bytes)"
