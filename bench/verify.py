# SPDX-License-Identifier: Apache-2.0
"""`countermark verify` beside sigstore-python: one process, and many bundles in one process."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.instance import Instance

PAIRS = 11
TOOLS = Path(os.environ.get("COUNTERMARK_TOOLS", Path.home() / ".cache/countermark-tools"))
PEER_PYTHON = TOOLS / "peers/bin/python"
MAX_MEMORY_MB = 45.0


def _timed(command: Sequence[str], environment: dict[str, str]) -> float:
    before = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - before


def _peak_memory_mb(command: Sequence[str], environment: dict[str, str]) -> float:
    """Peak resident memory of one run, asked of the kernel by a small parent process."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, capture_output=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout) * resource.getpagesize() / 4096 / 1000


def _signed(running: Instance) -> Path:
    artifact = running.home / "artifact.bin"
    artifact.write_bytes(os.urandom(100_000))
    token = running.token()
    subprocess.run(
        [
            *(sys.executable, "-m", "countermark", "sign"),
            *("--url", f"http://localhost:{running.port}", "--identity-token", token),
            str(artifact),
        ],
        env=running.environment,
        check=True,
        capture_output=True,
    )
    return artifact
