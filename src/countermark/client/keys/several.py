# SPDX-License-Identifier: Apache-2.0
"""Several keys, one of which must have signed: a release's old and new key, a team's."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from countermark.core.bundle.bundle import Bundle
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_base64
from countermark.core.errors import IdentityMismatch, VerificationError
from countermark.core.verify.managed_key import ManagedKey
from countermark.core.verify.verifier import Expected

T = TypeVar("T")


def first_that_holds(
    bundle: Bundle, keys: Sequence[Expected], verify: Callable[[Expected], T]
) -> T:
    """What `verify` gives for the first key under which the bundle holds.

    Args:
        bundle: its hint says which key to begin with. Nobody signed the hint, so the others
            are tried too.
        keys: public keys, with or without a period.
        verify: raises VerificationError for a key that did not sign.

    Raises the error of the key that the bundle names, and IdentityMismatch if it names none.
    """
    named = [key for key in keys if _names(bundle, key)]
    refused: list[VerificationError] = []
    for key in (*named, *(key for key in keys if key not in named)):
        try:
            return verify(key)
        except VerificationError as error:
            refused.append(error)
    if named or bundle.certificates:
        raise refused[0]
    raise IdentityMismatch(f"none of the {len(keys)} keys made the signature") from refused[-1]


def _names(bundle: Bundle, expected: Expected) -> bool:
    key = expected.key if isinstance(expected, ManagedKey) else expected
    return isinstance(key, PublicKey) and bundle.public_key_hint == to_base64(key.key_id)
