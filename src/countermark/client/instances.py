# SPDX-License-Identifier: Apache-2.0
"""The user's own registry of instances: whom this user trusts, and where local secrets are.

One 0600 file, `instances.json`, in `COUNTERMARK_HOME` or the platform's folder for user data.
`countermark up` records its instance here with the trust root it was created with; `sign` and
`verify` read it, so that no port is ever probed and `verify` needs no running server. Whoever
can write this file chooses what the user trusts, hence the checks on its owner and mode.

This module is on the path of `verify`: plain standard library, nothing slow to import.
"""

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from countermark.core.errors import FormatError, SettingsError

_VERSION = 1
_MAX_BYTES = 16 * 1024 * 1024
_MAX_RECORDS = 64


class TufState(NamedTuple):
    """How an instance's trust root is followed through TUF; see `countermark.client.trust`.

    Attributes:
        url: the repository's base URL.
        versions: of root, timestamp, snapshot and targets, as last verified: older ones are a
            rollback, whatever the folder of kept metadata says.
        expires_at_s: when the first of this metadata expires, Unix seconds.
        checked_at_s: when it was last brought up to date.
        attempted_at_s: when that was last tried.
    """

    url: str
    versions: tuple[int, int, int, int]
    expires_at_s: int
    checked_at_s: int
    attempted_at_s: int


class InstanceRecord(NamedTuple):
    """An instance that this user brought up or chose to trust.

    Attributes:
        url: base URL, no trailing slash.
        data_dir: absolute path of its data directory; empty for an instance that runs elsewhere.
        trusted_root_json: its TrustedRoot document as it was when recorded.
        signing_config_json: its SigningConfig v0.2 document.
        tuf_root_json: its TUF root metadata, the start of every later update.
        recorded_at_s: when it was recorded or last brought up, Unix seconds.
        tuf: how it is followed; None if it never was.
        targets: its other TUF targets that matter to clients, by name.
    """

    url: str
    data_dir: str
    trusted_root_json: bytes
    signing_config_json: bytes
    tuf_root_json: bytes
    recorded_at_s: int
    tuf: TufState | None = None
    targets: tuple[tuple[str, bytes], ...] = ()

    def target(self, name: str) -> bytes | None:
        """One of `targets`; None if the instance publishes none of that name."""
        return dict(self.targets).get(name)


