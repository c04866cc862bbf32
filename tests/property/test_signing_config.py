# SPDX-License-Identifier: Apache-2.0
"""Signing configs: what is written is read; garbage is a FormatError and nothing else."""

import json
from datetime import UTC, datetime

from hypothesis import assume, given
from hypothesis import strategies as st

from countermark.core.bundle.signing_config import (
    MEDIA_TYPE,
    Service,
    ServiceSelection,
    SigningConfig,
    parse_trust_config,
    select_candidates,
)
from countermark.core.errors import FormatError, SettingsError

times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)


@st.composite
def services(draw: st.DrawFn) -> Service:
    start = draw(st.none() | times)
    return Service(
        url=draw(st.sampled_from(["https://", "http://"])) + draw(st.text(max_size=20)),
        major_api_version=draw(st.integers(0, 3)),
        start=start,
        end=draw(st.none() | times) if start is not None else None,
        operator=draw(st.sampled_from(["", "a", "b", "c"])),
    )


several = st.lists(services(), max_size=6).map(tuple)
selections = st.builds(
    ServiceSelection, st.sampled_from(["ANY", "ALL", "EXACT"]), st.integers(0, 5)
)
configs = st.builds(SigningConfig, several, several, several, several, selections, selections)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
names = st.sampled_from(["caUrls", "tsaUrls", "rekorTlogConfig", "tsaConfig", "oidcUrls"])


@given(configs)
def test_round_trip(config: SigningConfig) -> None:
    assert SigningConfig.parse(config.serialize()) == config


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_garbage_is_a_format_error(data: bytes) -> None:
    for parse in (SigningConfig.parse, parse_trust_config):
        try:
            parse(data)
        except FormatError:
            continue
        raise AssertionError("garbage was accepted")


@given(st.dictionaries(names, json_values | st.lists(json_values, max_size=3)))
def test_any_json_is_a_value_or_a_format_error(fields: dict[str, object]) -> None:
    document = json.dumps({"mediaType": MEDIA_TYPE, **fields}).encode()
    try:
        config = SigningConfig.parse(document)
    except FormatError:
        return
    assert SigningConfig.parse(config.serialize()) == config


@given(several, selections, times)
def test_whatever_is_chosen_is_usable_and_of_one_version_and_of_different_operators(
    offered: tuple[Service, ...], selection: ServiceSelection, now: datetime
) -> None:
    try:
        chosen, needed = select_candidates(offered, selection, "log", supported=(1, 2), now=now)
    except SettingsError:
        return
    assert 1 <= needed <= len(chosen)
    assert all(service in offered and service.usable_at(now) for service in chosen)
    best = max(s.major_api_version for s in offered if s.usable_at(now) and s.major_api_version < 3)
    assert {service.major_api_version for service in chosen} == {best}
    operators = [service.operator for service in chosen]
    assert len(set(operators)) == len(operators)
    if selection.selector == "EXACT":
        assert needed == selection.count
    if selection.selector == "ANY":
        assert needed == 1
    if selection.selector == "ALL":
        assert needed == len(chosen)


@given(several, times)
def test_a_service_that_could_be_chosen_makes_all_choose_its_operator(
    offered: tuple[Service, ...], now: datetime
) -> None:
    usable = [s for s in offered if s.usable_at(now) and s.major_api_version == 1]
    assume(usable)
    chosen = select_candidates(offered, ServiceSelection("ALL"), "log", supported=(1,), now=now)
    assert {s.operator for s in chosen.services} == {s.operator for s in usable}
