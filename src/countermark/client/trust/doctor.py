# SPDX-License-Identifier: Apache-2.0
"""What is wrong with somebody's trust, and what to do: registry, metadata, clock, mirrors, clients.

Reads and asks, changes nothing. Every finding is of one of three grades: ``ok``, ``warning`` for
what works but will not for long or not as one may think, ``error`` for what does not work or must
not be believed.
"""

import os
import shutil
import stat
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import countermark.core.light_tuf  # noqa: F401 - before tuf itself

# isort: split
import urllib3
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Timestamp  # type: ignore[attr-defined]
from tuf.api.serialization import DeserializationError

from countermark.client.deadline import within
from countermark.client.transport import Transport
from countermark.client.trust.chain import read_roots
from countermark.client.trust.kept import read_kept
from countermark.client.trust.showing import parties, unusable_parts
from countermark.client.trust.sources import Source
from countermark.core.bundle.signing_config import SigningConfig
from countermark.core.errors import CountermarkError

_MAX_SKEW = timedelta(minutes=1)
_MAX_TIMESTAMP_BYTES = 16 * 1024
_PATIENCE_S = 5.0
_OK, _WARNING, _ERROR = "ok", "warning", "error"


class Finding(NamedTuple):
    """Something that was looked at.

    Attributes:
        grade: ``ok``, ``warning`` or ``error``.
        about: the instance, file, address or client.
        what: how it is.
        todo: what to do about it; empty if nothing.
    """

    grade: str
    about: str
    what: str
    todo: str = ""


def examine(source: Source, now: datetime, *, online: bool) -> Iterator[Finding]:
    """An instance: what is kept of it and, if `online`, whether its services answer."""
    name, refresh = source.name, f"countermark trust fetch {source.name}"
    if source.fault:
        yield Finding(_ERROR, name, f"kept metadata is not believed: {source.fault}", refresh)
        return
    yield from _examine_expiry(source, now, refresh)
    for fault in unusable_parts(source.trusted_root):
        yield Finding(_WARNING, name, f"a key cannot be used: {fault}")
    kinds = {party.kind for party in parties(source.trusted_root) if party.active(now)}
    for kind in ("log", "certificate-authority"):
        if kind not in kinds:
            what = f"no {kind} is believed about signatures of today: this root is stale"
            yield Finding(_ERROR, name, what, refresh)
    if not online:
        return
    transport = Transport(timeout_s=_PATIENCE_S)
    if source.tuf_url:
        yield from _examine_mirror(transport, source, now, refresh)
    yield from _examine_services(transport, source)


def _examine_expiry(source: Source, now: datetime, refresh: str) -> Iterator[Finding]:
    if source.expires is None:
        if not source.own:
            what = "its trust root is as it was shipped or recorded, and does not follow changes"
            yield Finding(_WARNING, source.name, what, refresh)
        return
    when = f"{source.expires:%Y-%m-%d %H:%M} UTC"
    if source.expires <= now:
        what = f"metadata expired on {when}; the root is used as it was known then"
        yield Finding(_ERROR, source.name, what, refresh)
    else:
        yield Finding(_OK, source.name, f"metadata holds and is good until {when}")


def _examine_mirror(
    transport: Transport, source: Source, now: datetime, refresh: str
) -> Iterator[Finding]:
    """Whether the TUF repository answers, with our clock, and is the one that was pinned."""
    url = f"{source.tuf_url}/timestamp.json"
    try:
        status, date, body = _ask(transport, url)
    except (CountermarkError, urllib3.exceptions.HTTPError, OSError) as error:
        todo = "check the address, the network and the proxy; verifying needs neither"
        what = f"the TUF repository is not reached: {_why(error)}"
        yield Finding(_ERROR, source.tuf_url, what, todo)
        return
    if date is not None and abs(date - now) > _MAX_SKEW:
        ahead, minutes = (
            "ahead of" if now > date else "behind",
            abs(date - now).total_seconds() / 60,
        )
        what = f"this machine's clock is {minutes:.0f} min {ahead} the repository's"
        yield Finding(_ERROR, source.tuf_url, what, "set the clock; signing and TUF depend on it")
    if status != 200:
        what = f"answers {status} where its timestamp should be: it is no TUF repository"
        yield Finding(_ERROR, source.tuf_url, what, "name the right one with --tuf-url")
        return
    yield from _judge_timestamp(source, body, now, refresh)


