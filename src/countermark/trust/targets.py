# SPDX-License-Identifier: Apache-2.0
"""What clients trust and use: trusted root, signing config and both in one file.

Formats: Sigstore protobuf-specs `TrustedRoot`, `SigningConfig` v0.2 and `ClientTrustConfig` as
proto3 JSON. What clients disagree about is settled for the strictest of them.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from countermark.core.bundle.signing_config import (
    TRUST_CONFIG_MEDIA_TYPE,
    Service,
    SigningConfig,
)
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_base64, to_rfc3339
from countermark.trust.authorities import Authority

TRUSTED_ROOT: Final = "trusted_root.json"
SIGNING_CONFIG: Final = "signing_config.v0.2.json"
TRUST_CONFIG: Final = "trust_config.json"
NAMES: Final = (TRUSTED_ROOT, SIGNING_CONFIG, TRUST_CONFIG)

# The specification says v0.2, but sigstore-python, -go and -java read this spelling alone.
TRUSTED_ROOT_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """A v1 log or a CT log, whose id is SHA-256 of its SPKI.

    Attributes:
        base_url: where it is reached; peers look for the checkpoint's name in it.
        public_key: what it signs with.
    """

    base_url: str
    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class Trust:
    """Everything a client needs to know of one instance, in use since `start`.

    Attributes:
        base_url: the CA's URL, without final slash.
        issuer_url: the embedded issuer's `iss`, or empty for none.
        tsa_url: the timestamp endpoint itself.
        operator: who runs the services, for us the instance's host name.
        start: validity begins, whole seconds.
        tlog: the v1 log.
        ctlog: the CT log.
        ca: chain, the issuing CA first.
        tsa: chain, the TSA's certificate first.
    """

    base_url: str
    issuer_url: str
    tsa_url: str
    operator: str
    start: datetime
    tlog: TrustedLog
    ctlog: TrustedLog
    ca: Authority
    tsa: Authority


def trust_targets(trust: Trust) -> dict[str, bytes]:
    """The files by name, as they are served and as TUF targets."""
    root = _trusted_root(trust)
    config = _signing_config(trust).to_json()
    both = {
        "mediaType": TRUST_CONFIG_MEDIA_TYPE,
        "trustedRoot": root,
        "signingConfig": config,
    }
    return {
        TRUSTED_ROOT: _encode(root),
        SIGNING_CONFIG: _encode(config),
        TRUST_CONFIG: _encode(both),
    }


def _signing_config(trust: Trust) -> SigningConfig:
    """One service of each kind: that is all that every client reads alike."""

    def service(url: str) -> tuple[Service, ...]:
        return (Service(url, 1, trust.start, None, trust.operator),)

    return SigningConfig(
        ca_urls=service(trust.base_url),
        oidc_urls=service(trust.issuer_url) if trust.issuer_url else (),
        rekor_tlog_urls=service(trust.tlog.base_url),
        tsa_urls=service(trust.tsa_url),
    )


def _trusted_root(trust: Trust) -> dict[str, Any]:
    return {
        "mediaType": TRUSTED_ROOT_MEDIA_TYPE,
        "tlogs": [_log(trust.tlog, trust)],
        "certificateAuthorities": [_authority(trust.ca, trust.base_url, trust)],
        "ctlogs": [_log(trust.ctlog, trust)],
        "timestampAuthorities": [_authority(trust.tsa, trust.tsa_url, trust)],
    }


def _log(log: TrustedLog, trust: Trust) -> dict[str, Any]:
    # No checkpointKeyId: sigstore-js would use it instead of logId, and SETs would not verify.
    # No operator, here or below: peers that refuse unknown fields may not know it yet.
    return {
        "baseUrl": log.base_url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": to_base64(log.public_key.spki),
            "keyDetails": log.public_key.details,
            "validFor": _valid_for(trust),
        },
        "logId": {"keyId": to_base64(log.public_key.key_id)},
    }


def _authority(authority: Authority, url: str, trust: Trust) -> dict[str, Any]:
    return {
        "subject": {
            "organization": authority.subject.organization,
            "commonName": authority.subject.common_name,
        },
        "uri": url,
        "certChain": {"certificates": [{"rawBytes": to_base64(item)} for item in authority.chain]},
        "validFor": _valid_for(trust),
    }


def _valid_for(trust: Trust) -> dict[str, str]:
    return {"start": to_rfc3339(trust.start)}


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode("ascii") + b"\n"
