# SPDX-License-Identifier: Apache-2.0
"""Secrets that settings name: by a file's path, or as ``env:NAME``. Never by value."""

import os
from pathlib import Path

from countermark.core.errors import SettingsError


def resolve_passphrase(reference: str) -> bytes | None:
    """The passphrase that `reference` names; None if it names none. Raises SettingsError."""
    if not reference:
        return None
    if not reference.startswith("env:"):
        from countermark.app.keyring import read_passphrase  # with it come the readers of keys

        return read_passphrase(Path(reference).expanduser())
    name = reference.removeprefix("env:")
    value = os.environ.get(name, "")
    if not value:
        raise SettingsError(f"the environment variable {name} holds no passphrase")
    return value.encode("utf-8")
