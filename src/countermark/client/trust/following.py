# SPDX-License-Identifier: Apache-2.0
"""Following an instance's trust root: fetched through TUF, kept, and used without a network.

It starts from a root that somebody was given: a file, a checksum, the pin of the registry, or
what this program ships for the public instances; never from what a server says first. A refresh
takes effect as a whole or not at all, and only after what would be kept was checked as it will be
each time it is used.
"""

import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from countermark.client.instances import InstanceRecord, TufState, load_instances, update_instances
from countermark.client.transport import printable
from countermark.client.trust.chain import (
    DISTRUST,
    OTHER_TARGETS,
    SIGNING_CONFIG,
    TRUSTED_ROOT,
    Checked,
    Kept,
    Versions,
    read_roots,
    verify_kept,
)
from countermark.client.trust.kept import kept_path, locked_kept, read_kept, write_kept
from countermark.client.trust.updating import TOTAL_S, source_of, update
from countermark.core.bundle.signing_config import SigningConfig
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.distrust.document import DistrustList
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    NotFound,
    RequestRejected,
    SettingsError,
    VerificationError,
)

REFRESH_EVERY_S = 24 * 3600


class Followed(NamedTuple):
    """An instance's trust as it stands after a fetch, or as it is kept.

    Attributes:
        record: what the registry holds of it.
        checked: the metadata it comes from.
        changed: whether the trusted root is another than before.
    """

    record: InstanceRecord
    checked: Checked
    changed: bool = False


def fetch(
    url: str,
    *,
    pin: bytes = b"",
    tuf_url: str = "",
    mirror: str = "",
    replace_pin: bool = False,
    total_s: float = TOTAL_S,
    if_due: bool = False,
) -> Followed:
    """Bring an instance's trust root up to date, or learn it the first time.

    Args:
        url: the instance's base URL, or a name of one of the shipped instances.
        pin: root metadata to start from; needed the first time.
        tuf_url: base URL of its TUF repository; its own ``/tuf`` if empty, or as before.
        mirror: read from here instead: a folder, or another URL; for this time only.
        replace_pin: let `pin` take the place of another one.
        total_s: all of it takes no longer.
        if_due: do nothing if that was tried within a day, by another process just now, say.

    Raises SettingsError without a pin, VerificationError for metadata that does not hold (what
    was kept stays as it was), UpstreamDown, FormatError.
    """
    url = url.rstrip("/")
    _check_text(url)
    record = find_record(url)
    pin = _pin(url, record, pin, replace_pin=replace_pin)
    same_pin = record is not None and record.tuf_root_json == pin
    state = record.tuf if record is not None and same_pin else None
    address = (tuf_url or (state.url if state else "") or default_tuf_url(url)).rstrip("/")
    read_roots(pin, ())  # before anything is asked
    with locked_kept(url) as folder:
        now_known = find_record(url)
        if if_due and now_known and now_known.tuf and not is_due(now_known.tuf, time.time()):
            return use_kept(now_known)
        seen = Versions(*state.versions) if state else None
        old = _usable_kept(url, pin, seen) if same_pin else None
        if record is not None:
            _note_attempt(url)
        fetcher, source = source_of(address, mirror, total_s)
        name = os.path.basename(kept_path(url)).removesuffix(".json")
        kept = update(folder, name, pin, old, source, fetcher)
        checked = verify_kept(pin, kept, seen)
        _check_list(record if same_pin else None, checked.files)
        new = _record(url, record, pin, address, checked)
        write_kept(url, kept)
        _store(new)
    before = record.trusted_root_json if record is not None else b""
    return Followed(new, checked, changed=before != new.trusted_root_json)


def use_kept(record: InstanceRecord) -> Followed:
    """An instance's trust without any network: what is kept is checked again, from the pin down.

    The trusted root of the result is the checked file. Raises NotFound if the instance was
    never fetched or its files are gone, VerificationError or FormatError if they do not hold.
    """
    if record.tuf is None:
        raise NotFound(f"{record.url} was never fetched through TUF")
    kept = read_kept(record.url)
    if kept is None:
        error = NotFound(f"the TUF metadata of {record.url} is not there any more")
        error.add_note(f"get it again with `countermark trust fetch {record.url}`")
        raise error
    checked = verify_kept(record.tuf_root_json, kept, Versions(*record.tuf.versions))
    files = checked.files
    kept_record = record._replace(
        trusted_root_json=files.get(TRUSTED_ROOT, b""),
        signing_config_json=files.get(SIGNING_CONFIG, b""),
        targets=_others(files),
    )
    if not kept_record.trusted_root_json:
        raise VerificationError(f"the TUF repository of {record.url} has no {TRUSTED_ROOT}")
    return Followed(kept_record, checked, kept_record[:5] != record[:5])


