# SPDX-License-Identifier: Apache-2.0
"""`countermark verify --workers N`: many files, spread over several processes.

Each process is the same command over its share of the files, in their order, with what it says
held back until the shares before it have spoken. So nothing differs from one process but the time.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from countermark.cli.arguments import Arguments
from countermark.cli.exits import INTERNAL
from countermark.cli.output import Output
from countermark.core.errors import RequestRejected

MAX_WORKERS = 256
_OURS = ("workers",)
# What asks a person or the network, or writes what the next file is held against.
_ALONE = ("online", "print-predicate", "checksums", "trust-first-use")


def workers_of(arguments: Arguments) -> int:
    """How many processes are asked for, no more than there are files. Raises RequestRejected."""
    text = arguments.one("workers")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= MAX_WORKERS):
        raise RequestRejected(f"--workers takes a number from 1 to {MAX_WORKERS}")
    for name in _ALONE:
        if arguments.flag(name):
            raise RequestRejected(f"--workers and --{name} do not go together")
    return min(int(text), len(arguments.operands))


def spread(arguments: Arguments, workers: int, output: Output) -> int:
    """Verify all files with `workers` processes; returns the first exit code that is not 0."""
    from concurrent.futures import ThreadPoolExecutor

    options = [
        f"--{name}={value}" if value else f"--{name}"
        for name, values in arguments.values.items()
        if name not in _OURS
        for value in values
    ]
    # -P: what lies in the working directory is not imported.
    command = [sys.executable, "-P", "-m", "countermark", "verify", *options, "--"]
    results: list[Any] = []
    code = 0
    with ThreadPoolExecutor(workers) as pool:
        shares = _shares(arguments.operands, workers)
        runs = pool.map(lambda share: _run([*command, *share]), shares)
        for share, done in zip(shares, runs, strict=True):
            sys.stderr.write(done.stderr)
            if output.as_json:
                results += _results(share, done)
            else:
                sys.stdout.write(done.stdout)
                sys.stdout.flush()
            code = code or (done.returncode if done.returncode >= 0 else INTERNAL)
            if done.returncode < 0:
                print(f"{share[0]} …: NOT verified: the process ended", file=sys.stderr)
    output.result({"results": results})
    return code


def _shares(files: Sequence[str], count: int) -> list[Sequence[str]]:
    """The files in `count` runs of nearly the same length."""
    edges = [len(files) * number // count for number in range(count + 1)]
    return [files[start:end] for start, end in pairwise(edges)]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this very program
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"},
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )


def _results(share: Sequence[str], done: subprocess.CompletedProcess[str]) -> list[Any]:
    try:
        results: list[Any] = json.loads(done.stdout)["results"]
    except (ValueError, KeyError, TypeError):
        fault = {"code": "internal", "message": "the process ended", "hint": "", "exit": INTERNAL}
        return [{"file": name, "verified": False, "error": fault} for name in share]
    return results
