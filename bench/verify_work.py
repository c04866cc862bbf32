# SPDX-License-Identifier: Apache-2.0
"""What the verifying benchmarks verify: files signed with a real instance, by one or by many."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.instance import EMAIL, Instance, instance
from bench.verify_peers import Work

FILE_BYTES = 10_000

# Signs each file as somebody else, in one process of the person's own environment.
_MANY = """
import sys
from pathlib import Path
from countermark import Signer
for name in sys.argv[1:]:
    file = Path(name)
    signed = Signer.create(email=f"{file.name}@example.com").sign(file)
    Path(name + ".sigstore.json").write_bytes(signed.bundle.serialize())
"""


@contextmanager
def signed(count: int) -> Iterator[tuple[Instance, Work, Work]]:
    """A running instance, and the work of `count` files signed by one, and by `count` signers."""
    with instance() as running:
        root = running.home / "data/trust/trusted_root.json"
        issuer = f"http://localhost:{running.port}/oidc"
        one = _files(running, "one", count)
        many = _files(running, "many", count)
        sign = [sys.executable, "-m", "countermark", "sign", "--email", EMAIL, *map(str, one)]
        for command in (sign, [sys.executable, "-c", _MANY, *map(str, many)]):
            subprocess.run(command, env=running.environment, check=True, capture_output=True)
        yield (
            running,
            Work(root, issuer, tuple((file, EMAIL) for file in one)),
            Work(root, issuer, tuple((file, f"{file.name}@example.com") for file in many)),
        )


def _files(running: Instance, name: str, count: int) -> Sequence[Path]:
    folder = running.home / name
    folder.mkdir()
    files = [folder / f"file{number}" for number in range(count)]
    for file in files:
        file.write_bytes(os.urandom(FILE_BYTES))
    return files
