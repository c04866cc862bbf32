# SPDX-License-Identifier: Apache-2.0
"""What targets verify against: the seeds themselves hold the roots and keys that fit them."""

from functools import cache
from pathlib import Path

from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.identity.jws import KeySet

CORPUS = Path(__file__).parent / "corpus"


@cache
def trusted_root() -> TrustedRoot:
    """The root under which the seeds of `bundle` and `tsp-response` verify."""
    return TrustedRoot.parse((CORPUS / "trusted-root" / "forged.json").read_bytes())


@cache
def key_set() -> KeySet:
    """The keys under which the seeds of `token` verify."""
    return KeySet.parse((CORPUS / "jwks" / "three-kinds.json").read_bytes())


def seeds(name: str) -> dict[str, bytes]:
    """The committed seeds of a target, by file name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).glob("*"))}
