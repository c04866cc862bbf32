# SPDX-License-Identifier: Apache-2.0
"""Makes an instance: keys, certificates, logs and trust root, once.

Everything is made in place behind a marker, and the version file is written last. Killed at any
point, a run leaves either a directory that only says that it is unfinished, which the next run
clears and makes anew, or a complete instance. Nothing of an unfinished one was ever served, so
nobody can hold a promise of its keys. The caller holds the directory's lock.
"""

import shutil
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from countermark.app.data_dir import DataDir, State
from countermark.app.instance import (
    CA_KEY,
    CA_ROOT_KEY,
    LOGIN_KEY,
    TSA_KEY,
    TSA_ROOT_KEY,
    TUF_KEY,
    TUF_ROOT_KEY,
    InstanceConfig,
    new_instance,
    save_instance,
)
from countermark.app.key_store import create_online_key, use_token
from countermark.app.keyring import KeyRing
from countermark.app.logs import create_logs, new_tree_id
from countermark.app.trust_files import write_trust_files
from countermark.core.errors import SettingsError
from countermark.drivers.durable import PUBLIC, SECRET, create_file, sync_folder
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.keys.file import ED25519, P256, P384, RSA_2048, create_key
from countermark.ports.clock import Clock, Entropy
from countermark.ports.signer import Signer
from countermark.trust.authorities import issue_ca_chain, issue_tsa_chain
from countermark.trust.repository import TufRepository

_ONLINE: Final = {CA_KEY: P256, TSA_KEY: P256, LOGIN_KEY: RSA_2048, TUF_KEY: ED25519}
_OFFLINE: Final = {CA_ROOT_KEY: P384, TSA_ROOT_KEY: P384, TUF_ROOT_KEY: ED25519}


@dataclass(frozen=True, slots=True)
class Initialised:
    """A new instance.

    Attributes:
        config: its instance.json.
        warnings: what its owner should know or do, a sentence each.
    """

    config: InstanceConfig
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passphrases:
    """What the key files are encrypted with; None: made up and written to a file beside them.

    Attributes:
        online: of the keys the keeper uses; it needs this one at every start.
        offline: of the root keys, which are needed again only to rotate.
    """

    online: bytes | None = None
    offline: bytes | None = None


def initialise(
    data_dir: DataDir,
    base_url: str,
    clock: Clock,
    entropy: Entropy,
    passphrases: Passphrases = Passphrases(),
    key_store: str = "",
) -> Initialised:
    """Make a complete instance in an empty or unfinished directory. Blocks for a second or so.

    Args:
        data_dir: where; it need not exist.
        base_url: scheme, host and port that clients will use, for ever.
        clock: gives the start of every validity.
        entropy: for serials, passphrases and the tree id; keys come from OpenSSL's generator.
        passphrases: of the key files.
        key_store: URI of a PKCS#11 token for the signing keys; empty for files.

    Raises SettingsError (also if there is an instance already), Unavailable, InvariantBroken,
    OSError.
    """
    created = datetime.fromtimestamp(clock.now_ms() // 1000, UTC)
    config = new_instance(base_url, created, new_tree_id(entropy))
    if data_dir.state() is State.COMPLETE:
        raise SettingsError(f"{data_dir.path} holds an instance already: name another directory")
    _begin(data_dir)
    if key_store:
        use_token(data_dir.keys, key_store)

    online = passphrases.online or _new_passphrase(data_dir.keys_passphrase_file, entropy)
    offline = passphrases.offline or _new_passphrase(data_dir.offline_passphrase_file, entropy)
    kinds = {log.key: P256 for log in config.logs} | _ONLINE
    signers: dict[str, Signer] = {
        name: create_online_key(data_dir.key_file(name), kinds[name], online) for name in kinds
    }
    roots = {
        name: create_key(data_dir.offline_key_file(name), _OFFLINE[name], offline)
        for name in _OFFLINE
    }
    host = config.hostname
    ca = issue_ca_chain(host, roots[CA_ROOT_KEY], signers[CA_KEY].public_key, created, entropy)
    tsa = issue_tsa_chain(host, roots[TSA_ROOT_KEY], signers[TSA_KEY].public_key, created, entropy)
    create_file(data_dir.ca_chain_file, ca.to_pem().encode("ascii"), PUBLIC)
    create_file(data_dir.tsa_chain_file, tsa.to_pem().encode("ascii"), PUBLIC)
    secret = entropy.bytes(32).hex().encode("ascii")
    create_file(data_dir.local_secret_file, secret, SECRET)
    save_instance(data_dir.instance_file, config)

    keys = KeyRing(signers, ca.chain, tsa.chain)
    targets = write_trust_files(data_dir, config, keys)
    TufRepository.create(
        FileObjectStore(data_dir.tuf), roots[TUF_ROOT_KEY], signers[TUF_KEY], targets, created
    )
    create_logs(data_dir, config, keys, clock)
    _finish(data_dir)
    return Initialised(config, _warnings(data_dir, passphrases))


def _begin(data_dir: DataDir) -> None:
    data_dir.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    sync_folder(data_dir.path.parent)
    # Durable before anything else: only a directory with the marker may ever be cleared.
    if not data_dir.unfinished_file.exists():
        create_file(data_dir.unfinished_file, b"", SECRET)
    for folder in data_dir.cleared_folders:
        if folder.exists():
            shutil.rmtree(folder)
    for file in (data_dir.local_secret_file, data_dir.instance_file):
        file.unlink(missing_ok=True)
    data_dir.make_folders()
    sync_folder(data_dir.path)


def _finish(data_dir: DataDir) -> None:
    for folder in data_dir.cleared_folders:
        sync_folder(folder)
    data_dir.write_version()
    data_dir.unfinished_file.unlink()
    sync_folder(data_dir.path)


def _new_passphrase(path: Path, entropy: Entropy) -> bytes:
    passphrase = urlsafe_b64encode(entropy.bytes(32)).rstrip(b"=")
    create_file(path, passphrase + b"\n", SECRET)
    return passphrase


def _warnings(data_dir: DataDir, passphrases: Passphrases) -> tuple[str, ...]:
    warnings = [
        f"The root keys are in {data_dir.offline}: move that folder to a safe place, "
        "this instance does not need it to run."
    ]
    if passphrases.offline is None:
        warnings.append(
            f"Their passphrase was made up and lies beside them in "
            f"{data_dir.offline_passphrase_file}: keep the two apart."
        )
    return tuple(warnings)
