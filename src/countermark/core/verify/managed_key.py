# SPDX-License-Identifier: Apache-2.0
"""A long-lived key that is expected to have signed, and when it was in use."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import TimeUnproven
from countermark.core.verify.words import times, utc


class ManagedKey(NamedTuple):
    """A public key, and the closed period in which its signatures count.

    Attributes:
        key: the key.
        valid_from: None for ever since.
        valid_until: None for ever after.
    """

    key: PublicKey
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @property
    def period(self) -> str:
        """The period in words."""
        start = f"from {utc(self.valid_from)}" if self.valid_from else ""
        end = f"until {utc(self.valid_until)}" if self.valid_until else ""
        return " ".join(filter(None, (start, end))) or "at any time"

    def check(self, proven: Sequence[datetime]) -> None:
        """Check that every proven time lies in the period, ends included. Raises TimeUnproven.

        A key without a period needs no time; one with a period needs at least one.
        """
        if self.valid_from is None and self.valid_until is None:
            return
        start, end = self.valid_from, self.valid_until
        if not proven:
            raise TimeUnproven(
                "nothing proves that the signature was made while the key was in use",
                found="no proven time",
                expected=self.period,
            )
        if not all((start is None or start <= at) and (end is None or at <= end) for at in proven):
            raise TimeUnproven(
                "the signature was made while the key was not in use",
                found=times(proven),
                expected=self.period,
            )
