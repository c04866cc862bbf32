# SPDX-License-Identifier: Apache-2.0
"""Signing with a key of one's own instead of an identity: the bundle names it by its hash."""

from countermark.client.choice import Instance
from countermark.client.credential import ManagedKey
from countermark.client.keys.asking import Asking
from countermark.client.keys.reference import open_key
from countermark.client.sign import DEFAULT_TIMEOUT_S, Signer


def key_signer(
    instance: Instance,
    reference: str,
    asking: Asking | None = None,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Signer:
    """A signer with a long-lived key.

    Args:
        instance: the services that timestamp and log, and the root to verify them under.
        reference: the key: a file, ``env://NAME``, ``pkcs11:…`` or the URI of a key service.
        asking: for its passphrase or PIN.
        timeout_s: see `Signer`.

    Raises what `open_key` raises.
    """
    key = open_key(reference, asking or Asking())
    return Signer(instance, ManagedKey(key), timeout_s=timeout_s)
