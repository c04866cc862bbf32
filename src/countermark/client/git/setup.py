# SPDX-License-Identifier: Apache-2.0
"""Telling Git to sign and verify with countermark, and undoing that.

What a setting was before is kept under ``countermark.replaced``, so that `unset` can put it back.
"""

from collections.abc import Sequence

from countermark.client.git.run import git
from countermark.client.git.settings import SECTION, spelt
from countermark.core.encoding import from_utf8
from countermark.core.errors import SettingsError

_REPLACED = f"{SECTION}.replaced"


def set_up(
    scope: str, program: str, options: dict[str, Sequence[str]], *, sign: bool, replace: bool
) -> list[str]:
    """Write the configuration; returns the keys that were written.

    Args:
        scope: ``--local`` or ``--global``.
        program: absolute path of ``countermark-git``.
        options: of `settings.KEYS`, with their values; what was set of them before goes.
        sign: whether every commit and tag is to be signed.
        replace: whether other programs' settings may be replaced.

    Raises SettingsError if another program is set and `replace` is not.
    """
    wanted = {"gpg.format": "x509", "gpg.x509.program": program}
    if sign:
        wanted |= {"commit.gpgSign": "true", "tag.gpgSign": "true"}
    before = {key: _values(scope, key) for key in wanted}
    others = [f"{key} is {before[key][-1]}" for key in before if _is_foreign(key, before[key])]
    if others and not replace:
        error = SettingsError(f"Git signs with another program here: {'; '.join(others)}")
        error.add_note("add --replace; `countermark git unset` then puts it back")
        raise error
    unset(scope)
    written = []
    for key, value in wanted.items():
        for old in _values(scope, key):
            git("config", scope, "--add", _REPLACED, f"{key}={old}")
        git("config", scope, "--replace-all", key, value)
        written.append(key)
    for option, values in options.items():
        for value in values:
            git("config", scope, "--add", spelt(option), value)
            written.append(spelt(option))
    return written


def unset(scope: str) -> list[str]:
    """Take away what `set_up` wrote, and put back what it replaced; returns the keys."""
    if not any("countermark-git" in value for value in _values(scope, "gpg.x509.program")):
        return []
    touched = ["gpg.format", "gpg.x509.program", "commit.gpgSign", "tag.gpgSign"]
    replaced = [item.partition("=") for item in _values(scope, _REPLACED)]
    for key in touched:
        git("config", scope, "--unset-all", key, absent=(5,))
    for key, _, value in replaced:
        git("config", scope, "--add", key, value)
    git("config", scope, "--remove-section", SECTION, absent=(128,))
    return touched


def _values(scope: str, key: str) -> list[str]:
    data = git("config", scope, "--null", "--get-all", key, absent=(1,))
    return from_utf8(data, "Git's configuration").split("\0")[:-1]


def _is_foreign(key: str, values: Sequence[str]) -> bool:
    """Whether another program was set up; signing on its own is nobody's."""
    if not values or key not in ("gpg.format", "gpg.x509.program"):
        return False
    return values[-1] != "x509" if key == "gpg.format" else "countermark-git" not in values[-1]
