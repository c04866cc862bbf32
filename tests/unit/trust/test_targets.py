# SPDX-License-Identifier: Apache-2.0
"""The trust root's files: what our own readers make of them, and what trips up other clients."""

import hashlib
import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from countermark.core.bundle.signing_config import SigningConfig, parse_trust_config, select_one
from countermark.core.bundle.trusted_root import TrustedRoot, Validity
from countermark.drivers.keys.file import P256, FileSigner, create_key
from countermark.drivers.system import SystemEntropy
from countermark.trust.authorities import issue_ca_chain, issue_tsa_chain
from countermark.trust.targets import (
    NAMES,
    SIGNING_CONFIG,
    TRUST_CONFIG,
    TRUSTED_ROOT,
    Trust,
    TrustedAuthority,
    TrustedLog,
    trust_targets,
)

START = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, FileSigner]:
    names = ("ca-root", "ca", "tsa-root", "tsa", "log", "ct")
    return {name: create_key(tmp_path / name, P256, b"secret") for name in names}


@pytest.fixture
def trust(keys: dict[str, FileSigner]) -> Trust:
    ca, tsa = keys["ca"].public_key, keys["tsa"].public_key
    return Trust(
        base_url="http://localhost:7446",
        issuer_url="http://localhost:7446/oidc",
        tsa_url="http://localhost:7446/api/v1/timestamp",
        operator="localhost",
        start=START,
        tlogs=(TrustedLog("http://localhost:7446", keys["log"].public_key, START),),
        ctlogs=(TrustedLog("http://localhost:7446/ctlog/main", keys["ct"].public_key, START),),
        cas=(
            TrustedAuthority(
                issue_ca_chain("localhost", keys["ca-root"], ca, START, SystemEntropy()), START
            ),
        ),
        tsas=(
            TrustedAuthority(
                issue_tsa_chain("localhost", keys["tsa-root"], tsa, START, SystemEntropy()), START
            ),
        ),
        distrust=b"{}\n",
    )


def test_trusted_root_as_others_read_it(trust: Trust, keys: dict[str, FileSigner]) -> None:
    tree = json.loads(trust_targets(trust)[TRUSTED_ROOT])

    assert tree["mediaType"] == "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
    spki = keys["log"].public_key.spki
    assert tree["tlogs"] == [
        {
            "baseUrl": "http://localhost:7446",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": b64encode(spki).decode(),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": "2026-11-22T01:02:03Z"},
            },
            "logId": {"keyId": b64encode(hashlib.sha256(spki).digest()).decode()},
        }
    ]
    (ct_log,) = tree["ctlogs"]
    assert ct_log["baseUrl"] == "http://localhost:7446/ctlog/main"
    (ca,) = tree["certificateAuthorities"]
    assert ca["uri"] == "http://localhost:7446"
    assert ca["subject"] == {"organization": "localhost", "commonName": "countermark-root"}
    (tsa,) = tree["timestampAuthorities"]
    assert tsa["uri"] == "http://localhost:7446/api/v1/timestamp"
    certificates = [item["rawBytes"] for item in tsa["certChain"]["certificates"]]
    assert certificates == [b64encode(data).decode() for data in trust.tsas[0].authority.chain]


def test_our_own_readers_agree(trust: Trust) -> None:
    targets = trust_targets(trust)
    assert tuple(targets) == NAMES

    root = TrustedRoot.parse(targets[TRUSTED_ROOT])
    assert root.serialize() == targets[TRUSTED_ROOT]
    assert root.tlogs[0].public_key == trust.tlogs[0].public_key
    config = SigningConfig.parse(targets[SIGNING_CONFIG])
    both_root, both_config = parse_trust_config(targets[TRUST_CONFIG])
    assert both_root == root
    assert both_config == config


def test_services_are_usable_from_the_first_second(trust: Trust) -> None:
    config = SigningConfig.parse(trust_targets(trust)[SIGNING_CONFIG])
    urls = [
        select_one(services, "service", supported=[1], now=START).url
        for services in (
            *(config.ca_urls, config.oidc_urls, config.rekor_tlog_urls, config.tsa_urls),
        )
    ]
    assert urls == [
        "http://localhost:7446",
        "http://localhost:7446/oidc",
        "http://localhost:7446",
        "http://localhost:7446/api/v1/timestamp",
    ]


def test_no_issuer_is_named_where_there_is_none(trust: Trust) -> None:
    config = SigningConfig.parse(trust_targets(replace(trust, issuer_url=""))[SIGNING_CONFIG])
    assert config.oidc_urls == ()
    assert len(config.ca_urls) == 1


def test_ended_logs_are_listed_before_the_open_ones(
    trust: Trust, keys: dict[str, FileSigner]
) -> None:
    end = START + timedelta(days=100)
    old = [replace(log, end=end) for log in (trust.tlogs[0], trust.ctlogs[0])]
    new = [
        TrustedLog("http://localhost:7446", keys["ca"].public_key, end),
        TrustedLog("http://localhost:7446/ctlog/main-2", keys["tsa"].public_key, end),
    ]
    sharded = replace(trust, tlogs=(old[0], new[0]), ctlogs=(old[1], new[1]))
    targets = trust_targets(sharded)

    root = TrustedRoot.parse(targets[TRUSTED_ROOT])
    for listed in (root.tlogs, root.ctlogs):
        assert [log.validity for log in listed] == [Validity(START, end), Validity(end)]
    assert [log.base_url for log in root.tlogs] == ["http://localhost:7446"] * 2
    assert root.ctlogs[1].public_key == keys["tsa"].public_key
    assert (
        root.certificate_authorities
        == TrustedRoot.parse(trust_targets(trust)[TRUSTED_ROOT]).certificate_authorities
    )
    # All shards are at one URL: clients have one log to choose, as before.
    assert targets[SIGNING_CONFIG] == trust_targets(trust)[SIGNING_CONFIG]
