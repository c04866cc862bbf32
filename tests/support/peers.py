# SPDX-License-Identifier: Apache-2.0
"""Real clients that nobody here wrote, and our side of an exchange with them."""

import base64
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.matrix import Kind
from tests.support.running import Done, Running

ADA, BOB = "ada@example.org", "bob@example.org"
TOOLS = Path(os.environ.get("COUNTERMARK_TOOLS") or Path.home() / ".cache/countermark-tools")
STATEMENT_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "https://example.org/predicate/v1"


class Did(Protocol):
    """Says what a client did, for the page of all clients."""

    def __call__(self, kind: Kind, *whats: str) -> None: ...


Recorder = Callable[[str, str], Did]


def installed(*path: str) -> str:
    """A program that scripts/install-peers installed; skips the test without it."""
    program = TOOLS.joinpath(*path)
    if not program.exists():
        pytest.skip(f"{'/'.join(path)} is not there: run scripts/install-peers")
    return str(program)


def on_path(name: str) -> str:
    """A program of the system; skips the test without it."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not there")
    return program


@dataclass(frozen=True)
class Ours:
    """The `countermark` command, signing as Ada with a running instance."""

    instance: Running
    folder: Path

    @property
    def trust(self) -> Path:
        return self.instance.data / "trust"

    @property
    def trusted_root(self) -> str:
        return str(self.trust / "trusted_root.json")

    @property
    def signing_config(self) -> str:
        return str(self.trust / "signing_config.v0.2.json")

    @property
    def tuf(self) -> tuple[str, str]:
        """The repository's address and the root file to start from."""
        return f"{self.instance.url}/tuf", str(self.instance.data / "tuf" / "1.root.json")

    def token(self) -> str:
        """A token that says Ada; shared by what is signed within a minute."""
        return _token(self.instance, int(time.time() / 60))

    def file(self, text: str = "some release\n", name: str = "file") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def sign(self, file: Path) -> Path:
        """Sign a file; returns its bundle."""
        done = self.instance.countermark("sign", "--email", ADA, str(file))
        assert done.code == 0, done.err
        return Path(f"{file}.sigstore.json")

    def statement(self, file: Path) -> Path:
        """An in-toto statement about a file."""
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": file.name, "digest": {"sha256": sha256(file)}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"é": "🔏", "builder": "example"},
        }
        path = Path(f"{file}.statement.json")
        path.write_text(json.dumps(statement, ensure_ascii=False))
        return path

    def attest(self, file: Path) -> Path:
        """Sign a statement about a file; returns its bundle."""
        bundle = Path(f"{file}.statement.sigstore.json")
        done = self.instance.conformance(
            *("sign-bundle", "--in-toto", "--identity-token", self.token()),
            *("--bundle", str(bundle), "--trusted-root", self.trusted_root),
            *("--signing-config", self.signing_config, str(self.statement(file))),
        )
        assert done.code == 0, done.err
        return bundle

    def verify(self, file: Path, bundle: Path, *, identity: str = ADA) -> Done:
        return self.instance.countermark(
            *("verify", "--json", "--identity", identity, "--issuer", self.instance.issuer),
            *("--bundle", str(bundle), str(file)),
        )

    def believes(self, file: Path, bundle: Path, *, timestamp: bool = True) -> None:
        """Assert that we verify what somebody signed as Ada, and nothing else."""
        done = self.verify(file, bundle)
        assert done.code == 0, done.out + done.err
        (result,) = done.json["results"]
        assert (result["verified"], result["identity"]) == (True, ADA)
        checks = {check["check"] for check in result["checks"]}
        wanted = {"promise", "certificate", "sct", "inclusion", "entry", "signature", "identity"}
        assert checks >= wanted | ({"timestamp"} if timestamp else set())
        assert self.verify(file, bundle, identity=BOB).code == 1
        other = self.file("another release\n", "another")
        assert self.verify(other, bundle).code == 1


@lru_cache(maxsize=4)
def _token(instance: Running, minute: int) -> str:
    return instance.token(ADA)


def sha256(file: Path) -> str:
    """A file's digest in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def with_other_signature(bundle: Path, other: Path) -> Path:
    """`bundle` with the signature of another one, all else as it was."""
    data, others = json.loads(bundle.read_text()), json.loads(other.read_text())
    data["messageSignature"]["signature"] = others["messageSignature"]["signature"]
    return _written(bundle, data)


def with_other_statement(bundle: Path) -> Path:
    """`bundle` with another predicate in the statement than was signed."""
    data = json.loads(bundle.read_text())
    envelope = data["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"] = {"builder": "somebody else"}
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return _written(bundle, data)


def without_promise(bundle: Path) -> Path:
    """`bundle` with the entry of the log taken out."""
    data = json.loads(bundle.read_text())
    data["verificationMaterial"]["tlogEntries"] = []
    return _written(bundle, data)


def _written(beside: Path, data: Any) -> Path:
    path = beside.with_name("changed-" + beside.name)
    path.write_text(json.dumps(data))
    return path
