# SPDX-License-Identifier: Apache-2.0
"""What Git's configuration says about countermark: ``countermark.identity`` and the like.

A key that nobody knows is refused: misspelt, it would leave something unchecked.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from countermark.client.git.run import git
from countermark.core.encoding import from_utf8
from countermark.core.errors import SettingsError

SECTION = "countermark"
# Git's spelling → the option of `countermark git verify` or `sign` that it stands for.
KEYS = {
    "identity": "identity",
    "issuer": "issuer",
    "identityRegex": "identity-regex",
    "issuerRegex": "issuer-regex",
    "repository": "repository",
    "workflow": "workflow",
    "ref": "ref",
    "trigger": "trigger",
    "runner": "runner",
    "extension": "extension",
    "policy": "policy",
    "instance": "instance",
    "url": "url",
    "trustedRoot": "trusted-root",
    "trustConfig": "trust-config",
    "signingConfig": "signing-config",
    "email": "email",
    "timestamps": "timestamps",
    "cache": "cache",
    "replaced": "replaced",
}
_OPTIONS = {name.lower(): option for name, option in KEYS.items()}
_LISTS = frozenset(
    ("identity", "extension", "replaced", "repository", "workflow", "ref", "trigger", "runner")
)
_TRUE, _FALSE = frozenset(("true", "yes", "on", "1", "")), frozenset(("false", "no", "off", "0"))


class GitSettings(NamedTuple):
    """The settings of the repository at hand, and the user's own.

    Attributes:
        values: by option; of all but the lists Git's nearest value alone.
    """

    values: Mapping[str, tuple[str, ...]]

    def one(self, option: str) -> str:
        """An option's value, or empty."""
        found = self.values.get(option, ())
        return found[-1] if found else ""

    def flag(self, option: str, *, default: bool) -> bool:
        """An option that is true or false, as Git spells it. Raises SettingsError."""
        if option not in self.values:
            return default
        word = self.one(option).lower()
        if word not in _TRUE | _FALSE:
            raise SettingsError(f"{SECTION}.{option} is {word!r}, which is neither true nor false")
        return word in _TRUE


def load_settings() -> GitSettings:
    """Read them with Git. Raises SettingsError for keys that nobody knows."""
    return parse_settings(git("config", "--null", "--get-regexp", rf"^{SECTION}\.", absent=(1,)))


def parse_settings(data: bytes) -> GitSettings:
    """Read what ``git config --null --get-regexp`` prints. Raises SettingsError."""
    values: dict[str, tuple[str, ...]] = {}
    for item in from_utf8(data, "Git's configuration").split("\0")[:-1]:
        key, _, value = item.partition("\n")
        option = _OPTIONS.get(key.removeprefix(f"{SECTION}."))
        if option is None:
            error = SettingsError(f"Git's configuration has {key[:100]}, which nobody knows")
            error.add_note(f"known are {', '.join(f'{SECTION}.{name}' for name in KEYS)}")
            raise error
        values[option] = (*values.get(option, ()), value) if option in _LISTS else (value,)
    return GitSettings(values)


def spelt(option: str) -> str:
    """Git's key for an option."""
    return next(f"{SECTION}.{name}" for name, known in KEYS.items() if known == option)


def chosen(settings: GitSettings, options: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Those of `options` that are set."""
    return {name: settings.values[name] for name in options if settings.values.get(name)}
