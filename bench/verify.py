# SPDX-License-Identifier: Apache-2.0
"""`countermark verify` beside sigstore-python: one process, and many bundles in one process."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from bench.instance import EMAIL, Instance, instance
from bench.measure import Row, cpu_per_call, spread
from countermark import Identity, TrustedRoot, Verifier

PAIRS = 15
BUNDLES = 60
ROUNDS = 7
MAX_MEMORY_MB = 45.0
TOOLS = Path(os.environ.get("COUNTERMARK_TOOLS", Path.home() / ".cache/countermark-tools"))
PEER = TOOLS / "sigstore-python/bin"

# Runs in the peer's own virtual environment.
_PEER_LIBRARY = """
import json, sys, time
from pathlib import Path
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.verify import Verifier, policy
config, email, issuer, rounds, *files = sys.argv[1:]
trusted = ClientTrustConfig.from_json(Path(config).read_text()).trusted_root
verifier = Verifier(trusted_root=trusted)
identity = policy.Identity(identity=email, issuer=issuer)
work = [(Path(f).read_bytes(), Path(f + ".sigstore.json").read_bytes()) for f in files]
costs = []
for _ in range(int(rounds)):
    before = time.process_time()
    for artifact, bundle in work:
        verifier.verify_artifact(artifact, Bundle.from_json(bundle), identity)
    costs.append((time.process_time() - before) / len(work))
print(json.dumps(costs))
"""


def _sign(running: Instance, names: Sequence[str]) -> list[Path]:
    files = [running.home / name for name in names]
    for file in files:
        file.write_bytes(os.urandom(10_000))
    subprocess.run(
        [sys.executable, "-m", "countermark", "sign", "--email", EMAIL, *map(str, files)],
        env=running.environment,
        check=True,
        capture_output=True,
    )
    return files


def _wall(command: Sequence[str], environment: dict[str, str]) -> float:
    before = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - before
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return taken


def _peak_memory_mb(command: Sequence[str], environment: dict[str, str]) -> float:
    """Peak resident memory of one run, asked of the kernel by a small parent process."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, capture_output=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, *command],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout) * 1024 / 1e6


def _one_process(running: Instance, file: Path, config: Path, issuer: str) -> list[Row]:
    scripts = Path(sys.executable).parent
    ours = [
        *(str(scripts / "countermark"), "verify", str(file)),
        *("--identity", EMAIL, "--issuer", issuer),
    ]
    theirs = [
        *(str(PEER / "sigstore"), "--trust-config", str(config), "verify", "identity"),
        *("--offline", "--cert-identity", EMAIL, "--cert-oidc-issuer", issuer, str(file)),
    ]
    _wall(ours, running.environment)
    _wall(theirs, running.environment)  # warm disk and byte code for both
    pairs = [
        (_wall(ours, running.environment), _wall(theirs, running.environment)) for _ in range(PAIRS)
    ]
    own, peer = zip(*pairs, strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    return [
        Row(
            "`countermark verify FILE`, wall time",
            statistics.median(own),
            "s",
            spread(own),
            statistics.median(peer),
            "sigstore-python 4.5.1, --offline",
            {"ratio_of_pairs": round(ratio, 3), "pairs": PAIRS},
        ),
        Row(
            "`countermark verify FILE`, peak memory",
            _peak_memory_mb(ours, running.environment),
            "MB",
            0.0,
            _peak_memory_mb(theirs, running.environment),
            "sigstore-python 4.5.1, --offline",
            {"budget_mb": MAX_MEMORY_MB},
        ),
    ]


def _floor() -> float:
    """CPU seconds of the signatures behind one v1 bundle of ours that has a timestamp.

    Signed artifact, leaf certificate, SCT, SET, checkpoint and timestamp with P-256; the
    intermediate and the timestamp leaf under their P-384 roots.
    """
    total = 0.0
    for curve, algorithm, count in (
        (ec.SECP256R1(), SHA256(), 6),
        (ec.SECP384R1(), SHA384(), 2),
    ):
        key = ec.generate_private_key(curve)
        scheme = ec.ECDSA(algorithm)
        signature = key.sign(b"x" * 500, scheme)
        public = key.public_key()
        total += count * cpu_per_call(
            lambda p=public, s=signature, e=scheme: p.verify(s, b"x" * 500, e)  # type: ignore[misc]
        )
    return total


def _library(files: Sequence[Path], config: Path, issuer: str) -> list[Row]:
    root = json.loads(config.read_text())["trustedRoot"]
    trusted = TrustedRoot.parse(json.dumps(root).encode())
    work = [(f.read_bytes(), Path(f"{f}.sigstore.json").read_bytes()) for f in files]
    identity = Identity(EMAIL, issuer)
    cached = Verifier(trusted)
    warm: list[float] = []
    for _ in range(ROUNDS):
        before = time.process_time()
        for artifact, bundle in work:
            cached.verify(artifact, bundle, identity)
        warm.append((time.process_time() - before) / len(work))
    peer = subprocess.run(
        [
            *(str(PEER / "python"), "-c", _PEER_LIBRARY, str(config), EMAIL, issuer, str(ROUNDS)),
            *map(str, files),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    theirs = json.loads(peer.stdout.splitlines()[-1])
    own = statistics.median(warm)
    return [
        Row(
            "library verify, one signer's bundles, one core",
            own * 1e6,
            "µs CPU",
            spread(warm) * 1e6,
            _floor() * 1e6,
            "every signature of the procedure",
            {"per_second": round(1 / own)},
        ),
        Row(
            "library verify, one signer's bundles, one core",
            own * 1e6,
            "µs CPU",
            spread(warm) * 1e6,
            statistics.median(theirs) * 1e6,
            "sigstore-python 4.5.1",
            {"times_faster": round(statistics.median(theirs) / own, 1)},
        ),
    ]


def run() -> list[Row]:
    """Every row about verification."""
    if not (PEER / "sigstore").exists():
        raise SystemExit("sigstore-python is not installed; run scripts/install-peers")
    with instance() as running:
        files = _sign(running, [f"artifact-{number}.bin" for number in range(BUNDLES)])
        config = running.home / "data/trust/trust_config.json"
        issuer = f"http://localhost:{running.port}/oidc"
        return _one_process(running, files[0], config, issuer) + _library(files, config, issuer)
