# SPDX-License-Identifier: Apache-2.0
"""The trust root of an instance, from its configuration and its keys' public halves alone."""

from countermark.app.data_dir import DataDir
from countermark.app.instance import InstanceConfig, LogConfig, LogKind, Service
from countermark.app.keyring import KeyRing
from countermark.core.crypto.keys import PublicKey
from countermark.core.distrust.document import MAX_LIST_BYTES, DistrustList
from countermark.core.errors import FormatError, InvariantBroken
from countermark.drivers.durable import PUBLIC, replace_file
from countermark.trust.authorities import CA_ROOT_NAME, TSA_ROOT_NAME, Authority, Subject
from countermark.trust.targets import (
    DISTRUST,
    DISTRUST_BUNDLE,
    Trust,
    TrustedAuthority,
    TrustedLog,
    trust_targets,
)


def write_trust_files(data_dir: DataDir, config: InstanceConfig, keys: KeyRing) -> dict[str, bytes]:
    """Write trusted_root.json and its like, durably. Returns them by name.

    The distrust list stays as it is. Raises OSError, InvariantBroken if that is damaged.
    """
    targets = trust_targets(trust_of(config, keys, read_distrust(data_dir, config).serialize()))
    for name, data in targets.items():
        if name != DISTRUST or not (data_dir.trust / name).exists():
            replace_file(data_dir.trust / name, data, PUBLIC)
    bundle = data_dir.trust / DISTRUST_BUNDLE
    if bundle.exists():
        targets[DISTRUST_BUNDLE] = bundle.read_bytes()
    return targets


def write_distrust(data_dir: DataDir, distrust: DistrustList) -> None:
    """Replace the distrust list; what proved that the old one was logged goes. Raises OSError."""
    (data_dir.trust / DISTRUST_BUNDLE).unlink(missing_ok=True)
    replace_file(data_dir.trust / DISTRUST, distrust.serialize(), PUBLIC)


def write_distrust_bundle(data_dir: DataDir, bundle: bytes) -> None:
    """What proves that the distrust list is in the log. Raises OSError."""
    replace_file(data_dir.trust / DISTRUST_BUNDLE, bundle, PUBLIC)


def distrust_is_logged(data_dir: DataDir) -> bool:
    """Whether there is a proof that the list is in the log."""
    return (data_dir.trust / DISTRUST_BUNDLE).exists()


def read_distrust(data_dir: DataDir, config: InstanceConfig) -> DistrustList:
    """The distrust list, an empty one if there is none. Raises InvariantBroken, OSError."""
    try:
        data = (data_dir.trust / DISTRUST).read_bytes()[: MAX_LIST_BYTES + 1]
    except FileNotFoundError:
        return DistrustList.empty(config.base_url, config.created)
    try:
        return DistrustList.parse(data)
    except FormatError as error:
        raise InvariantBroken(f"trust/{DISTRUST} is damaged: {error}") from error


def trust_of(config: InstanceConfig, keys: KeyRing, distrust: bytes) -> Trust:
    """What clients are to trust: everything from its opening to its end, also what comes next."""
    return Trust(
        base_url=config.base_url,
        issuer_url=config.issuer_url if config.embedded_issuer else "",
        tsa_url=config.tsa_url,
        operator=config.hostname,
        start=config.created,
        tlogs=_logs(config, keys, "rekor-v1"),
        ctlogs=_logs(config, keys, "ct"),
        cas=_authorities(config, "ca", CA_ROOT_NAME, keys.ca_chain),
        tsas=_authorities(config, "tsa", TSA_ROOT_NAME, keys.tsa_chain),
        distrust=distrust,
    )


def _logs(config: InstanceConfig, keys: KeyRing, kind: LogKind) -> tuple[TrustedLog, ...]:
    def trusted(log: LogConfig, key: PublicKey) -> TrustedLog:
        end = log.frozen.at if log.frozen else None
        return TrustedLog(log.base_url, key, log.opened or config.created, end)

    known = [trusted(log, keys.signer(log.key).public_key) for log in config.logs_of(kind)]
    coming = [
        trusted(item.log, PublicKey.from_spki(item.spki, f"key of log {item.log.name}"))
        for item in config.next_logs
        if item.log.kind == kind
    ]
    return (*known, *coming)


def _authorities(
    config: InstanceConfig, service: Service, root_name: str, chain: tuple[bytes, ...]
) -> tuple[TrustedAuthority, ...]:
    subject = Subject(config.hostname, root_name)
    known = config.keys_of(service)
    if not known:
        return (TrustedAuthority(Authority(subject, chain), config.created),)
    return tuple(
        TrustedAuthority(Authority(subject, key.chain), key.start, key.end) for key in known
    )
