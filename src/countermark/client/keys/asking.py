# SPDX-License-Identifier: Apache-2.0
"""How keys ask for a passphrase or PIN, and say what is wrong but no obstacle."""

from collections.abc import Callable
from typing import NamedTuple

from countermark.core.errors import SettingsError


def _no_passphrase(what: str) -> bytes:
    raise SettingsError(f"{what} needs a passphrase, and none was given")


def _no_pin(what: str) -> str:
    raise SettingsError(f"{what} needs a PIN, and none was given")


def _silence(message: str) -> None:
    pass


class Asking(NamedTuple):
    """Whom to ask; by default nobody. Each function is called only if an answer is needed.

    Attributes:
        passphrase: gives the passphrase of what is named, e.g. ``release.key``. Raises
            SettingsError if there is none.
        pin: gives the PIN of a token in the same way. Apart from passphrases, since a token
            locks itself after a few wrong ones.
        notice: told what the user should know, as one sentence.
    """

    passphrase: Callable[[str], bytes] = _no_passphrase
    pin: Callable[[str], str] = _no_pin
    notice: Callable[[str], None] = _silence
