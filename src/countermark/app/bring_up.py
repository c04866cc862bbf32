# SPDX-License-Identifier: Apache-2.0
"""From settings to a start: lock, sockets, data directory, registry; then the supervisor.

The command line does this in its own process and then *becomes* the supervisor (`start`), so
that what it imported does not stay in memory beside the instance.
"""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

from countermark.app import sockets
from countermark.app.checkpoints import clear_checkpoints
from countermark.app.data_dir import DataDir, State
from countermark.app.instance import InstanceConfig
from countermark.app.launch import Launch
from countermark.app.opening import open_instance
from countermark.app.secrets import resolve_passphrase
from countermark.app.settings import DEFAULT_PORT, Settings
from countermark.app.upgrade import Say, upgrade
from countermark.client.instances import home_dir, load_instances, record_instance
from countermark.core.errors import SettingsError
from countermark.core.hosts import is_loopback

_ENDING_S: Final = 15.0
"""A little longer than children take to end without their supervisor."""
_LOOK_AGAIN_S: Final = 0.05
DISTRUST: Final = "distrust.json"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class InUse(SettingsError):
    """Somebody else holds the lock of the data directory."""


def data_dir_of(settings: Settings) -> DataDir:
    """The data directory in use: the given one, or the user's own."""
    return DataDir.at(settings.data or Path(home_dir()) / "instance")


@contextmanager
def locked(data_dir: DataDir, *, restoring: bool = False) -> Iterator[int]:
    """Hold the lock of a data directory, made if need be; yields its descriptor.

    Args:
        data_dir: which.
        restoring: take one whose restore was not finished, too.

    An instance whose supervisor was killed may still be ending: that is waited for.

    Raises InUse if an instance runs on it, SettingsError if it is something else.
    """
    if not (restoring and data_dir.restoring_file.exists()):
        data_dir.state()
    try:
        data_dir.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never through a link: in a directory that others prepared it could lead to any file.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(data_dir.lock_file, flags, 0o600)
    except OSError as error:
        raise SettingsError(f"{data_dir.path} cannot be used: {error.strerror}") from error
    try:
        _take(descriptor, data_dir)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, data_dir: DataDir) -> None:
    deadline = time.monotonic() + _ENDING_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if _holder_is_there(descriptor) or time.monotonic() > deadline:
                busy = InUse(f"an instance runs on {data_dir.path} already")
                busy.add_note("see `countermark status`; stop it, or name another directory")
                raise busy from error
            time.sleep(_LOOK_AGAIN_S)
        else:
            break
    with contextlib.suppress(OSError):  # a full disk: then nobody waits for our children
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)


def _holder_is_there(descriptor: int) -> bool:
    """Whether the process that took the lock exists; its children may outlive it for moments."""
    try:
        os.kill(int(os.pread(descriptor, 20, 0)), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, OSError):
        return True
    return True


def prepare(settings: Settings, data_dir: DataDir, say: Say) -> InstanceConfig:
    """The instance, made now if there is none. The caller holds the lock.

    Args:
        settings: checked.
        data_dir: locked.
        say: told what takes a while, and what a new instance's owner should know.

    Raises SettingsError.
    """
    if data_dir.state() is State.COMPLETE:
        config = open_for_change(data_dir, say)
        _check_unchanged(settings, config)
        return config
    say(f"creating keys, logs and trust root in {data_dir.path}")
    # Making an instance takes libraries that running one does without.
    from countermark.app.init import Passphrases, initialise
    from countermark.drivers.system import SystemClock, SystemEntropy

    passphrases = Passphrases(
        online=resolve_passphrase(settings.keys_passphrase),
        offline=resolve_passphrase(settings.offline_passphrase),
    )
    base_url = new_base_url(settings)
    try:
        clock, entropy = SystemClock(), SystemEntropy()
        made = initialise(data_dir, base_url, clock, entropy, passphrases, settings.key_store)
    except OSError as error:  # a full disk, mostly
        unfinished = SettingsError(f"{data_dir.path} cannot be filled: {error.strerror}")
        unfinished.add_note("mend that and run the same again: it begins anew")
        raise unfinished from error
    for warning in made.warnings:
        say(warning)
    return made.config


def open_for_change(data_dir: DataDir, say: Say) -> InstanceConfig:
    """The instance, its directory in this program's layout. The caller holds the lock.

    Commands that only look use `open_instance`, which reads older layouts as they are.
    Raises SettingsError, InvariantBroken.
    """
    open_instance(data_dir)  # whose secrets are exposed is not worked upon
    try:
        upgrade(data_dir, say)
        clear_checkpoints(data_dir)
    except OSError as error:
        raise SettingsError(f"{data_dir.path} cannot be changed: {error.strerror}") from error
    return open_instance(data_dir)


