# SPDX-License-Identifier: Apache-2.0
"""The instance's own statements: files that it signs and puts into its own log."""

import asyncio
import hashlib
import threading
from typing import Final

from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig
from countermark.app.keeper_wiring import Parts
from countermark.app.key_store import create_online_key, load_online_key
from countermark.app.keyring import KeyRing, read_passphrase
from countermark.app.logs import open_log, personality_of, shard_of
from countermark.app.messages import Logged, LogStatement
from countermark.core.bundle.bundle import (
    Bundle,
    InclusionProof,
    MessageSignature,
    TransparencyLogEntry,
)
from countermark.core.encoding import to_base64
from countermark.core.errors import RequestRejected
from countermark.core.rekor import hashedrekord
from countermark.core.rekor.shard import Shard
from countermark.core.rekor.stored import stored_search_keys
from countermark.drivers.durable import sync_folder
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.keys.file import P256
from countermark.ports.clock import Clock
from countermark.ports.signer import Signer
from countermark.rpc.message import Handlers
from countermark.tilelog.log import Log
from countermark.tlog.personality import submission

STATEMENT_KEY: Final = "statements"
"""Name of the online key that signs the instance's own statements."""
_making = threading.Lock()


def statement_handlers(
    data_dir: DataDir,
    config: InstanceConfig,
    keys: KeyRing,
    parts: Parts,
    passphrase: bytes | None,
) -> Handlers:
    """What the keeper answers."""
    entry = config.open_log("rekor-v1")
    shard = shard_of(config, entry, keys.signer(entry.key).public_key)

    async def log_statement(message: LogStatement) -> Logged:
        signer = await asyncio.to_thread(statement_signer, data_dir, message.key, passphrase)
        return await log_file(message.data, signer, parts.open_v1_log(config), shard)

    return {LogStatement: log_statement}


def statement_signer(data_dir: DataDir, name: str, passphrase: bytes | None) -> Signer:
    """The key for statements, made when it is first needed. Blocks.

    Raises RequestRejected for another name, SettingsError, FormatError, OSError.
    """
    if name != STATEMENT_KEY:
        raise RequestRejected(f"key {name[:40]!r} signs no statements")
    secret = passphrase or read_passphrase(data_dir.keys_passphrase_file)
    file = data_dir.key_file(name)
    with _making:
        if not file.exists():
            # Half a key that a kill or a full disk left under its name would stay for ever.
            fresh = file.with_name(f"{name}.new")
            fresh.unlink(missing_ok=True)
            create_online_key(fresh, P256, secret)
            fresh.replace(file)
            sync_folder(file.parent)
        return load_online_key(file, secret)


async def log_file(data: bytes, signer: Signer, log: Log, shard: Shard) -> Logged:
    """Sign a file, log that as a hashedrekord entry, and wait until it is durable.

    Raises as `Log.add` does.
    """
    digest = hashlib.sha256(data)
    signature = signer.sign(data)
    body = hashedrekord.canonical_body(
        "sha256", digest.hexdigest(), signature, signer.public_key.to_pem()
    )
    added = await log.add(submission(body, stored_search_keys(body)))
    proof = InclusionProof(
        added.index,
        added.head.root_hash,
        added.head.tree_size,
        tuple(added.proof),
        added.head.signed.decode("utf-8"),
    )
    logged = TransparencyLogEntry(
        shard.first_index + added.index,
        shard.log_id,
        "hashedrekord",
        "0.0.1",
        added.time_ms // 1000,
        added.promise,
        proof,
        body,
    )
    hint = to_base64(signer.public_key.key_id)
    content = MessageSignature(signature, "SHA2_256", digest.digest())
    bundle = Bundle("0.3", (), hint, (logged,), (), content)
    return Logged(logged.log_index, bundle.serialize())


def log_while_stopped(
    data_dir: DataDir,
    config: InstanceConfig,
    keys: KeyRing,
    data: bytes,
    signer: Signer,
    clock: Clock,
) -> Logged:
    """`log_file` on an instance that does not run, and whose lock the caller holds. Blocks."""
    entry = config.open_log("rekor-v1")
    log_signer = keys.signer(entry.key)
    store = RocksLogStore(data_dir.db)

    async def work() -> Logged:
        objects = FileObjectStore(data_dir.log_folder(entry.name))
        personality = personality_of(config, entry, log_signer)
        log = open_log(entry, personality, store, objects, clock)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(log.run())
            shard = shard_of(config, entry, log_signer.public_key)
            logged = await log_file(data, signer, log, shard)
            await log.drain()
        return logged

    try:
        return asyncio.run(work())
    finally:
        store.close()