def refresh_if_due(record: InstanceRecord, *, total_s: float = 10) -> InstanceRecord:
    """The record, refreshed if that was not tried for a day. A failure is not an error: what
    is kept is still what was verified."""
    if record.tuf is None or not is_due(record.tuf, time.time()):
        return record
    try:
        return fetch(record.url, total_s=total_s, if_due=True).record
    except CountermarkError:
        return record


def is_due(state: TufState, now_s: float) -> bool:
    """Whether a day went by since the last attempt; a clock that was put back does not count."""
    return not 0 <= now_s - state.attempted_at_s < REFRESH_EVERY_S


def find_record(url: str) -> InstanceRecord | None:
    """The newest record of a URL."""
    return next((record for record in load_instances() if record.url == url), None)


def default_tuf_url(url: str) -> str:
    """Where an instance's repository is if nobody says otherwise."""
    from countermark.client.trust.shipped import SHIPPED

    return SHIPPED[url].tuf_url if url in SHIPPED else f"{url}/tuf"


def _pin(url: str, record: InstanceRecord | None, given: bytes, *, replace_pin: bool) -> bytes:
    from countermark.client.trust.shipped import SHIPPED, shipped_root

    known = record.tuf_root_json if record is not None else b""
    if not known and url in SHIPPED:
        known = shipped_root(url)
    if not given and not known:
        error = SettingsError(f"nothing says what the trust root of {url} starts from")
        error.add_note(
            "ask whoever runs it for its root.json or its checksum, by a way you trust, and give"
            " it with --root FILE or --root-checksum SHA256"
        )
        raise error
    if given and known and given != known and not replace_pin:
        error = SettingsError(f"{url} is trusted already, from another root than this one")
        error.add_note("if the new one is right, add --replace-root")
        raise error
    return given or known


def _check_text(url: str) -> None:
    if not url or not url.isprintable() or any(char.isspace() for char in url):
        raise RequestRejected(f"{printable(url)!r} is no address of an instance")


def _usable_kept(url: str, pin: bytes, seen: Versions | None) -> Kept | None:
    """What is kept, if it holds: only then may it take part in a refresh."""
    try:
        kept = read_kept(url)
        if kept is not None:
            verify_kept(pin, kept, seen)
    except (FormatError, VerificationError):
        return None
    return kept


def _check_list(old: InstanceRecord | None, files: Mapping[str, bytes]) -> None:
    """Check that whatever was distrusted still is, or was lifted: keys of TUF may be stolen.

    Raises VerificationError, and FormatError for a list that cannot be read: it would refuse
    whatever this instance vouches for.
    """
    new = DistrustList.parse(files[DISTRUST]) if DISTRUST in files else None
    known = old.target(DISTRUST) if old is not None else None
    if known is None:
        return
    if new is None:
        raise VerificationError("the instance has a distrust list no more, and had one")
    try:
        new.check_follows(DistrustList.parse(known))
    except FormatError as error:
        raise VerificationError(str(error)) from error


def _record(
    url: str, old: InstanceRecord | None, pin: bytes, address: str, checked: Checked
) -> InstanceRecord:
    files = checked.files
    TrustedRoot.parse(files[TRUSTED_ROOT])
    if SIGNING_CONFIG in files:
        SigningConfig.parse(files[SIGNING_CONFIG])
    now_s = int(time.time())
    expires_at_s = int(checked.expires.timestamp())
    state = TufState(address, checked.versions, expires_at_s, now_s, now_s)
    return InstanceRecord(
        url=url,
        data_dir=old.data_dir if old is not None else "",
        trusted_root_json=files[TRUSTED_ROOT],
        signing_config_json=files.get(SIGNING_CONFIG, b""),
        tuf_root_json=pin,
        recorded_at_s=old.recorded_at_s if old is not None else now_s,
        tuf=state,
        targets=_others(files),
    )


def _others(files: Mapping[str, bytes]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, files[name]) for name in OTHER_TARGETS if name in files)


def _note_attempt(url: str) -> None:
    now_s = int(time.time())

    def change(records: list[InstanceRecord]) -> list[InstanceRecord]:
        return [
            record._replace(tuf=record.tuf._replace(attempted_at_s=now_s))
            if record.url == url and record.tuf is not None
            else record
            for record in records
        ]

    update_instances(change)


def _store(new: InstanceRecord) -> None:
    def change(records: list[InstanceRecord]) -> list[InstanceRecord]:
        return [new, *(record for record in records if record[:2] != new[:2])]

    update_instances(change)
