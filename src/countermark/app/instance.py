# SPDX-License-Identifier: Apache-2.0
"""What an instance is: URLs, logs, key names. Written at `init`; only ever gains logs and keys.

`app.shards` freezes the open logs and adds the next ones, `app.rotation` brings keys and takes
them out of use; nothing else changes it.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import SplitResult, urlsplit

import msgspec

from countermark.core.errors import InvariantBroken, SettingsError
from countermark.drivers.durable import PUBLIC, replace_file

V1_LOG: Final = "rekor-v1-1"
CT_LOG: Final = "ct-main"

# Names of online keys; a log's key is called as the log.
CA_KEY: Final = "ca"
TSA_KEY: Final = "tsa"
LOGIN_KEY: Final = "login"
TUF_KEY: Final = "tuf-online"
# Names of root keys.
CA_ROOT_KEY: Final = "ca-root"
TSA_ROOT_KEY: Final = "tsa-root"
TUF_ROOT_KEY: Final = "tuf-root"


# The host goes into log origins, which must be one word, and into certificates' names.
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)

# Both become names of files.
_LOG_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)

_LOOPBACK = re.compile(r"(?:[a-z0-9-]+\.)*localhost|127(?:\.[0-9]{1,3}){3}", re.ASCII)


LogKind = Literal["rekor-v1", "ct"]
Service = Literal["ca", "tsa", "login", "tuf"]
Rotated = Literal["ca", "tsa", "login", "tuf", "log"]
FIRST_KEYS: Final[dict[Service, str]] = {
    "ca": CA_KEY,
    "tsa": TSA_KEY,
    "login": LOGIN_KEY,
    "tuf": TUF_KEY,
}
"""Names of the keys that services are created with."""


class Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The end of a log, which is only read from then on.

    Attributes:
        at: end of its validity in the trusted root, whole seconds, UTC; after its last entry.
        tree_size: of its last head.
        root_hash: of that head, 32 bytes; base64 in the file.
        spki: its public key, DER; base64 in the file. The private one is needed no more.
    """

    at: datetime
    tree_size: int
    root_hash: bytes
    spki: bytes


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One log. Everything but its end is its identity, fixed when it is created.

    Attributes:
        name: its name in the store, and of its folder.
        kind: which personality sequences it.
        base_url: where clients reach it; its `baseUrl` in the trusted root.
        origin: first line of its checkpoints.
        key: name of its online key.
        tree_id: number of the v1 shard, 1 ≤ tree_id < 2**63; 0 for a CT log.
        opened: start of its validity in the trusted root, UTC; None: the instance's creation.
        frozen: None while it takes entries.
    """

    name: str
    kind: LogKind
    base_url: str
    origin: str
    key: str
    tree_id: int = 0
    opened: datetime | None = None
    frozen: Frozen | None = None

    @property
    def url_name(self) -> str:
        """Last part of its base URL's path: a CT log's name in URLs."""
        return urlsplit(self.base_url).path.rpartition("/")[2]

    @property
    def note_name(self) -> str:
        """Name on the signature line of its checkpoints; for v1 the origin without the tree."""
        return self.origin.partition(" - ")[0]


class ServiceKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key of a service that has, or will have, more than the one it was created with.

    Attributes:
        service: whose.
        key: its name, and of its file.
        spki: its public half, DER; base64 in the file.
        state: ``next`` until the service signs with it, ``active``, then ``old``.
        start: start of its validity in the trusted root, UTC.
        end: last moment that it may have signed anything at; None while that is not known.
        chain: DER certificates, its own first, the root last; none for login and TUF keys.
    """

    service: Service
    key: str
    spki: bytes
    state: Literal["next", "active", "old"]
    start: datetime
    end: datetime | None = None
    chain: tuple[bytes, ...] = ()


class NextLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log that clients are told of before it is opened; `spki` is its public key, DER."""

    log: LogConfig
    spki: bytes


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key change that is under way; see `app.rotation`.

    Attributes:
        service: whose.
        step: how far it is.
        at: when that step was reached, UTC.
        wait_until: the switch should not come before: until then clients may not know the key.
    """

    service: Rotated
    step: Literal["made", "published", "switching", "switched"]
    at: datetime
    wait_until: datetime | None = None


class InstanceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One instance.

    Attributes:
        base_url: scheme, host and port, no path and no final slash.
        created: when `init` ran, whole seconds, UTC; everything in the trust root starts then,
            except later logs.
        logs: all its logs, those of a kind oldest first: the last one is open, all others frozen.
        embedded_issuer: whether it has a development login of its own, named in the trust root.
        keys: of services whose key was ever changed, all of them, oldest first; of others none.
        next_logs: the logs that will be opened next, if they have keys already.
        rotations: under way, at most one of a service.
    """

    base_url: str
    created: datetime
    logs: tuple[LogConfig, ...]
    embedded_issuer: bool = True
    keys: tuple[ServiceKey, ...] = ()
    next_logs: tuple[NextLog, ...] = ()
    rotations: tuple[Rotation, ...] = ()

    @property
    def hostname(self) -> str:
        """The host of the base URL, without port."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def issuer_url(self) -> str:
        """The embedded issuer's `iss`."""
        return f"{self.base_url}/oidc"

    @property
    def tsa_url(self) -> str:
        """Where timestamps are asked for."""
        return f"{self.base_url}/api/v1/timestamp"

    @property
    def tuf_url(self) -> str:
        """Where the TUF repository is."""
        return f"{self.base_url}/tuf"

    def log(self, name: str) -> LogConfig:
        """The log of that name. Raises InvariantBroken."""
        for log in self.logs:
            if log.name == name:
                return log
        raise InvariantBroken(f"instance.json lists no log {name}")

    def logs_of(self, kind: LogKind) -> tuple[LogConfig, ...]:
        """All logs of a kind, oldest first."""
        return tuple(log for log in self.logs if log.kind == kind)

    def open_log(self, kind: LogKind) -> LogConfig:
        """The one log of a kind that takes entries."""
        return self.logs_of(kind)[-1]

    def keys_of(self, service: Service) -> tuple[ServiceKey, ...]:
        """All keys of a service, oldest first; empty if it has the one it was created with."""
        return tuple(key for key in self.keys if key.service == service)

    def active_key(self, service: Service) -> ServiceKey | None:
        """The key that a service signs with; None if that is the one it was created with."""
        return next((key for key in self.keys_of(service) if key.state == "active"), None)

    def key_name(self, service: Service) -> str:
        """The name of the key that a service signs with."""
        active = self.active_key(service)
        return FIRST_KEYS[service] if active is None else active.key

    def rotation_of(self, service: Rotated) -> Rotation | None:
        """The change of a service's key that is under way."""
        return next((item for item in self.rotations if item.service == service), None)

    def first_index(self, shard: LogConfig) -> int:
        """Log index of the first entry of a v1 shard: the size of all older ones."""
        first = 0
        for log in self.logs_of("rekor-v1"):
            if log.name == shard.name:
                break
            first += log.frozen.tree_size if log.frozen else 0
        return first

    def serialize(self) -> bytes:
        """As indented JSON, so that ``InstanceConfig.parse(c.serialize()) == c``."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> "InstanceConfig":
        """Read what `serialize` wrote. Raises InvariantBroken.

        The file is ours alone, but for one in a backup that somebody else made.
        """
        try:
            config = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvariantBroken(f"instance.json is damaged: {error}") from error
        try:
            _check_base_url(config.base_url)
        except SettingsError as error:
            raise InvariantBroken(f"instance.json is damaged: {error}") from error
        logs = [*config.logs, *(coming.log for coming in config.next_logs)]
        for name in (name for log in logs for name in (log.name, log.key)):
            if not _LOG_NAME.fullmatch(name):
                raise InvariantBroken(f"instance.json is damaged: {name!r} is no name of a log")
        times = [config.created]
        for log in logs:
            times += [log.opened] if log.opened else []
            times += [log.frozen.at] if log.frozen else []
        for key in config.keys:
            times += [key.start, *([key.end] if key.end else [])]
        for rotation in config.rotations:
            times += [rotation.at, *([rotation.wait_until] if rotation.wait_until else [])]
        if any(time.tzinfo is None for time in times):
            raise InvariantBroken("instance.json is damaged: a time has no time zone")
        for kind in get_args(LogKind):
            ends = [log.frozen is not None for log in config.logs_of(kind)]
            if ends != [True] * (len(ends) - 1) + [False]:
                raise InvariantBroken(f"instance.json is damaged: not the last {kind} log is open")
        _check_keys(config)
        return config


def new_instance(base_url: str, created: datetime, tree_id: int) -> InstanceConfig:
    """The configuration of a new instance with one v1 log and one CT log.

    Raises SettingsError if `base_url` is not a scheme and a host with an optional port.
    """
    parts = _check_base_url(base_url)
    host = parts.hostname or ""
    authority = base_url.partition("://")[2]
    return InstanceConfig(
        base_url=base_url,
        created=created,
        logs=(
            LogConfig(
                name=V1_LOG,
                kind="rekor-v1",
                base_url=base_url,
                origin=f"{host} - {tree_id}",
                key=V1_LOG,
                tree_id=tree_id,
            ),
            LogConfig(
                name=CT_LOG,
                kind="ct",
                base_url=f"{base_url}/ctlog/main",
                origin=f"{authority}/ctlog/main",
                key=CT_LOG,
            ),
        ),
        # Anybody can be anyone to it, so nobody beyond this machine is to be sent there.
        embedded_issuer=_LOOPBACK.fullmatch(host) is not None,
    )


def load_instance(path: Path) -> InstanceConfig:
    """Read instance.json. Raises SettingsError, InvariantBroken."""
    try:
        return InstanceConfig.parse(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def save_instance(path: Path, config: InstanceConfig) -> None:
    """Write instance.json durably. Raises OSError."""
    replace_file(path, config.serialize(), PUBLIC)


def _check_keys(config: InstanceConfig) -> None:
    for key in config.keys:
        if not _LOG_NAME.fullmatch(key.key):
            raise InvariantBroken(f"instance.json is damaged: {key.key!r} is no name of a key")
    names = [key.key for key in config.keys]
    names += [coming.log.key for coming in config.next_logs]
    if len({*names} - {log.key for log in config.logs}) != len(names):
        raise InvariantBroken("instance.json is damaged: two keys have one name")
    for service in get_args(Service):
        states = [key.state for key in config.keys_of(service)]
        if states and (states.count("active") != 1 or states.count("next") > 1):
            raise InvariantBroken(f"instance.json is damaged: not one {service} key is in use")
    if config.next_logs and [item.log.kind for item in config.next_logs] != list(get_args(LogKind)):
        raise InvariantBroken("instance.json is damaged: the next logs are not one of each kind")
    services = [rotation.service for rotation in config.rotations]
    if len(set(services)) != len(services):
        raise InvariantBroken("instance.json is damaged: a key is being changed twice")


def _check_base_url(base_url: str) -> SplitResult:
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"base URL {base_url!r}: {error}") from error
    authority = (parts.hostname or "") if port is None else f"{parts.hostname}:{port}"
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.hostname or ""):
        raise SettingsError(f"base URL {base_url!r} is not http(s)://host[:port]")
    if base_url != f"{parts.scheme}://{authority}" or port == 0:
        raise SettingsError(
            f"base URL {base_url!r} has more than a lower-case host name and a port"
        )
    return parts
