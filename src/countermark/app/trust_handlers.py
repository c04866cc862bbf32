# SPDX-License-Identifier: Apache-2.0
"""How a running instance publishes a changed trust root: asked over the keeper's socket."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig, load_instance
from countermark.app.keeper_wiring import Parts
from countermark.app.keyring import KeyRing
from countermark.app.messages import Published, PublishSigned, PublishTrust
from countermark.core.errors import Conflict
from countermark.rpc.message import Handlers

if TYPE_CHECKING:
    from countermark.trust.repository import TufRepository


def trust_handlers(data_dir: DataDir, keys: KeyRing, parts: Parts) -> Handlers:
    """What the keeper answers about the trust root.

    Args:
        data_dir: of the instance.
        keys: its online keys.
        parts: what the keeper runs.
    """
    trust = parts.trust

    async def publish(_: PublishTrust) -> Published:
        config = await asyncio.to_thread(load_instance, data_dir.instance_file)
        _check_same_logs(config, keys)
        parts.tell_login_keys(config)
        return await trust.change(_publishing(data_dir, config, keys, parts))

    async def publish_signed(message: PublishSigned) -> Published:
        def work(repository: "TufRepository") -> Published:
            now = trust.now()
            repository.publish_signed(message.root, message.targets, message.files, now)
            return _published(repository)

        return await trust.change(work)

    return {PublishTrust: publish, PublishSigned: publish_signed}


def _publishing(
    data_dir: DataDir, config: InstanceConfig, keys: KeyRing, parts: Parts
) -> "Callable[[TufRepository], Published]":
    def work(repository: "TufRepository") -> Published:
        from countermark.app.trust_files import write_trust_files

        targets = write_trust_files(data_dir, config, keys)
        if not repository.holds(targets):
            repository.publish(targets, parts.trust.now())
        return _published(repository)

    return work


def _published(repository: "TufRepository") -> Published:
    return Published(repository.root.version, repository.timestamp_version)


def _check_same_logs(config: InstanceConfig, keys: KeyRing) -> None:
    if any(log.key not in keys.signers for log in config.logs):
        raise Conflict("the instance has other logs than this keeper knows: restart it")
