# SPDX-License-Identifier: Apache-2.0
"""A real instance to measure, and ready-made signed requests for it."""

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

EMAIL = "bench@example.com"


@dataclass(frozen=True, slots=True)
class Instance:
    """A running `countermark up`."""

    process: subprocess.Popen[bytes]
    port: int
    home: Path
    ready_s: float

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to find it."""
        return _environment(self.home)

    def token(self) -> str:
        """An identity token of its development login."""
        command = [
            *(sys.executable, "-m", "countermark", "login"),
            *("--email", EMAIL, "--print-token"),
        ]
        done = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


@contextmanager
def instance(
    data: Path | None = None, port: int = 0, source: Path | None = None
) -> Iterator[Instance]:
    """Start one on `port`, or a free one; `data` is kept if given.

    `source` is a folder that holds another version of the package than the installed one.
    """
    home = Path(tempfile.mkdtemp(prefix="countermark-bench-"))
    port = port or free_port()
    directory = data or home / "data"
    environment = _environment(home)
    if source is not None:
        environment["PYTHONPATH"] = str(source)
    before = time.perf_counter()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "countermark", "up"),
            *("--data", str(directory), "--port", str(port)),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=(home / "log").open("wb"),
    )
    try:
        _wait_ready(process, port, home)
        yield Instance(process, port, home, time.perf_counter() - before)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(home: Path) -> dict[str, str]:
    """That of this process, but with compiled modules kept: without, each start compiles anew."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "COUNTERMARK_HOME": str(home / "home")}


def _wait_ready(process: subprocess.Popen[bytes], port: int, home: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.01)
    raise SystemExit(f"the instance did not start:\n{(home / 'log').read_text()}")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A P-256 key and the PEM that verifies its signatures: its own, or a certificate."""

    key: ec.EllipticCurvePrivateKey
    verifier_pem: bytes


def new_keys(count: int) -> list[SigningKey]:
    """Fresh plain keys."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(count)]
    return [SigningKey(key, public_pem(key)) for key in keys]


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PEM SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hashedrekord(signer: SigningKey, number: int) -> bytes:
    """The body of a POST of one hashedrekord over a distinct artifact."""
    artifact = b"artifact %d of %d" % (number, time.time_ns())
    signature = signer.key.sign(artifact, ec.ECDSA(SHA256()))
    digest = hashlib.sha256(artifact).hexdigest()
    return json.dumps(
        {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": digest}},
                "signature": {
                    "content": base64.b64encode(signature).decode(),
                    "publicKey": {"content": base64.b64encode(signer.verifier_pem).decode()},
                },
            },
        }
    ).encode()


def signing_cert_requests(token: str, keys: Sequence[SigningKey]) -> list[bytes]:
    """Bodies of POSTs to /api/v2/signingCert, each with a proof of possession."""
    return [
        json.dumps(
            {
                "credentials": {"oidcIdentityToken": token},
                "publicKeyRequest": {
                    "publicKey": {"algorithm": "ECDSA", "content": signer.verifier_pem.decode()},
                    "proofOfPossession": base64.b64encode(
                        signer.key.sign(EMAIL.encode(), ec.ECDSA(SHA256()))
                    ).decode(),
                },
            }
        ).encode()
        for signer in keys
    ]
