# SPDX-License-Identifier: Apache-2.0
"""The long run: ``python -m fuzz.differential --cases 20000 --seed 7``. Part of `make fuzz`.

Prints how often each known difference was met; ends with 1 if any other was.
"""

import argparse
import os
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from fuzz.differential import certificates
from fuzz.differential.bundles import bases, ended, mutants
from fuzz.differential.judge import judge
from fuzz.differential.own import own
from fuzz.differential.peers import sigstore_js, sigstore_python
from fuzz.differential.rules import RULES, SPELLINGS, UNSIGNED

_SEED = 20261122
_CERTIFICATES_A_CASE = 20  # about as much work


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="fuzz.differential", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=_SEED)
    options = parser.parse_args()
    chosen = os.environ.get("COUNTERMARK_VECTORS")
    folder = Path(chosen) if chosen else Path(__file__).parents[3] / "shared/vectors"
    started = time.monotonic()
    with ExitStack() as stack:
        peers = [
            stack.enter_context(peer)
            for peer in (sigstore_python(), sigstore_js())
            if peer is not None
        ]
        print(f"beside {', '.join(peer.name for peer in peers) or 'nobody: install-peers'}")
        temporary = Path(stack.enter_context(TemporaryDirectory()))
        found = bases(folder if folder.is_dir() else None)
        found += stack.enter_context(own(temporary))
        found += ended(found, temporary)
        outcome = judge(mutants(found, Random(options.seed), options.cases), peers)
        encoded = certificates.certificates(found)
    print(
        f"{outcome.cases} bundles from {len(found)}, {outcome.accepted} accepted by us, "
        f"{outcome.agreed} agreed, {time.monotonic() - started:.0f} s"
    )
    _table(outcome.explained, {rule.name for rule in RULES} | {UNSIGNED, *SPELLINGS})
    for case in outcome.unexplained[:50]:
        print(case.describe())
    started = time.monotonic()
    count = options.cases * _CERTIFICATES_A_CASE
    read = certificates.judge(certificates.mutants(encoded, Random(options.seed), count))
    print(
        f"{read.cases} certificates beside cryptography.x509, {read.accepted} read by us, "
        f"{time.monotonic() - started:.0f} s"
    )
    _table(read.explained, {rule.name for rule in certificates.RULES})
    for data, what, ours, other in read.unexplained[:50]:
        print(f"{what}: {ours} beside {other}\n  {data.hex()}")
    differences = len(outcome.unexplained) + len(read.unexplained)
    if differences:
        print(f"{differences} differences without a rule", file=sys.stderr)
    return 1 if differences else 0


def _table(counts: Counter[str], names: set[str]) -> None:
    for name in sorted(names, key=lambda name: (-counts[name], name)):
        print(f"{counts[name]:6} {name}")


if __name__ == "__main__":
    sys.exit(main())
