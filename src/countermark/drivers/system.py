# SPDX-License-Identifier: Apache-2.0
"""Time and randomness of the machine."""

import os
import time


class SystemClock:
    """The machine's wall clock. A `Clock`."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000


class SystemEntropy:
    """The kernel's random generator. An `Entropy`."""

    def bytes(self, count: int) -> bytes:
        """`count` unpredictable bytes."""
        return os.urandom(count)
