# SPDX-License-Identifier: Apache-2.0
"""One budget of time for all the calls that a piece of work makes."""

import time
from typing import NamedTuple


class Deadline(NamedTuple):
    """A moment of this machine's monotonic clock, in seconds."""

    ends_s: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The moment so many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds until then; negative once it has passed."""
        return self.ends_s - time.monotonic()

    def share(self, others: int) -> "Deadline":
        """An equal part of what is left, so that as many others can still be tried."""
        return Deadline.after(self.left_s() / (others + 1))
