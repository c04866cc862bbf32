# SPDX-License-Identifier: Apache-2.0
"""Verifying beside sigstore-python and sigstore-js: the command, batches, loops, a large file.

Programs take turns and the median of the pairs' ratios is kept, since the machine is shared.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from bench.instance import EMAIL, Instance
from bench.measure import Row, cpu_per_call, spread
from bench.verify_peers import JS, PYTHON, Work, ours, sigstore_js, sigstore_python
from bench.verify_work import signed
from countermark import Identity, Item, TrustedRoot, Verifier

PAIRS = 15
BUNDLES = 1_000
BATCH = 100
ROUNDS = 7
MAX_MEMORY_MB = 45.0
LARGE_BYTES = 1 << 30
SCRIPTS = Path(sys.executable).parent
_PEER = "sigstore-python 4.5.1, --offline"


class _Run(NamedTuple):
    """Wall seconds and peak resident MB of one run of a command."""

    wall: float
    peak_mb: float


def _run(command: Sequence[str], environment: dict[str, str]) -> _Run:
    # A small parent of its own, so that the kernel's peak is this command's.
    code = (
        "import resource, subprocess, sys, time\n"
        "before = time.perf_counter()\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "taken = time.perf_counter() - before\n"
        "sys.stderr.write(done.stdout[-2000:] + done.stderr[-2000:] if done.returncode else '')\n"
        "print(taken, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(done.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr}")
    wall, peak = done.stdout.split()
    return _Run(float(wall), int(peak) * 1024 / 1e6)


def _in_turns(
    one: Callable[[], _Run], other: Callable[[], _Run], pairs: int
) -> tuple[list[_Run], list[_Run], float]:
    """Runs of both, after one of each that warms disk and byte code, and the median ratio."""
    one(), other()
    runs = [(one(), other()) for _ in range(pairs)]
    ratio = statistics.median(a.wall / b.wall for a, b in runs)
    return [a for a, _ in runs], [b for _, b in runs], ratio


class _Commands:
    """The two commands over the same files."""

    def __init__(self, running: Instance, issuer: str) -> None:
        self._environment = running.environment
        self._issuer = issuer
        self._config = running.home / "data/trust/trust_config.json"

    def ours(self, files: Sequence[Path], *options: str) -> _Run:
        who = ("--identity", EMAIL, "--issuer", self._issuer)
        command = (str(SCRIPTS / "countermark"), "verify", *who, *options, *map(str, files))
        return _run(command, self._environment)

    def theirs(self, files: Sequence[Path]) -> _Run:
        who = ("--cert-identity", EMAIL, "--cert-oidc-issuer", self._issuer)
        sigstore = (str(PYTHON / "sigstore"), "--trust-config", str(self._config))
        command = (*sigstore, "verify", "identity", "--offline", *who, *map(str, files))
        return _run(command, self._environment)

    def rows(self, files: Sequence[Path], pairs: int, *options: str) -> list[Row]:
        own, peer, ratio = _in_turns(
            lambda: self.ours(files, *options), lambda: self.theirs(files), pairs
        )
        many = "FILE" if len(files) == 1 else f"{len(files):,} files of one signer"
        name = " ".join((f"`countermark verify {many}`", *options))
        return [
            Row(
                f"{name}, wall time",
                statistics.median(run.wall for run in own),
                "s",
                spread([run.wall for run in own]),
                statistics.median(run.wall for run in peer),
                _PEER,
                {"ratio_of_pairs": round(ratio, 3), "pairs": pairs},
            ),
            Row(
                f"{name}, peak memory",
                max(run.peak_mb for run in own),
                "MB",
                0.0,
                max(run.peak_mb for run in peer),
                _PEER,
                {"budget_mb": MAX_MEMORY_MB} if len(files) == 1 else {},
            ),
        ]


def _large(commands: _Commands, running: Instance) -> list[Row]:
    file = running.home / "large"
    piece = os.urandom(1 << 20)
    with file.open("wb") as out:
        for _ in range(LARGE_BYTES >> 20):
            out.write(piece)
    sign = (str(SCRIPTS / "countermark"), "sign", "--email", EMAIL, str(file))
    subprocess.run(sign, env=running.environment, check=True, capture_output=True)
    hashing = (
        "import hashlib, sys\n"
        "with open(sys.argv[1], 'rb') as file: hashlib.file_digest(file, 'sha256')"
    )
    floor = (sys.executable, "-S", "-c", hashing, str(file))
    own, hashed, over = _in_turns(
        lambda: commands.ours([file]), lambda: _run(floor, running.environment), 3
    )
    peer = [commands.theirs([file]) for _ in range(2)]
    file.unlink()
    wall = statistics.median(run.wall for run in own)
    return [
        Row(
            "`countermark verify` of 1 GiB, wall time",
            wall,
            "s",
            spread([run.wall for run in own]),
            statistics.median(run.wall for run in hashed),
            "a process that only hashes it",
            {
                "ratio_of_pairs": round(over, 3),
                "sigstore-python": round(statistics.median(run.wall for run in peer), 2),
                "peak_mb": round(max(run.peak_mb for run in own), 1),
            },
        )
    ]


def _floor(p256: int, p384: int) -> float:
    """CPU seconds of so many ECDSA verifications, on each curve with its own hash."""
    total = 0.0
    for curve, algorithm, count in (
        (ec.SECP256R1(), SHA256(), p256),
        (ec.SECP384R1(), SHA384(), p384),
    ):
        key = ec.generate_private_key(curve)
        scheme = ec.ECDSA(algorithm)
        signature = key.sign(b"x" * 500, scheme)
        public = key.public_key()
        total += count * cpu_per_call(
            lambda p=public, s=signature, e=scheme: p.verify(s, b"x" * 500, e)  # type: ignore[misc]
        )
    return total


def _loops(what: str, work: Work, p256: int, p384: int) -> list[Row]:
    """Library loops of all three; the floor is timed between their rounds."""
    few = work._replace(files=work.files[:BATCH])
    with ExitStack() as stack:
        own = stack.enter_context(ours(work))
        python = stack.enter_context(sigstore_python(work))
        js = sigstore_js(few)
        script = None if js is None else stack.enter_context(js)
        rounds = [(own.round(), python.round(), _floor(p256, p384)) for _ in range(ROUNDS)]
        slow = [] if script is None else [script.round() for _ in range(2)]
    mine = [a for a, _, _ in rounds]
    value = statistics.median(mine)
    rows = [
        _loop_row(what, mine, statistics.median(c for _, _, c in rounds), "all signatures needed",
                  {"per_second": round(1 / value), "p256": p256, "p384": p384}),
        _loop_row(what, mine, statistics.median(b for _, b, _ in rounds), "sigstore-python 4.5.1",
                  {"times_faster": round(statistics.median(b / a for a, b, _ in rounds), 2)}),
    ]  # fmt: skip
    if slow:
        times = round(statistics.median(slow) / value, 1)
        rows.append(
            _loop_row(what, mine, statistics.median(slow), "sigstore-js 5.0.1",
                      {"times_faster": times, "its_bundles": BATCH})
        )  # fmt: skip
    return rows


def _loop_row(
    what: str, own: list[float], limit: float, name: str, detail: dict[str, float | int | str]
) -> Row:
    value = statistics.median(own)
    return Row(
        f"library verify, {what}, one core", value * 1e6, "µs CPU", spread(own) * 1e6,
        limit * 1e6, name, detail,
    )  # fmt: skip


def _spread_out(work: Work) -> Row:
    """`verify_many` with one and with two processes, wall time of a bundle."""
    verifier = Verifier(TrustedRoot.parse(work.root.read_bytes()))
    items = [
        Item(file.read_bytes(), Path(f"{file}.sigstore.json").read_bytes(),
             Identity(who, work.issuer))
        for file, who in work.files
    ] * 4  # fmt: skip

    def wall(workers: int) -> float:
        outcomes = verifier.verify_many(items, workers=workers)
        first = next(outcomes)  # processes have started
        before = time.perf_counter()
        assert all((first, *outcomes))
        return (time.perf_counter() - before) / len(items)

    wall(1)
    runs = [(wall(1), wall(2)) for _ in range(3)]
    two = [b for _, b in runs]
    return Row(
        f"verify_many of {len(items):,} bundles, two processes, wall time",
        statistics.median(two) * 1e6,
        "µs",
        spread(two) * 1e6,
        statistics.median(a for a, _ in runs) * 1e6,
        "one process",
        {
            "per_second": round(1 / statistics.median(two)),
            "times_faster": round(statistics.median(a / b for a, b in runs), 2),
        },
    )


def _imports(running: Instance) -> Row:
    environment = running.environment
    mine = (sys.executable, "-c", "from countermark import Identity, Verifier")
    python = (str(PYTHON / "python"), "-c", "from sigstore.verify import Verifier, policy")
    nothing = (sys.executable, "-c", "pass")
    node = (str(JS / ".bin/node"), "-e", f"require('{JS}/sigstore')")
    own, peer, ratio = _in_turns(
        lambda: _run(mine, environment), lambda: _run(python, environment), PAIRS
    )
    detail: dict[str, float | int | str] = {
        "ratio_of_pairs": round(ratio, 3),
        "bare_python": round(statistics.median(_run(nothing, environment).wall for _ in own), 3),
    }
    if Path(node[0]).exists():
        detail["sigstore-js"] = round(
            statistics.median(_run(node, environment).wall for _ in range(5)), 3
        )
    return Row(
        "importing the library, whole process",
        statistics.median(run.wall for run in own),
        "s",
        spread([run.wall for run in own]),
        statistics.median(run.wall for run in peer),
        "sigstore-python 4.5.1",
        detail,
    )


def run() -> list[Row]:
    """Every row about verification."""
    if not (PYTHON / "sigstore").exists():
        raise SystemExit("sigstore-python is not installed; run scripts/install-peers")
    with signed(BUNDLES) as (running, one, many):
        commands = _Commands(running, one.issuer)
        files = [file for file, _ in one.files]
        return [
            *commands.rows(files[:1], PAIRS),
            *commands.rows(files[:BATCH], 5),
            *commands.rows(files, 3),
            *commands.rows(files, 3, "--workers=2"),
            # Artifact, promise, checkpoint, timestamp, certificate and SCT; the intermediate and
            # the timestamp leaf under their P-384 roots. What bundles share is remembered.
            *_loops("one signer", one, 6, 2),
            *_loops("many signers", many, 6, 2),
            _spread_out(one),
            _imports(running),
            *_large(commands, running),
        ]
