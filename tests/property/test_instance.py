# SPDX-License-Identifier: Apache-2.0
"""instance.json round trips; whatever else stands there is refused in our own words."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.app.instance import CT_LOG, V1_LOG, InstanceConfig, new_instance
from countermark.core.errors import InvariantBroken, SettingsError

HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?", fullmatch=True)
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(microsecond=0))


@given(
    host=HOSTS,
    port=st.none() | st.integers(1, 65535),
    scheme=st.sampled_from(["http", "https"]),
    created=TIMES,
    tree_id=st.integers(1, 2**63 - 1),
)
def test_round_trip(
    host: str, port: int | None, scheme: str, created: datetime, tree_id: int
) -> None:
    base_url = f"{scheme}://{host}" + ("" if port is None else f":{port}")
    config = new_instance(base_url, created, tree_id)
    assert InstanceConfig.parse(config.serialize()) == config
    assert config.hostname == config.log(V1_LOG).note_name == host
    assert base_url.endswith(config.log(CT_LOG).origin.removesuffix("/ctlog/main"))


@given(base_url=st.text(max_size=60) | st.text(max_size=30).map(lambda text: f"http://{text}"))
def test_any_text_is_a_base_url_or_refused(base_url: str) -> None:
    try:
        config = new_instance(base_url, datetime(2026, 1, 1, tzinfo=UTC), 1)
    except SettingsError:
        return
    assert re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]+)?", config.base_url)


@given(data=st.binary(max_size=200) | st.from_regex(rb"\{.{0,100}\}"))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(InvariantBroken):
        InstanceConfig.parse(data)
