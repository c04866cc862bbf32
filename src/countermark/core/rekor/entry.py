# SPDX-License-Identifier: Apache-2.0
"""A submitted entry after everything about it was checked, and how it can be found later."""

import hashlib
from typing import Final, NamedTuple

from countermark.core.errors import RequestRejected

SEARCH_KEY_BYTES: Final = 16
MAX_SEARCH_KEYS: Final = 32 * 1024
"""More than verifiers accept of a statement's subjects and digests; bounds a request's rows."""
MAX_BODY_BYTES: Final = 256 * 1024
"""Of a canonical body. Ten of them are one answer, and many clients may ask for that at once."""


class EntryRejected(RequestRejected):
    """A proposed entry that the log does not take; the message is Rekor's own where it has one."""

    code = "entry-rejected"


class CanonicalEntry(NamedTuple):
    """A verified entry, ready to be logged.

    Attributes:
        kind: e.g. ``hashedrekord``.
        version: e.g. ``0.0.1``.
        body: canonical JSON; the leaf.
        search_keys: distinct `search_key` values, in no particular order.
    """

    kind: str
    version: str
    body: bytes
    search_keys: tuple[bytes, ...]


def search_key(term: str) -> bytes:
    """The fixed-size key that an entry is found under, whatever the case of the term.

    Terms are what Rekor's index knows: e-mail addresses and other subject alternative names, and
    ``algorithm:hex`` of artifacts, envelopes, payloads, statement subjects and canonical key PEMs.
    """
    return hashlib.sha256(term.lower().encode("utf-8", "surrogatepass")).digest()[:SEARCH_KEY_BYTES]
