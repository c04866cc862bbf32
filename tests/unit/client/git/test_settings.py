# SPDX-License-Identifier: Apache-2.0
import pytest

from countermark.client.git.settings import KEYS, chosen, parse_settings, spelt
from countermark.core.errors import CountermarkError, SettingsError


def test_what_git_prints() -> None:
    data = (
        b"countermark.identity\na@example.org\0countermark.identity\nb@example.org\0"
        b"countermark.issuer\nhttps://one\0countermark.issuer\nhttps://two\0"
        b"countermark.trustedroot\n/a path/with\nlines\0countermark.cache\0"
    )
    settings = parse_settings(data)
    assert settings.values["identity"] == ("a@example.org", "b@example.org")
    assert settings.one("issuer") == "https://two"  # the nearest wins, as in Git
    assert settings.values["issuer"] == ("https://two",)
    assert settings.one("trusted-root") == "/a path/with\nlines"
    assert settings.flag("cache", default=False)
    assert not settings.flag("timestamps", default=False)
    assert settings.flag("timestamps", default=True)
    assert chosen(settings, ("issuer", "url")) == {"issuer": ("https://two",)}


def test_nothing() -> None:
    assert parse_settings(b"").values == {}
    assert parse_settings(b"").one("email") == ""


@pytest.mark.parametrize("word", ["false", "no", "OFF", "0"])
def test_no(word: str) -> None:
    assert not parse_settings(f"countermark.cache\n{word}\0".encode()).flag("cache", default=True)


def test_neither_yes_nor_no() -> None:
    with pytest.raises(SettingsError, match="neither true nor false"):
        parse_settings(b"countermark.cache\nperhaps\0").flag("cache", default=True)


@pytest.mark.parametrize(
    "data",
    [
        b"countermark.identiy\nx\0",
        b"countermark.sub.identity\nx\0",
        b"countermark.\xff\nx\0",
    ],
)
def test_keys_that_nobody_knows(data: bytes) -> None:
    with pytest.raises(CountermarkError):
        parse_settings(data)


def test_git_spells_keys_in_its_own_way() -> None:
    assert spelt("identity-regex") == "countermark.identityRegex"
    assert {spelt(option) for option in KEYS.values()} == {f"countermark.{name}" for name in KEYS}
