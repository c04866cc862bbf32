# SPDX-License-Identifier: Apache-2.0
"""A worker takes no more connections than it may have files open."""

import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from countermark.app.worker import limits
print(limits().connections, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "asked_for"),
    [(256, 4096, 2000, 2128), (3000, 4096, 2000, 3000), (256, 1024, 896, 1024), (64, 64, 32, 64)],
)
def test_connections_fit_the_open_files(
    soft: int, hard: int, connections: int, asked_for: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(soft), str(hard)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert ended.stdout.split() == [str(connections), str(asked_for), str(hard)]
