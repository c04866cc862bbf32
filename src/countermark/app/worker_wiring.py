# SPDX-License-Identifier: Apache-2.0
"""A worker's parts: every service's routes, none of their keys.

Imports neither database nor private keys: `tests/unit/app/test_worker.py` looks.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.routing import BaseRoute

from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig, LogConfig
from countermark.app.launch import Issuer
from countermark.ca import api as ca_api
from countermark.ca.api import AcceptedIssuer
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError, SettingsError
from countermark.core.rekor.shard import Shard, Shards
from countermark.ctlog import api as ctlog_api
from countermark.drivers.embedded.files import FileObjectStore
from countermark.oidc import api as oidc_api
from countermark.oidc.keys import EMBEDDED_RETRY_MS, discovered_keys, embedded_keys, pinned_keys
from countermark.oidc.verifier import IssuerVerifier, TrustedIssuer
from countermark.ports.clock import Clock
from countermark.rpc.message import Keeper
from countermark.tlog import api as tlog_api
from countermark.trust import api as trust_api
from countermark.tsa import api as tsa_api


def wire(
    data_dir: DataDir,
    config: InstanceConfig,
    keeper: Keeper,
    public_keys: dict[str, PublicKey],
    issuers: Sequence[Issuer],
    clock: Clock,
    *,
    development: bool,
    refused: Callable[[str], None],
) -> list[BaseRoute]:
    """Every service's routes.

    Args:
        data_dir: of the instance; only published files are read.
        config: its instance.json.
        keeper: where the work is done.
        public_keys: of the logs, by log name.
        issuers: external identity providers.
        clock: for tokens' times.
        development: whether the embedded login is served.
        refused: told why the CA did not take a token.

    Raises SettingsError for issuers that cannot be used.
    """
    trusted = [_trusted(issuer) for issuer in issuers]
    if development and config.embedded_issuer:
        keys = embedded_keys(keeper)
        own = TrustedIssuer(config.issuer_url, "email", keys, retry_ms=EMBEDDED_RETRY_MS)
        trusted.append(own)
    accepted = [AcceptedIssuer(issuer.url, issuer.type, issuer.audience) for issuer in trusted]

    routes = [
        *ca_api.routes(keeper, IssuerVerifier(trusted, clock), accepted, refused),
        *tsa_api.routes(keeper),
        *trust_api.routes(_published(data_dir.tuf), _published(data_dir.trust)),
    ]
    objects = {log.name: _published(data_dir.log_folder(log.name)) for log in config.logs}
    shards = config.logs_of("rekor-v1")
    described = [_shard(config, log, public_keys[log.name]) for log in shards]
    routes += tlog_api.routes(
        keeper,
        Shards(tuple(described[:-1]), described[-1]),
        {log.tree_id: objects[log.name] for log in shards},
    )
    ct_objects = {log.url_name: objects[log.name] for log in config.logs_of("ct")}
    routes += ctlog_api.routes(keeper, ct_objects)
    if development and config.embedded_issuer:
        routes += oidc_api.routes(keeper, config.issuer_url)
    return routes


def _published(folder: Path) -> FileObjectStore:
    return FileObjectStore(folder, read_only=True)


def _shard(config: InstanceConfig, log: LogConfig, public_key: PublicKey) -> Shard:
    return Shard(log.tree_id, log.note_name, public_key, config.first_index(log))


def _trusted(issuer: Issuer) -> TrustedIssuer:
    if not issuer.jwks_file:
        from countermark.oidc.fetch import IssuerFetcher  # an HTTP client, seldom needed

        load = discovered_keys(issuer.url, IssuerFetcher())
    else:
        try:
            load = pinned_keys(Path(issuer.jwks_file).read_bytes())
        except OSError as error:
            raise SettingsError(f"{issuer.jwks_file} cannot be read: {error.strerror}") from error
        except FormatError as error:
            raise SettingsError(f"{issuer.jwks_file}: {error}") from error
    return TrustedIssuer(issuer.url, issuer.type, load, issuer.audience)
