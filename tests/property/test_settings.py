# SPDX-License-Identifier: Apache-2.0
"""Settings files: whatever they hold is settings or a SettingsError."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from countermark.app.launch import Child, Issuer, Launch
from countermark.app.settings import Settings, load_settings
from countermark.core.errors import SettingsError

_values = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=20) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
_names = st.sampled_from([*Settings.__slots__, "issuer", "Port", ""])
_line = st.text(st.characters(codec="utf-8"), max_size=60)
_lines = st.sampled_from(["port = 1", "[[issuers]]", 'url = "https://x"', 'type = "email"', "["])


@given(st.dictionaries(_names, _values, max_size=5))
def test_any_values_are_settings_or_refused(values: dict[str, object]) -> None:
    try:
        settings = load_settings(None, values)
    except SettingsError:
        return
    assert {name: getattr(settings, name) for name in values} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


@given(st.lists(_line | _lines, max_size=8))
def test_any_file_is_settings_or_refused(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.toml"
        file.write_bytes("\n".join(lines).encode("utf-8"))
        try:
            settings = load_settings(file, {})
        except SettingsError:
            return
        assert isinstance(settings, Settings)


_issuers = st.lists(st.builds(Issuer, st.text(), st.text(), st.text(), st.text()), max_size=3)
_launches = st.builds(
    Launch,
    st.text(),
    st.integers(0, 1000),
    st.lists(st.lists(st.integers(0, 1000), max_size=2), max_size=3),
    _issuers,
    st.booleans(),
    greeting=st.text(),
)


@given(_launches, st.text(), st.lists(st.integers(0, 1000), max_size=2))
def test_what_a_process_is_told_round_trips(launch: Launch, name: str, fds: list[int]) -> None:
    child = Child(launch, name, 3, 4, fds, fds)
    assert Child.parse(child.serialize()) == child
