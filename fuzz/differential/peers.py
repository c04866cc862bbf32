# SPDX-License-Identifier: Apache-2.0
"""sigstore-python and sigstore-js as long-lived processes that answer a line of JSON with one."""

import json
import os
import selectors
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import NamedTuple, Self

_TIMEOUT_S = 60.0
_HERE = Path(__file__).parent

# Runs in the peer's own virtual environment; says of a bundle what its command would say.
_PYTHON = """
import base64, io, json, logging, sys
from pathlib import Path
from sigstore import dsse
from sigstore._utils import sha256_digest
from sigstore.errors import Error, VerificationError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy

logging.disable(logging.CRITICAL)
verifiers = {}

def verify(asked):
    path = asked["root"]
    if path not in verifiers:
        verifiers[path] = Verifier(trusted_root=TrustedRoot.from_file(path))
    verifier = verifiers[path]
    identity = policy.Identity(identity=asked["san"], issuer=asked["issuer"])
    bundle = Bundle.from_json(base64.b64decode(asked["bundle"]))
    hashed = sha256_digest(io.BytesIO(base64.b64decode(asked["artifact"])))
    if not bundle._dsse_envelope:
        verifier.verify_artifact(hashed, bundle, identity)
        return
    kind, payload = verifier.verify_dsse(bundle=bundle, policy=identity)
    if kind != dsse.Envelope._TYPE:
        raise VerificationError("expected JSON payload for DSSE")
    if not dsse.Statement(payload)._matches_digest(hashed):
        raise VerificationError("in-toto statement has no subject for digest")

for line in sys.stdin:
    reply = {"ok": True}
    try:
        verify(json.loads(line))
    except BaseException as error:
        reply = {"ok": False, "kind": type(error).__name__, "why": str(error)[:400]}
    print(json.dumps(reply), flush=True)
"""


class Verdict(NamedTuple):
    """What a program says of a bundle: accepted, or refused and why (kind and words)."""

    ok: bool
    kind: str = ""
    why: str = ""


class Question(NamedTuple):
    """One bundle to judge.

    Attributes:
        bundle: its bytes, JSON or not.
        artifact: what it is said to be about.
        root: path of the trusted root's file.
        san, issuer: whom to expect.
        key: PEM of the managed key to expect instead; empty for a certified identity.
    """

    bundle: bytes
    artifact: bytes
    root: str
    san: str
    issuer: str
    key: str = ""

    def to_line(self) -> bytes:
        """As the peers read it."""
        fields = {
            "bundle": b64encode(self.bundle).decode("ascii"),
            "artifact": b64encode(self.artifact).decode("ascii"),
            "root": self.root,
            "san": self.san,
            "issuer": self.issuer,
            "key": self.key,
        }
        return json.dumps(fields).encode("ascii") + b"\n"


class Peer:
    """One program, started when it is first asked and again should it end."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, question: Question) -> Verdict:
        """Its verdict; a crash or silence is a refusal of kind ``died``."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(question.to_line())
            process.stdin.flush()
            line = self._line(process)
        except BrokenPipeError:
            line = b""
        if not line:
            self.close()
            return Verdict(False, "died", "no answer")
        return Verdict(**json.loads(line))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
            )
        return self._process

    @staticmethod
    def _line(process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            return process.stdout.readline() if waiting.select(_TIMEOUT_S) else b""


def tools() -> Path:
    """Where scripts/install-peers puts its programs."""
    return Path(os.environ.get("COUNTERMARK_TOOLS") or Path.home() / ".cache/countermark-tools")


def sigstore_python() -> Peer | None:
    """sigstore-python, None if it is not installed."""
    python = tools() / "sigstore-python/bin/python"
    if not python.exists():
        return None
    return Peer("sigstore-python", [str(python), "-c", _PYTHON], {"PATH": os.defpath})


def sigstore_js() -> Peer | None:
    """sigstore-js, None if it is not installed."""
    folder = tools() / "sigstore-js/node_modules"
    node = folder / ".bin/node"
    if not node.exists() or shutil.which(str(node)) is None:
        return None
    environment = {"PATH": os.defpath, "NODE_PATH": str(folder)}
    return Peer("sigstore-js", [str(node), str(_HERE / "sigstore_js.cjs")], environment)