def _judge_timestamp(source: Source, body: bytes, now: datetime, refresh: str) -> Iterator[Finding]:
    try:
        kept = read_kept(source.name) if source.versions is not None else None
        root = read_roots(source.tuf_root_json, kept.roots if kept is not None else ())[-1]
        metadata = Metadata[Timestamp].from_bytes(body)
        root.verify_delegate(Timestamp.type, metadata.signed_bytes, metadata.signatures)
        timestamp = metadata.signed
    except (CountermarkError, RepositoryError, DeserializationError) as error:
        what = f"is not signed by the root that is trusted, or by a later one: {error}"
        yield Finding(_WARNING, source.tuf_url, what, f"if keys were rotated: {refresh}")
        return
    if timestamp.expires <= now:
        what = f"its timestamp expired on {timestamp.expires:%Y-%m-%d}: frozen, or not looked after"
        yield Finding(_ERROR, source.tuf_url, what, "tell whoever runs it")
    elif source.versions is not None and timestamp.version < source.versions.timestamp:
        what = "shows an older state than was seen before"
        yield Finding(_ERROR, source.tuf_url, what, "tell whoever runs it; do not refresh from it")
    elif source.versions is not None and timestamp.version > source.versions.timestamp:
        yield Finding(_OK, source.tuf_url, "answers, and has something newer", refresh)
    else:
        yield Finding(_OK, source.tuf_url, "answers, and is the pinned repository")


def _examine_services(transport: Transport, source: Source) -> Iterator[Finding]:
    if not source.signing_config_json:
        return
    try:
        config = SigningConfig.parse(source.signing_config_json)
    except CountermarkError as error:
        yield Finding(_ERROR, source.name, f"its signing config cannot be read: {error}")
        return
    services = (*config.ca_urls, *config.rekor_tlog_urls, *config.tsa_urls, *config.oidc_urls)
    for url in dict.fromkeys(service.url for service in services):
        try:
            status, _, _ = _ask(transport, url)
        except (CountermarkError, urllib3.exceptions.HTTPError, OSError) as error:
            todo = "signing needs it; verifying does not"
            yield Finding(_ERROR, url, f"the service is not reached: {_why(error)}", todo)
            continue
        if status >= 500:
            yield Finding(_ERROR, url, f"the service answers {status}", "tell whoever runs it")
        else:
            yield Finding(_OK, url, "the service answers")


def _why(error: Exception) -> str:
    return "it takes too long" if isinstance(error, TimeoutError) else str(error)


def _ask(transport: Transport, url: str) -> tuple[int, datetime | None, bytes]:
    """Status, time and, of a success, the beginning of the body. Raises TimeoutError and more."""
    return within(2 * _PATIENCE_S, lambda given_up: _read(transport, url, given_up))


def _read(
    transport: Transport, url: str, given_up: threading.Event
) -> tuple[int, datetime | None, bytes]:
    response = transport.open(url, "the service", timeout_s=_PATIENCE_S)
    try:
        body = bytearray()
        while response.status == 200 and len(body) <= _MAX_TIMESTAMP_BYTES:
            piece = response.read1(4096)
            if not piece or given_up.is_set():
                break
            body += piece
    finally:
        response.close()
    try:
        date = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return response.status, None, bytes(body)
    return response.status, date if date.tzinfo else date.replace(tzinfo=UTC), bytes(body)


def examine_registry(home: str, now: datetime) -> Iterator[Finding]:
    """The folder of this user's registry: whose it is, and who else may write there."""
    if not os.path.isdir(home):
        yield Finding(_OK, home, "nothing is recorded yet: the shipped roots are what is trusted")
        return
    yield from examine_modes(home)
    for name in ("instances.json", "installed.json"):
        path = os.path.join(home, name)
        if os.path.exists(path):
            yield from examine_modes(path)
    if now.year < 2026:
        yield Finding(_ERROR, "clock", f"it is not {now:%Y-%m-%d}", "set the clock")


def examine_modes(path: str) -> Iterator[Finding]:
    """Whether others can write to a file or folder."""
    if sys.platform == "win32":
        return
    try:
        status = os.stat(path)
    except OSError as error:
        yield Finding(_ERROR, path, f"cannot be read: {error.strerror}")
        return
    if status.st_uid not in (os.geteuid(), 0):
        yield Finding(_ERROR, path, "belongs to another user", f"chown it, or remove {path}")
    if status.st_mode & stat.S_IWOTH:
        yield Finding(_ERROR, path, "can be written by everybody", f"chmod go-w {path}")
    elif status.st_mode & stat.S_IWGRP:
        yield Finding(_WARNING, path, "can be written by its group", f"chmod g-w {path}")


def find_program(client: str) -> str | None:
    """The program of a client on PATH."""
    programs = {
        "cosign": "cosign",
        "python": "sigstore",
        "js": "node",
        "npm": "npm",
        "gitsign": "gitsign",
        "go": "go",
    }
    name = programs.get(client)
    return shutil.which(name) if name is not None else None
