# SPDX-License-Identifier: Apache-2.0
"""The rows of `bench.big` for a log of ten million entries. Making the log takes half an hour."""

from bench import big
from bench.measure import Row

TEN_MILLION = 10_000_000


def run() -> list[Row]:
    """Every row."""
    return big.run(TEN_MILLION)
