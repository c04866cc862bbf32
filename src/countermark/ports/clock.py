# SPDX-License-Identifier: Apache-2.0
"""The port to time and randomness, so that everything below it can be tested."""

from typing import Protocol


class Clock(Protocol):
    """Wall-clock time."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        ...


class Entropy(Protocol):
    """Cryptographic randomness."""

    def bytes(self, count: int) -> bytes:
        """`count` unpredictable bytes."""
        ...
