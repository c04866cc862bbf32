# SPDX-License-Identifier: Apache-2.0
"""The data directory: where everything is, which version wrote it, and who may read it.

instance.json     what this instance is: URLs, logs, key names
next-shards.json  stands for as long as new shards are being opened
version           the layout's number; written last, so a directory with it is complete
lock              flock'd by the program that runs the instance
keys.lock         flock'd by whoever changes keys or the distrust list
local-secret      0600; lets the user of this machine have a development token
keys/             0700: online keys (encrypted PKCS#8), their passphrase, first chains
offline/          0700: root keys, used at `init` only, and their passphrase; can be moved away
db/               0700: the database
logs/<log>/       the objects of each log: tiles, entry bundles, checkpoint
tuf/, trust/      the TUF repository; the trust root's files
run/              0700: the keeper's socket
checkpoints/      0700: the database as it was when a backup began, while that one is made
restoring         stands for as long as `restore` is under way
"""

import os
import re
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from countermark.core.encoding import from_decimal
from countermark.core.errors import FormatError, SettingsError
from countermark.drivers.durable import PUBLIC, read_secret, replace_file

VERSION: Final = 3
# What a backup is recognised by, so that nobody brings up an instance inside one.
BACKUP_MANIFEST: Final = "backup.json"
_SECRET: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PRIVATE_FOLDERS: Final = ("keys", "offline", "db", "run")
_PUBLIC_FOLDERS: Final = ("logs", "tuf", "trust")
# Names that may lie in a directory that is still to be initialised.
_HARMLESS: Final = frozenset({"keys.lock", "lock", "lost+found", "run"})


