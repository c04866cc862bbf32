# SPDX-License-Identifier: Apache-2.0
"""How old the trust root is that something is verified under, and whether that is too old.

On the path of `verify`: what was verified at the last fetch lies in the registry, beside the pin
it was verified from, so reading it there believes nothing that the pin does not. With a limit the
whole chain is checked again, which takes python-tuf, and a fraction of a second.
"""

from datetime import UTC, datetime

from countermark.client.instances import InstanceRecord, load_instances
from countermark.client.verify import Root
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import RequestRejected, VerificationError

_DAY_S = 24 * 3600


def read_limit(text: str) -> int | None:
    """``--max-trust-age``: days, or empty for no limit. Raises RequestRejected."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise RequestRejected("--max-trust-age is a number of days")
    return int(text)


def age_note(root: Root, now_s: float, *, limit_days: int | None = None) -> str:
    """What has to be said of a root's age; empty if it is current, or if nobody can know.

    Args:
        root: as it was chosen.
        now_s: Unix seconds.
        limit_days: refuse metadata that is expired, or was not refreshed for longer, or does
            not hold from its pin down; and roots whose age nobody can know.

    Raises VerificationError, NotFound, FormatError or SettingsError for what the limit refuses.
    """
    record = _followed(root)
    if record is None or record.tuf is None:
        if limit_days is not None:
            error = VerificationError(f"nothing says how old the trust root {root.name} is")
            error.add_note("follow it with `countermark trust fetch`, or leave out --max-trust-age")
            raise error
        return ""
    expires = datetime.fromtimestamp(record.tuf.expires_at_s, UTC)
    note = ""
    if expires.timestamp() <= now_s:
        note = (
            f"the TUF metadata of {root.name} expired on {expires:%Y-%m-%d}; the root is used as"
            " it was known then"
        )
    if limit_days is not None:
        _check(record, root, note, limit_days, now_s)
    return note


def _followed(root: Root) -> InstanceRecord | None:
    """The record that `root` was read from, if it is one that is followed through TUF."""
    for record in load_instances():
        if record.url == root.name and record.tuf is not None and not record.data_dir:
            return record
    return None


def _check(record: InstanceRecord, root: Root, expired: str, limit_days: int, now_s: float) -> None:
    assert record.tuf is not None
    days = (now_s - record.tuf.checked_at_s) / _DAY_S
    if expired or not -1 <= days <= limit_days:
        why = f"it was last refreshed {days:.0f} days ago"
        error = VerificationError(f"the trust root of {record.url} is too old: {expired or why}")
        error.add_note(f"refresh it: countermark trust fetch {record.url}")
        raise error
    from countermark.client.trust.following import use_kept

    kept = use_kept(record).record.trusted_root_json
    if TrustedRoot.parse(kept) != root.trusted_root:
        raise VerificationError(f"what is kept of {record.url} is not the root that was chosen")