def listen(settings: Settings, data_dir: DataDir) -> list[list[int]]:
    """Descriptors of listening sockets, a list for each worker. Raises SettingsError.

    Before anything is made: a taken port should leave nothing behind.
    """
    port = settings.port
    if not port and data_dir.state() is State.COMPLETE:
        parts = urlsplit(open_instance(data_dir).base_url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return _listeners(settings, settings.host, port or DEFAULT_PORT)


def listen_for_metrics(settings: Settings) -> list[list[int]]:
    """The same for metrics; empty if they have no port of their own. Raises SettingsError."""
    address = settings.metrics_address
    return [] if address is None else _listeners(settings, *address)


def record(data_dir: DataDir, config: InstanceConfig) -> None:
    """Let `sign` and `verify` of this user find the instance. Raises SettingsError."""
    try:
        record_instance(
            config.base_url,
            data_dir.path,
            trusted_root_json=(data_dir.trust / "trusted_root.json").read_bytes(),
            signing_config_json=(data_dir.trust / "signing_config.v0.2.json").read_bytes(),
            tuf_root_json=(data_dir.tuf / "1.root.json").read_bytes(),
            targets=_other_targets(data_dir),
        )
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from error


def record_anew(data_dir: DataDir, config: InstanceConfig) -> None:
    """The same, if this user knows the instance already. Raises SettingsError, FormatError."""
    path = str(data_dir.path)
    if any(known.data_dir == path for known in load_instances()):
        record(data_dir, config)


def _other_targets(data_dir: DataDir) -> tuple[tuple[str, bytes], ...]:
    file = data_dir.trust / DISTRUST
    return ((DISTRUST, file.read_bytes()),) if file.exists() else ()


def start(
    settings: Settings,
    data_dir: DataDir,
    lock: int,
    listeners: list[list[int]],
    metrics_listeners: list[list[int]],
    greeting: str,
) -> NoReturn:
    """Become the supervisor."""
    launch = Launch(
        data_dir=str(data_dir.path),
        lock=lock,
        listeners=listeners,
        issuers=list(settings.issuers),
        development=settings.development,
        tls_cert=_absolute(settings.tls_cert),
        tls_key=_absolute(settings.tls_key),
        keys_passphrase=_absolute(settings.keys_passphrase),
        log_format=settings.log_format,
        access_log=settings.access_log,
        behind_proxy=settings.behind_proxy,
        metrics_listeners=metrics_listeners,
        greeting=greeting,
    )
    for descriptor in (lock, *launch.sockets):
        os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    sys.stderr.flush()
    module = "countermark.app.supervisor"
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, launch.serialize()])  # noqa: S606


def new_base_url(settings: Settings) -> str:
    """What clients of a new instance will use. Raises SettingsError if it has to be said."""
    if settings.base_url:
        return settings.base_url
    if not settings.development:
        error = SettingsError("clients elsewhere need a URL that never changes")
        error.add_note("give it with --base-url, e.g. https://sigstore.example.org")
        raise error
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://localhost:{settings.port or DEFAULT_PORT}"


def _check_unchanged(settings: Settings, config: InstanceConfig) -> None:
    """Refuse settings under which clients would not find what the instance says of itself."""
    if settings.base_url and settings.base_url != config.base_url:
        raise SettingsError(
            f"the instance was created as {config.base_url}, for ever: make another one for "
            f"{settings.base_url}"
        )
    parts = urlsplit(config.base_url)
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    if settings.port and settings.port != port and is_loopback(config.hostname):
        raise SettingsError(
            f"the instance was created as {config.base_url}, for ever: leave out --port, or name "
            "another directory with --data"
        )
    if is_loopback(config.hostname) and (parts.scheme == "https") != bool(settings.tls_cert):
        raise SettingsError(
            f"the instance was created as {config.base_url}: give a certificate"
            if parts.scheme == "https"
            else f"the instance was created as {config.base_url}, so it takes no certificate"
        )


def _listeners(settings: Settings, host: str, port: int) -> list[list[int]]:
    groups = sockets.listen(host, port, settings.worker_count)
    return [[listener.detach() for listener in group] for group in groups]


def _absolute(path: str) -> str:
    return path if not path or path.startswith("env:") else str(Path(path).expanduser().absolute())