class State(Enum):
    """How far a directory has got."""

    EMPTY = "empty"
    UNFINISHED = "unfinished"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class DataDir:
    """The paths of one instance. Making one touches nothing.

    Attributes:
        path: the directory, absolute.
    """

    path: Path

    @classmethod
    def at(cls, path: Path | str) -> "DataDir":
        """The data directory at `path`, which may be relative or start with ``~``."""
        return cls(Path(path).expanduser().absolute())

    @property
    def instance_file(self) -> Path:
        """`InstanceConfig` as JSON."""
        return self.path / "instance.json"

    @property
    def version_file(self) -> Path:
        """The layout's number in decimal."""
        return self.path / "version"

    @property
    def unfinished_file(self) -> Path:
        """Stands for as long as initialisation is under way."""
        return self.path / "initialising"

    @property
    def restoring_file(self) -> Path:
        """Stands for as long as a restore is under way."""
        return self.path / "restoring"

    @property
    def checkpoints(self) -> Path:
        """Folder of database checkpoints that backups are made from; whoever makes one locks it."""
        return self.path / "checkpoints"

    @property
    def next_shards_file(self) -> Path:
        """instance.json as it will be; stands for as long as new shards are being opened."""
        return self.path / "next-shards.json"

    @property
    def lock_file(self) -> Path:
        """For flock."""
        return self.path / "lock"

    @property
    def keys_lock_file(self) -> Path:
        """For flock, by whoever changes keys, roots or the distrust list."""
        return self.path / "keys.lock"

    @property
    def local_secret_file(self) -> Path:
        """64 hexadecimal digits that the development login asks for."""
        return self.path / "local-secret"

    @property
    def keys(self) -> Path:
        """Folder of the online keys."""
        return self.path / "keys"

    @property
    def offline(self) -> Path:
        """Folder of the root keys."""
        return self.path / "offline"

    @property
    def db(self) -> Path:
        """Folder of the database."""
        return self.path / "db"

    @property
    def logs(self) -> Path:
        """Folder of the logs' folders."""
        return self.path / "logs"

    @property
    def tuf(self) -> Path:
        """Folder of the TUF repository."""
        return self.path / "tuf"

    @property
    def trust(self) -> Path:
        """Folder of trusted_root.json and its like."""
        return self.path / "trust"

    @property
    def run(self) -> Path:
        """Folder of the sockets."""
        return self.path / "run"

    @property
    def keeper_socket(self) -> Path:
        """The keeper's socket; the path can be longer than a socket address holds."""
        return self.run / "keeper.sock"

    @property
    def keys_passphrase_file(self) -> Path:
        """Passphrase of the online keys, where it was not given from elsewhere."""
        return self.keys / "passphrase"

    @property
    def offline_passphrase_file(self) -> Path:
        """Passphrase of the root keys, where it was not given from elsewhere."""
        return self.offline / "passphrase"

    @property
    def ca_chain_file(self) -> Path:
        """PEM, the issuing CA first, its root last."""
        return self.keys / "ca-chain.pem"

    @property
    def tsa_chain_file(self) -> Path:
        """PEM, the TSA's certificate first, its root last."""
        return self.keys / "tsa-chain.pem"

    def key_file(self, name: str) -> Path:
        """The file of the online key called `name`."""
        return self.keys / f"{name}.pem"

    def offline_key_file(self, name: str) -> Path:
        """The file of the root key called `name`."""
        return self.offline / f"{name}.pem"

    def log_folder(self, name: str) -> Path:
        """The objects of the log called `name`."""
        return self.logs / name

    def state(self) -> State:
        """What is there. Raises SettingsError for a directory that is something else.

        Also for one written by a newer version, which an older program would misread, and for
        one that `restore` did not finish.
        """
        if self.version() is not None:
            return State.COMPLETE
        return self._state_without_version()

    def version(self) -> int | None:
        """The layout's number; None where there is no complete instance.

        Raises SettingsError if the file is damaged or the layout newer than this program.
        """
        try:
            version = self.version_file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(f"{self.version_file} cannot be read: {error.strerror}") from error
        return self._check_version(version)

    @property
    def cleared_folders(self) -> tuple[Path, ...]:
        """The folders that initialisation fills, and clears of what a killed run left."""
        return (self.keys, self.offline, self.db, self.logs, self.tuf, self.trust)

    def write_version(self, version: int = VERSION) -> None:
        """Declare the directory complete, durably. Raises OSError."""
        replace_file(self.version_file, b"%d\n" % version, PUBLIC)

    def make_folders(self) -> None:
        """Create the directory and its folders, with their modes, where they do not exist."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _PRIVATE_FOLDERS:
            (self.path / name).mkdir(mode=0o700, exist_ok=True)
        for name in _PUBLIC_FOLDERS:
            (self.path / name).mkdir(mode=0o755, exist_ok=True)

    def check_secrecy(self) -> None:
        """Refuse to run while other users can get at keys, database or secret.

        Raises SettingsError that names every path and the commands that mend it.
        """
        if stat.S_IMODE(self.path.stat().st_mode) & 0o022:
            # They could put folders of their own in place of ours.
            raise SettingsError(f"other users can replace what is kept: run chmod go-w {self.path}")
        paths = [self.path / name for name in _PRIVATE_FOLDERS]
        paths += [self.local_secret_file, *self.keys.glob("*"), *self.offline.glob("*")]
        public = {self.ca_chain_file, self.tsa_chain_file}
        loose = [str(path) for path in paths if path not in public and _loose(path)]
        if loose:
            listed = " ".join(loose)
            raise SettingsError(f"other users can reach secrets: run chmod go= {listed}")

    def read_local_secret(self) -> str:
        """The development login's secret. Raises SettingsError."""
        secret = read_secret(self.local_secret_file).decode("ascii", "replace").strip()
        if not _SECRET.fullmatch(secret):
            raise SettingsError(f"{self.local_secret_file} is damaged: it is not 64 hex digits")
        return secret

    def _state_without_version(self) -> State:
        if self.unfinished_file.exists():
            return State.UNFINISHED
        if self.restoring_file.exists():
            unfinished = SettingsError(f"restoring a backup into {self.path} was not finished")
            unfinished.add_note("run the same countermark restore again: it begins anew")
            raise unfinished
        try:
            names = {entry.name for entry in os.scandir(self.path)}
        except FileNotFoundError:
            return State.EMPTY
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be used: {error.strerror}") from error
        if BACKUP_MANIFEST in names:
            backup = SettingsError(f"{self.path} is a backup, not a data directory")
            backup.add_note(f"run countermark restore {self.path} --data ANOTHER_DIRECTORY")
            raise backup
        if strangers := sorted(names - _HARMLESS):
            raise SettingsError(
                f"{self.path} is neither empty nor a Countermark data directory (it holds "
                f"{strangers[0]}): name another one with --data"
            )
        return State.EMPTY

    def _check_version(self, data: bytes) -> int:
        try:
            version = from_decimal(data.decode("ascii", "replace").rstrip("\n"), "version")
        except FormatError as error:
            raise SettingsError(f"{self.version_file} is damaged: {error.why}") from error
        if version > VERSION:
            raise SettingsError(
                f"{self.path} was written by a newer Countermark (layout {version}, this one "
                f"knows {VERSION}): install that version"
            )
        if version < 1:
            raise SettingsError(f"{self.version_file} is damaged: there is no layout {version}")
        return version


def _loose(path: Path) -> bool:
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except FileNotFoundError:  # `offline` can be moved away
        return False
