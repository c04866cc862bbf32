# SPDX-License-Identifier: Apache-2.0
"""One target under Atheris: ``python -m fuzz.engine TARGET`` and libFuzzer's own arguments.

Our code is instrumented, so that inputs that reach new branches are kept. Half of the changes
are libFuzzer's, half are those of `fuzz.mutate`, which keep an input's structure.
"""

import os
import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["countermark"]):
    from fuzz.registry import TARGETS

from fuzz.mutate import mutate
from fuzz.target import check


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, *arguments = sys.argv[1:]
    target = TARGETS[name]

    def one_input(data: bytes) -> None:
        check(target, data)

    def change(data: bytes, max_bytes: int, seed: int) -> bytes:
        if seed & 1:
            return bytes(atheris.Mutate(data, max_bytes))
        return mutate(data, Random(seed), max_bytes)

    os.environ.setdefault("PYTHONHASHSEED", "0")
    atheris.Setup([sys.argv[0], *arguments], one_input, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
