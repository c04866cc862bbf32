# SPDX-License-Identifier: Apache-2.0
"""The keeper's parts: drivers into logs, logs and keys into services, services into handlers."""

import os
from dataclasses import dataclass
from typing import Any

from countermark.app.data_dir import DataDir
from countermark.app.instance import CA_KEY, LOGIN_KEY, TSA_KEY, TUF_KEY, InstanceConfig
from countermark.app.keyring import KeyRing
from countermark.app.logs import open_log, personality_of
from countermark.app.messages import (
    GetPublicKeys,
    GetStatus,
    InstanceStatus,
    LogStatus,
    PublicKeys,
)
from countermark.ca.authority import IssuingAuthority
from countermark.ca.keeper import CertificateKeeper
from countermark.core.errors import InvariantBroken
from countermark.ctlog.keeper import CTLog, CTLogKeeper
from countermark.ctlog.personality import CTPersonality
from countermark.drivers.embedded.files import FileObjectStore
from countermark.oidc.keeper import LoginKeeper, OtherKey
from countermark.ports.clock import Clock, Entropy
from countermark.ports.log_store import LogStore
from countermark.rpc.message import Handler, Handlers, Request
from countermark.tilelog.log import Log
from countermark.tlog.keeper import LogKeeper
from countermark.tlog.shards import shard_handlers
from countermark.trust.keeper import TrustKeeper
from countermark.tsa.keeper import TimestampKeeper


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the keeper process runs.

    Attributes:
        handlers: what it answers.
        logs: each to be run.
        trust: to be run.
        login: the embedded issuer, where there is one.
    """

    handlers: Handlers
    logs: tuple[Log, ...]
    trust: TrustKeeper
    login: LoginKeeper | None = None

    def tell_login_keys(self, config: InstanceConfig) -> None:
        """Have the embedded issuer show every key that its tokens are checked with."""
        if self.login is not None:
            self.login.publish(
                [
                    OtherKey(key.spki, None if key.end is None else int(key.end.timestamp() * 1000))
                    for key in config.keys_of("login")
                ]
            )

    def open_v1_log(self, config: InstanceConfig) -> Log:
        """The v1 log that takes entries."""
        name = config.open_log("rekor-v1").name
        return next(log for log in self.logs if log.name == name)


def wire(
    data_dir: DataDir,
    config: InstanceConfig,
    keys: KeyRing,
    store: LogStore,
    clock: Clock,
    entropy: Entropy,
    *,
    development: bool,
    started_ms: int | None = None,
) -> Parts:
    """Open the logs and put the keeper together. Blocks while logs are read back.

    Args:
        data_dir: of the instance.
        config: its instance.json.
        keys: its online keys.
        store: its database.
        clock: for everything.
        entropy: for everything.
        development: whether the embedded login is there.
        started_ms: when the keeper began, before it read `config`; by default now.

    Raises InvariantBroken for damaged logs, SettingsError for keys that do not fit.
    """
    logs: dict[str, Log] = {}
    handlers: dict[type[Request[Any]], Handler] = {}
    ct_logs: dict[str, CTLog] = {}
    roots = _accepted_roots(config, keys)
    shards: dict[int, Handlers] = {}
    for entry in config.logs:
        personality = personality_of(config, entry, keys.signer(entry.key))
        objects = FileObjectStore(data_dir.log_folder(entry.name))
        log = logs[entry.name] = open_log(entry, personality, store, objects, clock)
        if isinstance(personality, CTPersonality):
            ct_logs[entry.url_name] = CTLog(log, personality, objects, roots, clock)
        else:
            shards[entry.tree_id] = LogKeeper(log).handlers()
    _add(handlers, shard_handlers(shards, config.open_log("rekor-v1").tree_id))
    ct_log = config.open_log("ct")
    ca = CertificateKeeper(
        IssuingAuthority.load(keys.ca_chain, keys.signer(CA_KEY)),
        ct_logs[ct_log.url_name],
        keys.signer(ct_log.key).public_key,
        clock,
        entropy,
    )
    tsa = TimestampKeeper(keys.tsa_chain, keys.signer(TSA_KEY), clock, entropy)
    for part in (CTLogKeeper(ct_logs), ca, tsa):
        _add(handlers, part.handlers())
    login = None
    if development and config.embedded_issuer:
        login = LoginKeeper(
            config.issuer_url,
            keys.signer(LOGIN_KEY),
            clock,
            entropy,
            local_secret=data_dir.read_local_secret(),
        )
        _add(handlers, login.handlers())
    _add(
        handlers,
        {
            GetStatus: _status(config, logs, started_ms or clock.now_ms()),
            GetPublicKeys: _public_keys(config, keys),
        },
    )
    trust = TrustKeeper(FileObjectStore(data_dir.tuf), keys.signer(TUF_KEY), clock)
    parts = Parts(handlers, tuple(logs.values()), trust, login)
    parts.tell_login_keys(config)
    return parts


def _accepted_roots(config: InstanceConfig, keys: KeyRing) -> tuple[bytes, ...]:
    """The CA's roots, all it ever had or will have next: what CT logs take certificates of."""
    known = [key.chain[-1] for key in config.keys_of("ca")]
    return tuple(dict.fromkeys((*known, *keys.ca_chain[-1:])))


def _add(handlers: dict[type[Request[Any]], Handler], more: Handlers) -> None:
    for request, handler in more.items():
        if request in handlers:
            raise InvariantBroken(f"two parts of the keeper answer {request.__name__}")
        handlers[request] = handler


def _status(config: InstanceConfig, logs: dict[str, Log], started_ms: int) -> Handler:
    origins = {entry.name: entry.origin for entry in config.logs}

    async def status(_: GetStatus) -> InstanceStatus:
        found = [
            LogStatus(
                name,
                origins[name],
                log.head.tree_size,
                log.head.root_hash,
                log.head.time_ms,
                log.published_size,
                log.frozen,
            )
            for name, log in logs.items()
        ]
        return InstanceStatus(os.getpid(), started_ms, tuple(found))

    return status


def _public_keys(config: InstanceConfig, keys: KeyRing) -> Handler:
    found = PublicKeys({log.name: keys.signer(log.key).public_key.spki for log in config.logs})

    async def public_keys(_: GetPublicKeys) -> PublicKeys:
        return found

    return public_keys
