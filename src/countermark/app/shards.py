# SPDX-License-Identifier: Apache-2.0
"""Freezes the open logs of a stopped instance for ever, and opens their successors.

What instance.json will say is written down first (`next-shards.json`); as long as that stands,
nothing opens the instance. Then keys, logs and trust root are made, instance.json is replaced, and
the note goes. Killed at any point, a run leaves the old state, the new one, or one that the next
run finishes as it was begun. The caller holds the directory's lock.
"""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, get_args

import msgspec

from countermark.app.data_dir import DataDir
from countermark.app.instance import (
    TUF_KEY,
    Frozen,
    InstanceConfig,
    LogConfig,
    LogKind,
    load_instance,
    save_instance,
)
from countermark.app.key_store import create_online_key, load_online_key
from countermark.app.keyring import KeyRing, read_passphrase
from countermark.app.logs import (
    add_and_publish,
    begin_log,
    check_frozen,
    new_tree_id,
    open_log,
    personality_of,
)
from countermark.app.trust_files import write_trust_files
from countermark.core.errors import InvariantBroken
from countermark.drivers.durable import sync_folder
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.keys.file import P256
from countermark.ports.clock import Clock, Entropy
from countermark.ports.log_store import Head
from countermark.ports.signer import Signer
from countermark.trust.repository import TufRepository

_LEAP: Final = 100_000
"""Versions of TUF metadata that a restored instance passes over: one is signed daily and at
every start, so no backup is that old. One for each minute of its life comes on top: a second
restore from the same backup then passes over what the first restored instance has signed."""


def open_next_shards(
    data_dir: DataDir,
    clock: Clock,
    entropy: Entropy,
    *,
    passphrase: bytes | None = None,
    restored: bool = False,
) -> InstanceConfig:
    """Freeze the open logs as they stand, open the next ones and publish the new trust root.

    Finishes what a killed run began instead, if there is such a thing. Blocks for a second or so.

    Args:
        data_dir: of an instance that does not run, locked; its version file is not looked at.
        clock: says when the old logs end and the new ones begin.
        entropy: for tree ids; keys come from OpenSSL's generator.
        passphrase: of the online keys; by default that of the file beside them.
        restored: the directory is an older copy, of which the world has seen more than it knows:
            names of new logs and versions of TUF metadata are such as it cannot have seen.

    Returns what instance.json says now. Raises SettingsError, FormatError, Unavailable,
    InvariantBroken, OSError.
    """
    config = load_instance(data_dir.instance_file)
    note = data_dir.next_shards_file
    planned = load_instance(note) if note.exists() else None
    if planned != config:  # else the run was killed right before its end
        secret = passphrase or read_passphrase(data_dir.keys_passphrase_file)
        keys = KeyRing.load(data_dir, config, secret)
        store = RocksLogStore(data_dir.db)
        try:
            heads = {log.name: store.head(log.name) for log in config.logs}
            if planned is None:
                _publish_all(data_dir, config, keys, store, clock)
                planned = _plan(config, keys, heads, clock, entropy, restored=restored)
                save_instance(note, planned)
            for log in planned.logs:
                if log.frozen is not None:
                    check_frozen(log.name, log.frozen, heads[log.name])
            signers = _open(data_dir, config, planned, keys, store, secret, clock)
        finally:
            store.close()
        keys = replace(keys, signers={**keys.signers, **signers})
        targets = write_trust_files(data_dir, planned, keys)
        repository = TufRepository.open(FileObjectStore(data_dir.tuf), keys.signer(TUF_KEY))
        now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
        minutes = max(0, int((now - config.created).total_seconds())) // 60
        if repository.signs_targets:  # else a ceremony publishes them
            repository.publish(targets, now, skip=_LEAP + minutes if restored else 0)
        save_instance(data_dir.instance_file, planned)
    note.unlink()
    sync_folder(data_dir.path)
    return planned


