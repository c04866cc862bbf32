# SPDX-License-Identifier: Apache-2.0
"""The client's own files: whatever they hold, reading them gives a value or one of our errors."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermark.client.choice import user_config
from countermark.client.instances import load_instances, write_private_file
from countermark.client.logins import load_email
from countermark.client.transport import printable
from countermark.core.errors import CountermarkError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["version", "instances", "emails", "url", "email", "x"]), inner
        )
    ),
    max_leaves=15,
)
documents = st.binary(max_size=80) | st.builds(
    lambda version, body: json.dumps({"version": version, **body}).encode(),
    st.sampled_from([1, 2]),
    st.dictionaries(st.sampled_from(["instances", "emails"]), json_values),
)
in_a_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path))
    return tmp_path


@in_a_file
@given(documents)
def test_any_registry_and_any_logins(home: Path, data: bytes) -> None:
    for name in ("instances.json", "logins.json"):
        write_private_file(str(home / name), data)
    for read in (load_instances, lambda: load_email("x")):
        with contextlib.suppress(CountermarkError):
            read()


@in_a_file
@given(
    st.binary(max_size=60) | st.text(alphabet="urlinstace_=\"'[]\n 7x", max_size=60).map(str.encode)
)
def test_any_configuration(home: Path, data: bytes) -> None:
    (home / "config.toml").write_bytes(data)
    try:
        config = user_config()
    except CountermarkError:
        return
    assert all(isinstance(value, str) for value in config.values())


@given(st.text(max_size=700))
def test_foreign_text_becomes_one_short_printable_line(text: str) -> None:
    line = printable(text)
    assert len(line) <= 300
    assert line.isprintable()
