# SPDX-License-Identifier: Apache-2.0
"""Choosing services by the rules of Sigstore's SigningConfig v0.2."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from countermark.core.bundle.signing_config import (
    MEDIA_TYPE,
    TRUST_CONFIG_MEDIA_TYPE,
    Service,
    ServiceSelection,
    SigningConfig,
    parse_trust_config,
    select_candidates,
    select_one,
    trust_config_to_json,
)
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import FormatError, SettingsError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SHIPPED = Path(__file__).parents[4] / "src/countermark/trust_data"


def service(url: str, version: int = 1, *, days: int = -1, operator: str = "a") -> Service:
    return Service(f"https://{url}", version, NOW + days * DAY, None, operator)


def test_the_newest_of_an_operators_services_wins_whatever_the_order() -> None:
    for offered in (["old", "new"], ["new", "old"]):
        listed = [service(name, days=-1 if name == "new" else -9) for name in offered]
        assert select_one(listed, "CA", supported=(1,), now=NOW).url == "https://new"


def test_a_service_that_starts_in_the_future_is_not_used() -> None:
    listed = [service("soon", days=1), service("now")]
    assert select_one(listed, "CA", supported=(1,), now=NOW).url == "https://now"


def test_the_range_of_use_includes_both_its_ends() -> None:
    closed = Service("https://a", 1, NOW, NOW)
    assert closed.usable_at(NOW)
    assert not closed.usable_at(NOW + timedelta(microseconds=1))
    assert not closed.usable_at(NOW - timedelta(microseconds=1))


def test_a_higher_version_wins_over_a_newer_start() -> None:
    listed = [service("v1", 1, days=-1), service("v2", 2, days=-9)]
    assert select_one(listed, "log", supported=(1, 2), now=NOW).url == "https://v2"
    assert select_one(listed, "log", supported=(1,), now=NOW).url == "https://v1"


def test_all_takes_one_per_operator_of_the_highest_version() -> None:
    listed = [
        service("a1", 1, operator="a"),
        service("a2", 2, operator="a"),
        service("b2", 2, operator="b", days=-2),
        service("c1", 1, operator="c"),
    ]
    chosen = select_candidates(listed, ServiceSelection("ALL"), "log", supported=(1, 2), now=NOW)
    assert [item.url for item in chosen.services] == ["https://a2", "https://b2"]
    assert chosen.needed == 2


def test_where_fewer_are_needed_than_there_are_the_rest_stands_by() -> None:
    listed = [service(name, operator=name) for name in "abc"]
    for selection, needed in ((ServiceSelection("ANY"), 1), (ServiceSelection("EXACT", 2), 2)):
        chosen = select_candidates(listed, selection, "log", supported=(1,), now=NOW)
        assert (len(chosen.services), chosen.needed) == (3, needed)


@pytest.mark.parametrize("count", [0, 3])
def test_exact_needs_a_count_that_can_be_met(count: int) -> None:
    listed = [service("a", operator="a"), service("b", operator="b")]
    with pytest.raises(SettingsError, match=f"exactly {count} of 2 logs"):
        select_candidates(listed, ServiceSelection("EXACT", count), "log", supported=(1,), now=NOW)


def test_nothing_usable_is_said_in_words() -> None:
    with pytest.raises(SettingsError, match="no transparency log of API version 1 or 2 for now"):
        select_one([service("x", 0)], "transparency log", supported=(1, 2), now=NOW)


def test_services_may_come_without_operator_and_range() -> None:
    document = {"mediaType": MEDIA_TYPE, "caUrls": [{"url": "https://ca", "majorApiVersion": "1"}]}
    (ca,) = SigningConfig.parse(json.dumps(document).encode()).ca_urls
    assert ca == Service("https://ca", 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mediaType", "application/vnd.dev.sigstore.signingconfig.v0.1+json"),
        ("caUrls", [{"url": "file:///etc/passwd", "majorApiVersion": 1}]),
        ("caUrls", [{"url": "https://a", "majorApiVersion": -1}]),
        ("caUrls", [{"url": "https://a", "validFor": {"end": "2026-01-01T00:00:00Z"}}]),
        ("caUrls", "https://a"),
        ("tsaConfig", {"selector": "SERVICE_SELECTOR_UNDEFINED"}),
        ("tsaConfig", {}),
        ("tsaConfig", {"selector": 9}),
    ],
)
def test_what_can_not_be_meant_is_refused(name: str, value: object) -> None:
    with pytest.raises(FormatError):
        SigningConfig.parse(json.dumps({"mediaType": MEDIA_TYPE, name: value}).encode())


@pytest.mark.parametrize("stem", ["public_good", "staging"])
def test_the_public_instances_configs_are_understood(stem: str) -> None:
    config = SigningConfig.parse((SHIPPED / f"{stem}_signing_config.json").read_bytes())
    assert select_one(config.ca_urls, "CA", supported=(1,), now=NOW).url.startswith("https://")
    logs = select_candidates(
        config.rekor_tlog_urls, config.rekor_tlog_config, "log", supported=(1,), now=NOW
    )
    assert (len(logs.services), logs.needed) == (1, 1)


def test_a_trust_config_round_trips() -> None:
    root = TrustedRoot.parse((SHIPPED / "public_good_trusted_root.json").read_bytes())
    config = SigningConfig.parse((SHIPPED / "public_good_signing_config.json").read_bytes())
    document = trust_config_to_json(root, config)
    assert document["mediaType"] == TRUST_CONFIG_MEDIA_TYPE
    assert parse_trust_config(json.dumps(document).encode()) == (root, config)
