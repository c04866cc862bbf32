# SPDX-License-Identifier: Apache-2.0
"""Run inputs again: ``python -m fuzz.replay TARGET FILE…``. Needs no Atheris."""

import sys
from pathlib import Path

from fuzz.registry import TARGETS
from fuzz.target import check


def main(arguments: list[str]) -> None:
    """Says what became of each input; a finding ends it with its traceback."""
    name, *files = arguments
    for file in files:
        taken = check(TARGETS[name], Path(file).read_bytes())
        print(f"{file}: {'a value' if taken else 'refused'}")


if __name__ == "__main__":
    main(sys.argv[1:])
