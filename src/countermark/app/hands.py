# SPDX-License-Identifier: Apache-2.0
"""Publishing and switching keys: on an instance that runs, by its keeper; else by this process."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from countermark.app import bring_up
from countermark.app.asking import ask
from countermark.app.data_dir import DataDir
from countermark.app.instance import TUF_KEY, load_instance
from countermark.app.keyring import KeyRing
from countermark.app.messages import (
    GetStatus,
    Logged,
    LogStatement,
    PublishSigned,
    PublishTrust,
    RestartKeeper,
)
from countermark.app.offline_root import signed_root
from countermark.app.statements import STATEMENT_KEY, log_while_stopped, statement_signer
from countermark.app.switching import finish_switch
from countermark.app.trust_files import write_trust_files
from countermark.app.upgrade import Say
from countermark.core.errors import SettingsError, Unavailable
from countermark.drivers.embedded.files import FileObjectStore
from countermark.ports.clock import Clock, Entropy
from countermark.trust.repository import TufRepository

_RESTART_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passphrases of online and root keys; None: those of the files beside them."""

    online: bytes | None = None
    offline: bytes | None = None


class Running:
    """Asks the keeper of an instance that runs. See `Hands`."""

    def __init__(self, data_dir: DataDir, clock: Clock, secrets: Secrets) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._secrets = secrets

    def publish(self) -> None:
        """See `Hands`."""
        ask(self._data_dir, PublishTrust())

    def publish_root(self) -> None:
        """See `Hands`."""
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        root = signed_root(self._data_dir, self._secrets.offline, now)
        if root is not None:
            self.publish_signed(root, b"", {})

    def publish_signed(self, root: bytes, targets: bytes, files: dict[str, bytes]) -> None:
        """Publish what holders of offline keys signed."""
        ask(self._data_dir, PublishSigned(root, targets, files))

    def log_statement(self, data: bytes) -> Logged:
        """Sign and log a file of the instance's own."""
        return ask(self._data_dir, LogStatement(data, STATEMENT_KEY))

    def switch(self, decided: datetime) -> datetime:
        """See `Hands`. The workers bridge it: no connection is refused meanwhile."""
        # One that takes longer to read back its logs than a command waits is not ended again.
        status = ask(self._data_dir, GetStatus())
        if status.started_ms / 1000 >= decided.timestamp() + 1:
            return datetime.fromtimestamp(status.started_ms / 1000, UTC)
        old = ask(self._data_dir, RestartKeeper())
        deadline = time.monotonic() + _RESTART_S
        while True:
            try:
                status = ask(self._data_dir, GetStatus())
                if status.pid != old.pid:
                    return datetime.fromtimestamp(status.started_ms / 1000, UTC)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_AGAIN_S)


class Stopped:
    """Does it here; the caller holds the lock of an instance that does not run. See `Hands`."""

    def __init__(self, data_dir: DataDir, clock: Clock, entropy: Entropy, secrets: Secrets) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._entropy = entropy
        self._secrets = secrets

    def publish(self) -> None:
        """See `Hands`."""
        config = load_instance(self._data_dir.instance_file)
        keys = KeyRing.load(self._data_dir, config, self._secrets.online)
        targets = write_trust_files(self._data_dir, config, keys)
        repository = self._repository(keys)
        if not repository.holds(targets):
            repository.publish(targets, self._now())

    def publish_root(self) -> None:
        """See `Hands`."""
        root = signed_root(self._data_dir, self._secrets.offline, self._now())
        if root is not None:
            self.publish_signed(root, b"", {})

    def publish_signed(self, root: bytes, targets: bytes, files: dict[str, bytes]) -> None:
        """Publish what holders of offline keys signed."""
        config = load_instance(self._data_dir.instance_file)
        repository = self._repository(KeyRing.load(self._data_dir, config, self._secrets.online))
        repository.publish_signed(root, targets, files, self._now())

    def log_statement(self, data: bytes) -> Logged:
        """Sign and log a file of the instance's own."""
        config = load_instance(self._data_dir.instance_file)
        keys = KeyRing.load(self._data_dir, config, self._secrets.online)
        signer = statement_signer(self._data_dir, STATEMENT_KEY, self._secrets.online)
        return log_while_stopped(self._data_dir, config, keys, data, signer, self._clock)

    def switch(self, decided: datetime) -> datetime:
        """See `Hands`. The next start reads instance.json; only logs have to be made."""
        finish_switch(self._data_dir, self._clock, self._entropy, self._secrets.online)
        return self._now()

    def _repository(self, keys: KeyRing) -> TufRepository:
        return TufRepository.open(FileObjectStore(self._data_dir.tuf), keys.signer(TUF_KEY))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)


@contextmanager
def hands_on(
    data_dir: DataDir, clock: Clock, entropy: Entropy, secrets: Secrets, say: Say
) -> Iterator[Running | Stopped]:
    """Whoever can change keys of the instance now, alone.

    Raises SettingsError if somebody else is at it, or there is no instance.
    """
    with _alone(data_dir), ExitStack() as stack:
        try:
            stack.enter_context(bring_up.locked(data_dir))
        except bring_up.InUse:
            load_instance(data_dir.instance_file)
            yield Running(data_dir, clock, secrets)
            return
        if data_dir.next_shards_file.exists():
            data_dir.check_secrecy()
        else:
            bring_up.open_for_change(data_dir, say)
        yield Stopped(data_dir, clock, entropy, secrets)


@contextmanager
def _alone(data_dir: DataDir) -> Iterator[None]:
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(data_dir.keys_lock_file, flags, 0o600)
    except OSError as error:
        missing = SettingsError(f"there is no instance in {data_dir.path}: {error.strerror}")
        missing.add_note("name its directory with --data")
        raise missing from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError("another command changes keys or the distrust list now") from error
        yield
    finally:
        os.close(descriptor)