def home_dir() -> str:
    """The folder of this user's registry and addresses; it may not exist yet."""
    chosen = os.environ.get("COUNTERMARK_HOME")
    if chosen:
        return os.path.abspath(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME", "")
        if not os.path.isabs(base):  # the XDG specification says to ignore relative ones
            base = os.path.expanduser("~/.local/share")
    return os.path.join(base, "countermark")


def config_path() -> str:
    """Where config.toml is looked for."""
    if os.environ.get("COUNTERMARK_HOME") or sys.platform in ("win32", "darwin"):
        return os.path.join(home_dir(), "config.toml")
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.config")
    return os.path.join(base, "countermark", "config.toml")


def load_instances() -> list[InstanceRecord]:
    """All recorded instances, the one brought up last first; empty if there is no registry.

    Raises SettingsError if others may write the registry, FormatError if it is damaged.
    """
    data = read_private_file(os.path.join(home_dir(), "instances.json"))
    if data is None:
        return []
    records = _parse(data)
    return sorted(records, key=lambda record: -record.recorded_at_s)


def record_instance(
    url: str,
    data_dir: str | os.PathLike[str],
    *,
    trusted_root_json: bytes,
    signing_config_json: bytes,
    tuf_root_json: bytes,
    targets: tuple[tuple[str, bytes], ...] = (),
) -> None:
    """Add an instance or refresh its record; instances are told apart by URL and data directory.

    A second instance under a URL already taken does not replace the first, whose bundles stay
    verifiable. Beyond 64 records the oldest are forgotten,
    those of this machine first. What was followed through TUF still is,
    if the start of it is the same.
    """
    record = InstanceRecord(
        url=url.rstrip("/"),
        data_dir=os.path.abspath(data_dir) if os.fspath(data_dir) else "",
        trusted_root_json=trusted_root_json,
        signing_config_json=signing_config_json,
        tuf_root_json=tuf_root_json,
        recorded_at_s=int(time.time()),
        targets=targets,
    )
    with locked_home() as home:
        records = load_instances()
        for old in records:
            if old[:2] == record[:2] and old.tuf_root_json == record.tuf_root_json:
                record = record._replace(tuf=old.tuf)
        _write(home, [record, *(old for old in records if old[:2] != record[:2])])


def update_instances(
    change: Callable[[list[InstanceRecord]], list[InstanceRecord]],
) -> list[InstanceRecord]:
    """Replace the registry's records by what `change` makes of them, while nobody else does.

    Returns what was written. Raises SettingsError, FormatError, and whatever `change` raises.
    """
    with locked_home() as home:
        records = change(load_instances())
        _write(home, records)
    return records


def _write(home: str, records: list[InstanceRecord]) -> None:
    kept = list(records)
    while len(kept) > _MAX_RECORDS:
        # Those of this machine, but for the newest: they come back by themselves, a pin does not.
        own = [place for place, record in enumerate(kept) if place and record.data_dir]
        del kept[own[-1] if own else -1]
    document = {"version": _VERSION, "instances": [_to_json(item) for item in kept]}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    write_private_file(os.path.join(home, "instances.json"), text.encode("utf-8"))


def read_private_file(path: str) -> bytes | None:
    """A file of this user's that nobody else may write; None if there is none."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if sys.platform != "win32":
                if status.st_uid not in (os.geteuid(), 0):
                    raise SettingsError(f"{path} belongs to another user, so it is not believed")
                if status.st_mode & 0o022:
                    raise SettingsError(
                        f"{path} can be written by others, so it is not believed: chmod 600 it"
                    )
                check_folder(os.path.dirname(path))
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise FormatError(path, f"is larger than {_MAX_BYTES} bytes")
    return data


def write_private_file(path: str, data: bytes) -> None:
    """Replace a file by one with mode 0600, at once or not at all."""
    temporary = f"{path}.{os.getpid()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        check_folder(os.path.dirname(path))
        if os.path.lexists(temporary):  # left by a process that was killed and had our number
            os.unlink(temporary)
        descriptor = os.open(temporary, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):  # a full disk is to get its room back
                os.unlink(temporary)
            raise
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def check_folder(path: str) -> None:
    """Raise SettingsError for a folder that others may write to.

    They could put a link there to any file of this user's, one that they sent them for instance.
    """
    if sys.platform != "win32" and os.stat(path).st_mode & 0o022:
        raise SettingsError(
            f"{path} can be written by others, so what is in it is not believed: chmod 700 it"
        )


def sync_folder(path: str) -> None:
    """Make the names in a folder durable, where that can be. Raises OSError."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # one may write to a folder that one may not list
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that knows no such
            raise
    finally:
        os.close(descriptor)


@contextmanager
def locked_home() -> Iterator[str]:
    """The registry's folder, made if need be, held against other writers."""
    home = home_dir()
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        descriptor = os.open(os.path.join(home, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(f"{home} cannot be used: {error.strerror}") from error
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield home
    finally:
        os.close(descriptor)


def _to_json(record: InstanceRecord) -> dict[str, Any]:
    item: dict[str, Any] = {
        "url": record.url,
        "dataDir": record.data_dir,
        "recordedAt": record.recorded_at_s,
        "trustedRoot": record.trusted_root_json.decode("utf-8"),
        "signingConfig": record.signing_config_json.decode("utf-8"),
        "tufRoot": record.tuf_root_json.decode("utf-8"),
    }
    if record.tuf is not None:
        item["tuf"] = {
            "url": record.tuf.url,
            "versions": list(record.tuf.versions),
            "expiresAt": record.tuf.expires_at_s,
            "checkedAt": record.tuf.checked_at_s,
            "attemptedAt": record.tuf.attempted_at_s,
        }
    if record.targets:
        item["targets"] = {name: data.decode("utf-8") for name, data in record.targets}
    return item


def _parse(data: bytes) -> list[InstanceRecord]:
    try:
        document: Any = json.loads(data)
        if document["version"] != _VERSION:
            raise SettingsError(
                f"the registry of instances in {home_dir()} was written by a newer version"
            )
        return [_from_json(item) for item in document["instances"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError("registry of instances", "is damaged") from error


def _from_json(item: dict[str, Any]) -> InstanceRecord:
    def text(name: str) -> str:
        value = item[name]
        if not isinstance(value, str):
            raise TypeError(name)
        return value

    recorded_at_s = item["recordedAt"]
    if not isinstance(recorded_at_s, int):
        raise TypeError("recordedAt")
    tuf, targets = item.get("tuf"), item.get("targets", {})
    return InstanceRecord(
        url=text("url"),
        data_dir=text("dataDir"),
        trusted_root_json=text("trustedRoot").encode("utf-8"),
        signing_config_json=text("signingConfig").encode("utf-8"),
        tuf_root_json=text("tufRoot").encode("utf-8"),
        recorded_at_s=recorded_at_s,
        tuf=None if tuf is None else _tuf_from_json(tuf),
        targets=tuple((name, data.encode("utf-8")) for name, data in targets.items()),
    )


def _tuf_from_json(item: dict[str, Any]) -> TufState:
    root, timestamp, snapshot, targets = item["versions"]
    state = TufState(
        item["url"],
        (root, timestamp, snapshot, targets),
        item["expiresAt"],
        item["checkedAt"],
        item["attemptedAt"],
    )
    if not isinstance(state.url, str):
        raise TypeError("url")
    if not all(type(number) is int for number in (*state.versions, *state[2:])):
        raise TypeError("tuf")
    return state
