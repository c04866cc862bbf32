# SPDX-License-Identifier: Apache-2.0
"""The logs of an instance: which rules each kind follows, and how new ones are made."""

import asyncio
from collections.abc import Sequence

from countermark.app.data_dir import DataDir
from countermark.app.instance import Frozen, InstanceConfig, LogConfig
from countermark.app.keyring import KeyRing
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import InvariantBroken
from countermark.core.rekor.shard import Shard
from countermark.ctlog.auditor import CTAuditor
from countermark.ctlog.personality import CTPersonality
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.ports.clock import Clock, Entropy
from countermark.ports.log_store import Head, LogStore
from countermark.ports.objects import ObjectStore
from countermark.ports.signer import Signer
from countermark.tilelog.log import Log
from countermark.tilelog.personality import Auditor, Personality, Submission
from countermark.tlog.genesis import genesis_submissions
from countermark.tlog.personality import ShardAuditor, ShardPersonality


def new_tree_id(entropy: Entropy) -> int:
    """A number for a new v1 shard: odd, so that it is never zero."""
    return int.from_bytes(entropy.bytes(8)) >> 1 | 1


def shard_of(config: InstanceConfig, log: LogConfig, public_key: PublicKey) -> Shard:
    """The v1 shard that `log` describes."""
    return Shard(log.tree_id, log.note_name, public_key, config.first_index(log))


def personality_of(config: InstanceConfig, log: LogConfig, signer: Signer) -> Personality:
    """The rules that `log` is sequenced by, with its key."""
    if log.kind == "ct":
        return CTPersonality(log.origin, signer)
    return ShardPersonality(shard_of(config, log, signer.public_key), signer)


def auditor_of(
    config: InstanceConfig, log: LogConfig, public_key: PublicKey, objects: ObjectStore
) -> Auditor:
    """What checks `log` from outside, for `fsck`; `objects` are the log's own."""
    if log.kind == "ct":
        return CTAuditor(log.origin, public_key, objects)
    return ShardAuditor(shard_of(config, log, public_key))


def open_log(
    log: LogConfig, personality: Personality, store: LogStore, objects: ObjectStore, clock: Clock
) -> Log:
    """A log that exists, to be run by the caller; it takes nothing if it is frozen.

    Raises NotFound if it is not there, InvariantBroken if it is damaged or went on after its end.
    """
    opened = Log.open(log.name, personality, store, objects, clock)
    if log.frozen is not None:
        check_frozen(log.name, log.frozen, opened.head)
        opened.freeze()
    return opened


def check_frozen(name: str, frozen: Frozen, head: Head) -> None:
    """That a frozen log still ends where it was frozen. Raises InvariantBroken."""
    if (head.tree_size, head.root_hash) != (frozen.tree_size, frozen.root_hash):
        raise InvariantBroken(
            f"log {name} was frozen at {frozen.tree_size} entries, but its database holds "
            f"{head.tree_size}, or others"
        )


def create_logs(data_dir: DataDir, config: InstanceConfig, keys: KeyRing, clock: Clock) -> None:
    """Create the database and every log in it, v1 shards with their genesis entries.

    Durable and published on return. Blocks, and runs an event loop of its own.
    Raises Conflict if a log exists, InvariantBroken, Unavailable.
    """
    store = RocksLogStore(data_dir.db, create=True)
    try:
        for log in config.logs:
            begin_log(data_dir, config, log, keys.signer(log.key), store, clock)
    finally:
        store.close()


def begin_log(
    data_dir: DataDir,
    config: InstanceConfig,
    log: LogConfig,
    signer: Signer,
    store: LogStore,
    clock: Clock,
) -> None:
    """Create a log, or go on where a killed run left it: published, with its genesis entries.

    Blocks, and runs an event loop of its own. Raises InvariantBroken, Unavailable.
    """
    make = Log.open if log.name in store.logs() else Log.create
    objects = FileObjectStore(data_dir.log_folder(log.name))
    made = make(log.name, personality_of(config, log, signer), store, objects, clock)
    first: tuple[Submission, ...] = ()
    if log.kind == "rekor-v1":
        shard = shard_of(config, log, signer.public_key)
        first = genesis_submissions(shard, log.base_url, signer)[made.head.tree_size :]
    asyncio.run(add_and_publish(made, first))


async def add_and_publish(log: Log, submissions: Sequence[Submission] = ()) -> None:
    """Add entries to a log that nobody else uses, and publish all it holds. Ends the log."""
    next_index = log.head.tree_size
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(log.run())
            for index, submission in enumerate(submissions, next_index):
                added = await log.add(submission)
                if added.index != index:
                    raise InvariantBroken(f"new log {log.name} has entry {index} at {added.index}")
            await log.drain()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
