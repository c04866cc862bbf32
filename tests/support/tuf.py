# SPDX-License-Identifier: Apache-2.0
"""A TUF repository of our own making in a folder, and python-tuf's client to read it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.ngclient.updater import Updater

from countermark.drivers.keys.file import ED25519, FileSigner, create_key
from countermark.drivers.memory import MemoryObjectStore
from countermark.trust.repository import TufRepository

START = datetime.now(UTC).replace(microsecond=0)
TARGETS = {
    "trusted_root.json": b'{"mediaType": "root"}\n',
    "signing_config.v0.2.json": b'{"mediaType": "config"}\n',
    "trust_config.json": b"{}\n",
}


@dataclass(frozen=True, slots=True)
class MadeRepository:
    """A new repository and its keys."""

    objects: MemoryObjectStore
    root_key: FileSigner
    online: FileSigner
    repository: TufRepository


def make_repository(folder: Path, now: datetime = START) -> MadeRepository:
    """Make one under `folder`."""
    folder.mkdir(exist_ok=True)
    root_key = create_key(folder / "root.pem", ED25519, b"secret")
    online = create_key(folder / "online.pem", ED25519, b"secret")
    objects = MemoryObjectStore()
    repository = TufRepository.create(objects, root_key, online, TARGETS, now)
    return MadeRepository(objects, root_key, online, repository)


def damage(made: MadeRepository, path: str, data: bytes | None) -> None:
    """Change or remove an object behind the store's back."""
    for objects in (made.objects.data.immutable, made.objects.data.mutable):
        if path in objects:
            objects.pop(path)
            if data is not None:
                objects[path] = data


def ngclient(folder: Path, url: str, root: bytes | None) -> Updater:
    """python-tuf's client with its cache in `folder`; `root` only the first time."""
    for name in ("metadata", "targets"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Updater(
        metadata_dir=str(folder / "metadata"),
        metadata_base_url=f"{url}/tuf/",
        target_dir=str(folder / "targets"),
        target_base_url=f"{url}/tuf/targets/",
        bootstrap=root,
    )


def fetch_targets(updater: Updater) -> dict[str, bytes]:
    """Refresh and download every known target, verified by the client."""
    updater.refresh()
    found: dict[str, bytes] = {}
    for name in TARGETS:
        info = updater.get_targetinfo(name)
        assert info is not None, f"{name} is no target"
        found[name] = Path(updater.download_target(info)).read_bytes()
    return found
