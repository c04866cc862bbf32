# SPDX-License-Identifier: Apache-2.0
"""What clients trust and use: trusted root, signing config and both in one file.

What clients disagree about is settled for the strictest of them.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from countermark.core.bundle.signing_config import Service, SigningConfig, trust_config_to_json
from countermark.core.bundle.trusted_root import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
    Validity,
)
from countermark.core.crypto.keys import PublicKey
from countermark.trust.authorities import Authority

TRUSTED_ROOT: Final = "trusted_root.json"
SIGNING_CONFIG: Final = "signing_config.v0.2.json"
TRUST_CONFIG: Final = "trust_config.json"
DISTRUST: Final = "distrust.json"
DISTRUST_BUNDLE: Final = "distrust.json.sigstore.json"
NAMES: Final = (TRUSTED_ROOT, SIGNING_CONFIG, TRUST_CONFIG, DISTRUST)


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """A v1 log or a CT log, whose id is SHA-256 of its SPKI.

    Attributes:
        base_url: where it is reached; sigstore-js looks for the checkpoint's name in it.
        public_key: what it signs with.
        start: validity begins, whole seconds.
        end: the last moment that it may have signed anything at; None for an open log.
    """

    base_url: str
    public_key: PublicKey
    start: datetime
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrustedAuthority:
    """A chain of the CA or the TSA, and when its key may have signed.

    Attributes:
        authority: names and certificates.
        start: validity begins, whole seconds.
        end: the last moment that it may have signed anything at; None for one in use.
    """

    authority: Authority
    start: datetime
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Everything a client needs to know of one instance, in use since `start`.

    Attributes:
        base_url: the CA's URL, without final slash.
        issuer_url: the embedded issuer's `iss`, or empty for none.
        tsa_url: the timestamp endpoint itself.
        operator: who runs the services, for us the instance's host name.
        start: the services in the signing config are used from then on, whole seconds.
        tlogs: the v1 log's shards, oldest first; all are at one URL.
        ctlogs: the CT logs, oldest first.
        cas: chains, each with the issuing CA first; oldest first.
        tsas: chains, each with the TSA's certificate first; oldest first.
        distrust: the distrust list, as it is.
    """

    base_url: str
    issuer_url: str
    tsa_url: str
    operator: str
    start: datetime
    tlogs: tuple[TrustedLog, ...]
    ctlogs: tuple[TrustedLog, ...]
    cas: tuple[TrustedAuthority, ...]
    tsas: tuple[TrustedAuthority, ...]
    distrust: bytes


def trust_targets(trust: Trust) -> dict[str, bytes]:
    """The files by name, as they are served and as TUF targets."""
    root, config = _trusted_root(trust), _signing_config(trust)
    both = trust_config_to_json(root, config)
    return {
        TRUSTED_ROOT: root.serialize(),
        SIGNING_CONFIG: config.serialize(),
        TRUST_CONFIG: json.dumps(both, indent=2).encode("ascii") + b"\n",
        DISTRUST: trust.distrust,
    }


def _signing_config(trust: Trust) -> SigningConfig:
    """One service of each kind: clients choose differently among several."""

    def service(url: str) -> tuple[Service, ...]:
        return (Service(url, 1, trust.start, None, trust.operator),)

    return SigningConfig(
        ca_urls=service(trust.base_url),
        oidc_urls=service(trust.issuer_url) if trust.issuer_url else (),
        rekor_tlog_urls=service(trust.tlogs[-1].base_url),
        tsa_urls=service(trust.tsa_url),
    )


def _trusted_root(trust: Trust) -> TrustedRoot:
    return TrustedRoot(
        tlogs=tuple(map(_log, trust.tlogs)),
        certificate_authorities=tuple(_authority(ca, trust.base_url) for ca in trust.cas),
        ctlogs=tuple(map(_log, trust.ctlogs)),
        timestamp_authorities=tuple(_authority(tsa, trust.tsa_url) for tsa in trust.tsas),
    )


def _log(log: TrustedLog) -> TransparencyLog:
    # No checkpoint_key_id: sigstore-js would use it instead of log_id, and SETs would not verify.
    # No operator, here or below: peers that refuse unknown fields may not know it yet.
    return TransparencyLog(
        base_url=log.base_url,
        hash_algorithm="SHA2_256",
        key_bytes=log.public_key.spki,
        key_details=log.public_key.details,
        validity=Validity(log.start, log.end),
        log_id=log.public_key.key_id,
    )


def _authority(trusted: TrustedAuthority, url: str) -> CertificateAuthority:
    authority = trusted.authority
    return CertificateAuthority(
        organization=authority.subject.organization,
        common_name=authority.subject.common_name,
        uri=url,
        chain=authority.chain,
        validity=Validity(trusted.start, trusted.end),
    )
