# SPDX-License-Identifier: Apache-2.0
"""The logs of an instance: which rules each kind follows, and how new ones are made."""

import asyncio

from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig, LogConfig
from countermark.app.keyring import KeyRing
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import InvariantBroken
from countermark.core.rekor.shard import Shard
from countermark.ctlog.auditor import CTAuditor
from countermark.ctlog.personality import CTPersonality
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.ports.clock import Clock
from countermark.ports.objects import ObjectStore
from countermark.ports.signer import Signer
from countermark.tilelog.log import Log
from countermark.tilelog.personality import Auditor, Personality, Submission
from countermark.tlog.genesis import genesis_submissions
from countermark.tlog.personality import ShardAuditor, ShardPersonality


def shard_of(log: LogConfig, public_key: PublicKey) -> Shard:
    """The v1 shard that `log` describes."""
    return Shard(log.tree_id, log.note_name, public_key)


def personality_of(log: LogConfig, signer: Signer) -> Personality:
    """The rules that `log` is sequenced by, with its key."""
    if log.kind == "ct":
        return CTPersonality(log.origin, signer)
    return ShardPersonality(shard_of(log, signer.public_key), signer)


def auditor_of(log: LogConfig, public_key: PublicKey, objects: ObjectStore) -> Auditor:
    """What checks `log` from outside, for `fsck`; `objects` are the log's own."""
    if log.kind == "ct":
        return CTAuditor(log.origin, public_key, objects)
    return ShardAuditor(shard_of(log, public_key))


def create_logs(data_dir: DataDir, config: InstanceConfig, keys: KeyRing, clock: Clock) -> None:
    """Create the database and every log in it, v1 shards with their genesis entries.

    Durable and published on return. Blocks, and runs an event loop of its own.
    Raises Conflict if a log exists, InvariantBroken, Unavailable.
    """
    store = RocksLogStore(data_dir.db, create=True)
    try:
        for log_config in config.logs:
            signer = keys.signer(log_config.key)
            log = Log.create(
                log_config.name,
                personality_of(log_config, signer),
                store,
                FileObjectStore(data_dir.log_folder(log_config.name)),
                clock,
            )
            first: tuple[Submission, ...] = ()
            if log_config.kind == "rekor-v1":
                shard = shard_of(log_config, signer.public_key)
                first = genesis_submissions(shard, log_config.base_url, signer)
            asyncio.run(_begin(log, first))
    finally:
        store.close()


async def _begin(log: Log, submissions: tuple[Submission, ...]) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(log.run())
            for index, submission in enumerate(submissions):
                added = await log.add(submission)
                if added.index != index:
                    raise InvariantBroken(f"new log {log.name} has entry {index} at {added.index}")
            await log.drain()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
