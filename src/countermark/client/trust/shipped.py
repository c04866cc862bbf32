# SPDX-License-Identifier: Apache-2.0
"""The public instances whose TUF root this program ships: `trust_data`, made by
`scripts/refresh-trust-data`."""

import os
from typing import Final, NamedTuple

import countermark


class Shipped(NamedTuple):
    """A public instance.

    Attributes:
        stem: how its files in `trust_data` begin.
        tuf_url: its TUF repository.
    """

    stem: str
    tuf_url: str


SHIPPED: Final = {
    "public": Shipped("public_good", "https://tuf-repo-cdn.sigstore.dev"),
    "staging": Shipped("staging", "https://tuf-repo-cdn.sigstage.dev"),
}


def shipped_root(name: str) -> bytes:
    """The TUF root to start from."""
    return _read(f"{SHIPPED[name].stem}_tuf_root.json")


def shipped_trust(name: str) -> tuple[bytes, bytes]:
    """Trusted root and signing config as shipped."""
    stem = SHIPPED[name].stem
    return _read(f"{stem}_trusted_root.json"), _read(f"{stem}_signing_config.json")


def _read(name: str) -> bytes:
    folder = os.path.join(os.path.dirname(countermark.__file__), "trust_data")
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()
