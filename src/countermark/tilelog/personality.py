# SPDX-License-Identifier: Apache-2.0
"""What a log tells the engine about itself: how leaves are made, signed, framed and audited."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from countermark.core.tlog.bundles import BundleCodec
from countermark.ports.log_store import EntryRow, Head


class Submission(NamedTuple):
    """One thing to be logged.

    Attributes:
        identity: 32 bytes that two submissions share exactly if the log should hold only one.
        payload: whatever the personality needs to make the leaf; the engine does not look.
        search_keys: what the entry can be found by; each at most 65,535 bytes.
        byte_size: about how many bytes it holds in memory, for the bound on what is queued.
    """

    identity: bytes
    payload: Any
    search_keys: tuple[bytes, ...] = ()
    byte_size: int = 2048


class Leaf(NamedTuple):
    """A finished entry, made for one index and time.

    Attributes:
        record: the bytes its entry bundle will hold.
        leaf_hash: equal to ``codec.leaf_hash(record)``.
        promise: what the log signed about it (SET, SCT); empty if nothing.
        search_keys: more that it can be found by, known only now; e.g. a CT log's leaf hash,
            which the time is part of.
    """

    record: bytes
    leaf_hash: bytes
    promise: bytes
    search_keys: tuple[bytes, ...] = ()


class Personality(Protocol):
    """One log's own rules. Called on the log's thread, so it may block (remote keys)."""

    @property
    def codec(self) -> BundleCodec:
        """How records stand in bundles."""
        ...

    def finalise(self, submission: Submission, index: int, time_ms: int) -> Leaf:
        """Make the leaf that will stand at `index`, sequenced at `time_ms` (Unix milliseconds).

        The result is dropped if the round does not commit; the index is then given again.
        Raises one of our errors to refuse this submission alone.
        """
        ...

    def sign_head(self, tree_size: int, root_hash: bytes, time_ms: int) -> bytes:
        """Sign a tree head: a signed note whose text is a checkpoint.

        Raises one of our errors to fail the round; it can be tried again.
        """
        ...


class Auditor(Protocol):
    """What `fsck` needs to know of a log: public keys and formats, no private key."""

    @property
    def codec(self) -> BundleCodec:
        """How records stand in bundles."""
        ...

    def read_head(self, signed: bytes) -> Head:
        """What a published checkpoint states; its time is 0 where it states none.

        Nothing is checked. Raises FormatError.
        """
        ...

    def check_head(self, head: Head) -> None:
        """Check that `head.signed` is the log's signature over that size and root (and time).

        Raises FormatError or VerificationError.
        """
        ...

    def identity(self, record: bytes) -> bytes:
        """The identity that the record was submitted with. Raises FormatError."""
        ...

    def search_keys(self, record: bytes) -> Sequence[bytes]:
        """The search keys of the submission and of the leaf, in that order. Raises FormatError."""
        ...

    def check_promise(self, record: bytes, row: EntryRow) -> None:
        """Check what the log promised about the record at that index and time.

        Raises FormatError or VerificationError.
        """
        ...
