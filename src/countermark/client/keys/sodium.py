# SPDX-License-Identifier: Apache-2.0
"""libsodium, through PyNaCl: what `cryptography` does not have and cosign's world uses.

It is in the extra `keys`, since few need it: NaCl's secret box (cosign.key files) and arithmetic
in constant time for Ed25519ph.
"""

from typing import TYPE_CHECKING

from countermark.core.errors import SettingsError

if TYPE_CHECKING:
    from types import ModuleType


def bindings(purpose: str) -> "ModuleType":
    """PyNaCl's low-level functions. Raises SettingsError if it is not installed."""
    try:
        from nacl import bindings as nacl
    except ImportError as error:
        missing = SettingsError(f"{purpose} needs PyNaCl, which is not installed")
        missing.add_note("pip install 'countermark[keys]'")
        raise missing from error
    return nacl
