# SPDX-License-Identifier: Apache-2.0
"""The trust root of an instance, from its configuration and its keys' public halves alone."""

from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig, LogConfig
from countermark.app.keyring import KeyRing
from countermark.drivers.durable import PUBLIC, replace_file
from countermark.trust.authorities import CA_ROOT_NAME, TSA_ROOT_NAME, Authority, Subject
from countermark.trust.targets import Trust, TrustedLog, trust_targets


def write_trust_files(data_dir: DataDir, config: InstanceConfig, keys: KeyRing) -> dict[str, bytes]:
    """Write trusted_root.json and its like, durably. Returns them by name. Raises OSError."""
    targets = trust_targets(trust_of(config, keys))
    for name, data in targets.items():
        replace_file(data_dir.trust / name, data, PUBLIC)
    return targets


def trust_of(config: InstanceConfig, keys: KeyRing) -> Trust:
    """What clients are to trust: every log from its opening to its end, whoever else for ever."""

    def trusted(log: LogConfig) -> TrustedLog:
        return TrustedLog(
            log.base_url,
            keys.signer(log.key).public_key,
            log.opened or config.created,
            log.frozen.at if log.frozen else None,
        )

    return Trust(
        base_url=config.base_url,
        issuer_url=config.issuer_url if config.embedded_issuer else "",
        tsa_url=config.tsa_url,
        operator=config.hostname,
        start=config.created,
        tlogs=tuple(map(trusted, config.logs_of("rekor-v1"))),
        ctlogs=tuple(map(trusted, config.logs_of("ct"))),
        ca=Authority(Subject(config.hostname, CA_ROOT_NAME), keys.ca_chain),
        tsa=Authority(Subject(config.hostname, TSA_ROOT_NAME), keys.tsa_chain),
    )
