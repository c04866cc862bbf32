# SPDX-License-Identifier: Apache-2.0
"""Fuzzing without an engine: seeds and seeded changes to them. For tests, and without Atheris."""

from collections.abc import Mapping
from random import Random

from fuzz.mutate import mutate
from fuzz.target import Target, check


class Finding(AssertionError):
    """An input that a target did not survive; its bytes are in the message."""


def run(target: Target, seeds: Mapping[str, bytes], changes: int) -> int:
    """Check all seeds and as many changed ones; how many were values. Raises Finding."""
    random = Random(target.name)
    pool = [seeds[name] for name in sorted(seeds)]
    inputs = [
        *pool,
        *(mutate(random.choice(pool), random, target.max_bytes) for _ in range(changes)),
    ]
    return sum(_checked(target, data) for data in inputs)


def _checked(target: Target, data: bytes) -> bool:
    try:
        return check(target, data)
    except Exception as error:
        raise Finding(f"{target.name}: {type(error).__name__}: {error}\n{data!r}") from error