def _publish_all(
    data_dir: DataDir, config: InstanceConfig, keys: KeyRing, store: RocksLogStore, clock: Clock
) -> None:
    """Bring what a stopped instance still had staged to its public place."""
    for log in config.logs:
        if log.frozen is None:
            personality = personality_of(config, log, keys.signer(log.key))
            objects = FileObjectStore(data_dir.log_folder(log.name))
            asyncio.run(add_and_publish(open_log(log, personality, store, objects, clock)))


def _plan(
    config: InstanceConfig,
    keys: KeyRing,
    heads: dict[str, Head],
    clock: Clock,
    entropy: Entropy,
    *,
    restored: bool,
) -> InstanceConfig:
    """The configuration with its open logs frozen and the next ones listed.

    Those that clients were told of already (`app.rotation`) come next, if the world cannot have
    seen them grow.
    """
    now_s = clock.now_ms() // 1000
    # A clock that was set back must not leave entries outside their log's validity.
    last_s = max(head.time_ms for head in heads.values()) // 1000
    opened = datetime.fromtimestamp(now_s, UTC)
    end = datetime.fromtimestamp(max(now_s, last_s) + 1, UTC)

    def frozen(log: LogConfig) -> LogConfig:
        if log.frozen is not None:
            return log
        head, spki = heads[log.name], keys.signer(log.key).public_key.spki
        last = Frozen(at=end, tree_size=head.tree_size, root_hash=head.root_hash, spki=spki)
        return msgspec.structs.replace(log, frozen=last)

    logs = [frozen(log) for log in config.logs]
    if config.next_logs and not restored:
        logs += [coming.log for coming in config.next_logs]
    else:
        suffix = f"-{entropy.bytes(4).hex()}" if restored else ""
        logs += plan_next_logs(config, opened, entropy, suffix)
    others = tuple(item for item in config.rotations if item.service != "log")
    return msgspec.structs.replace(config, logs=tuple(logs), next_logs=(), rotations=others)


def plan_next_logs(
    config: InstanceConfig, opened: datetime, entropy: Entropy, suffix: str = ""
) -> list[LogConfig]:
    """The logs that follow the open ones, of each kind one; nothing is made."""
    return [
        _next(config, kind, f"{len(config.logs_of(kind)) + 1}{suffix}", opened, entropy)
        for kind in get_args(LogKind)
    ]


def _next(
    config: InstanceConfig, kind: LogKind, number: str, opened: datetime, entropy: Entropy
) -> LogConfig:
    """The next log of a kind, under a name, an origin and a key of its own."""
    last = config.open_log(kind)
    if kind == "ct":
        name = f"main-{number}"
        return LogConfig(
            name=f"ct-{name}",
            kind=kind,
            base_url=f"{config.base_url}/ctlog/{name}",
            origin=f"{config.base_url.partition('://')[2]}/ctlog/{name}",
            key=f"ct-{name}",
            opened=opened,
        )
    tree_id = new_tree_id(entropy)
    return LogConfig(
        name=f"rekor-v1-{number}",
        kind=kind,
        base_url=last.base_url,
        origin=f"{last.note_name} - {tree_id}",
        key=f"rekor-v1-{number}",
        tree_id=tree_id,
        opened=opened,
    )


def _open(
    data_dir: DataDir,
    config: InstanceConfig,
    planned: InstanceConfig,
    keys: KeyRing,
    store: RocksLogStore,
    passphrase: bytes,
    clock: Clock,
) -> dict[str, Signer]:
    """Make the keys and logs that are planned and not there yet. Returns their signers."""
    signers: dict[str, Signer] = {}
    told = {coming.log.key: coming.spki for coming in config.next_logs}
    for log in planned.logs:
        if log.key in keys.signers:
            continue
        file = data_dir.key_file(log.key)
        if log.name in store.logs() or log.key in told:
            signer = load_online_key(file, passphrase)
            if signer.public_key.spki != told.get(log.key, signer.public_key.spki):
                raise InvariantBroken(f"keys/{file.name} is another key than clients were told of")
        else:
            file.unlink(missing_ok=True)  # half of one, or one that has signed nothing
            signer = create_online_key(file, P256, passphrase)
        begin_log(data_dir, planned, log, signer, store, clock)
        signers[log.key] = signer
    sync_folder(data_dir.logs)
    return signers
