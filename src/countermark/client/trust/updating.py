# SPDX-License-Identifier: Apache-2.0
"""One refresh of a TUF repository's files by python-tuf's client, in a folder of its own.

What comes out is what python-tuf verified; nothing is kept here, and nothing that was kept is
changed: a refresh that fails leaves no trace.
"""

import hashlib
import os
import shutil
import tempfile

import countermark.core.light_tuf  # noqa: F401 - before tuf itself

# isort: split
from tuf.api.exceptions import (
    DownloadError,
    DownloadLengthMismatchError,
    RepositoryError,
    SlowRetrievalError,
)
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from countermark.client.transport import Transport, printable
from countermark.client.trust.chain import (
    OTHER_TARGETS,
    SIGNING_CONFIG,
    TRUSTED_ROOT,
    Kept,
    read_roots,
)
from countermark.client.trust.fetching import (
    MAX_FILE_BYTES,
    FolderFetcher,
    HTTPFetcher,
    folder_of,
)
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    RequestRejected,
    SettingsError,
    UpstreamDown,
    VerificationError,
)

TOTAL_S = 60.0
_CONFIG = UpdaterConfig(
    max_root_rotations=256,
    max_delegations=4,
    root_max_length=256 * 1024,
    timestamp_max_length=16 * 1024,
    snapshot_max_length=256 * 1024,
    targets_max_length=1024 * 1024,
)


def update(
    folder: str, name: str, pin: bytes, old: Kept | None, address: str, fetcher: FetcherInterface
) -> Kept:
    """Bring files up to date.

    Args:
        folder: private; the work is done in a folder below, which is gone afterwards.
        name: of whose repository it is, for that folder; nobody else works under it now.
        pin: root metadata to start from.
        old: what was kept; already verified.
        address: the repository's base URL.
        fetcher: how to get at it.

    Raises VerificationError, FormatError, UpstreamDown, SettingsError.
    """
    prefix = f"fetch-{name}-"
    for left in os.listdir(folder):  # by a process that was killed
        if left.startswith(prefix):
            shutil.rmtree(os.path.join(folder, left), ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=prefix) as work:
        history = os.path.join(work, "root_history")
        os.mkdir(history)
        first = read_roots(pin, ())[0].version + 1
        if old is not None:
            for version, data in enumerate(old.roots, first):
                _put(os.path.join(history, f"{version}.root.json"), data)
            for role in ("timestamp", "snapshot", "targets"):
                _put(os.path.join(work, f"{role}.json"), getattr(old, role))
        targets_dir = os.path.join(work, "targets")
        os.mkdir(targets_dir)
        try:
            updater = Updater(
                work, address, targets_dir, f"{address}/targets/", fetcher, _CONFIG, bootstrap=pin
            )
            updater.refresh()
            files = _download_targets(updater, old, targets_dir)
        except (DownloadError, RepositoryError) as error:
            raise _translated(error) from error
        except OSError as error:
            raise SettingsError(f"{folder} cannot be used: {error.strerror}") from error
        roots: list[bytes] = []
        while os.path.exists(path := os.path.join(history, f"{first + len(roots)}.root.json")):
            roots.append(_get(path))
        timestamp, snapshot, targets = (
            _get(os.path.join(work, f"{role}.json"))
            for role in ("timestamp", "snapshot", "targets")
        )
        return Kept(tuple(roots), timestamp, snapshot, targets, files)


def _download_targets(updater: Updater, old: Kept | None, folder: str) -> dict[str, bytes]:
    """The targets that clients want, each verified; no name comes from the repository."""
    files: dict[str, bytes] = {}
    for name in (TRUSTED_ROOT, SIGNING_CONFIG, *OTHER_TARGETS):
        info = updater.get_targetinfo(name)
        if info is None:
            continue
        if info.length > MAX_FILE_BYTES:
            raise FormatError(f"TUF target {name}", f"is larger than {MAX_FILE_BYTES} bytes")
        path = os.path.join(folder, hashlib.sha256(name.encode()).hexdigest())
        if old is not None and name in old.files:
            _put(path, old.files[name])
        if updater.find_cached_target(info, path) is None:
            updater.download_target(info, path)
        files[name] = _get(path)
    if TRUSTED_ROOT not in files:
        raise VerificationError(f"the TUF repository has no {TRUSTED_ROOT}")
    return files


def _translated(error: DownloadError | RepositoryError) -> CountermarkError:
    """python-tuf's errors as ours: was it not to be had, or not to be believed?"""
    text = printable(str(error)) or type(error).__name__
    if isinstance(error, DownloadLengthMismatchError):
        return FormatError("TUF repository", text)
    if isinstance(error, SlowRetrievalError):
        return UpstreamDown(f"the TUF repository is too slow: {text}")
    if isinstance(error, DownloadError):
        return UpstreamDown(f"the TUF repository cannot be used: {text}")
    refused = VerificationError(f"the TUF repository is not believed: {text}")
    refused.add_note("what was known before stays in use; see `countermark trust doctor`")
    return refused


def source_of(address: str, mirror: str, total_s: float) -> tuple[FetcherInterface, str]:
    """How to get at a repository, and under which URL: its own, or a mirror's if one is named.

    Args:
        address: base URL of the repository.
        mirror: empty, a folder, a ``file:`` URL or another base URL.
        total_s: all downloads together take no longer.

    Raises RequestRejected for a ``file:`` URL of another machine.
    """
    folder = folder_of(mirror) if mirror else None
    if folder is not None:
        return FolderFetcher(address, folder), address
    return HTTPFetcher(Transport(), total_s=total_s), mirror.rstrip("/") or address


def download_root(url: str, checksum: str) -> bytes:
    """Root metadata from anywhere, if it is the one whose SHA-256 somebody was given.

    Raises RequestRejected for what is no checksum, VerificationError for another file.
    """
    wanted = checksum.removeprefix("sha256:").lower()
    if len(wanted) != 64 or set(wanted) - set("0123456789abcdef"):
        raise RequestRejected("a checksum is 64 hexadecimal digits of SHA-256")
    fetcher = HTTPFetcher(Transport(), total_s=TOTAL_S)
    try:
        data = fetcher.download_bytes(url, _CONFIG.root_max_length)
    except (DownloadError, RepositoryError) as error:
        raise _translated(error) from error
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise VerificationError(f"{url} has the checksum {found}, not {wanted}")
    return data


def _put(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _get(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
