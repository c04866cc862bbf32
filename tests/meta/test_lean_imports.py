# SPDX-License-Identifier: Apache-2.0
"""What `countermark verify` imports: the list is the budget of its start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge

# Everything that was ever found to be slow or out of place on this path.
FORBIDDEN = (
    "argparse", "asyncio", "click", "concurrent", "cryptography.hazmat.backends",
    "cryptography.hazmat.primitives.serialization", "cryptography.x509", "ctypes", "dataclasses",
    "email", "http", "importlib.metadata", "importlib.resources", "inspect", "jinja2", "logging",
    "msgspec", "pathlib", "random", "rich", "rocksdict", "secrets", "socket", "ssl", "starlette",
    "subprocess", "tempfile", "tuf", "typing_extensions", "urllib", "urllib3", "uvicorn",
    "zipfile", "_strptime",
)  # fmt: skip
# The whole of what we import ourselves. A new name here costs every start: measure it first.
OURS = {
    "countermark", "countermark.cli", "countermark.cli.arguments", "countermark.cli.entry",
    "countermark.cli.exits", "countermark.cli.expected", "countermark.cli.output",
    "countermark.cli.verify_command",
    "countermark.client", "countermark.client.instances", "countermark.client.last_seen",
    "countermark.client.verify",
    "countermark.core", "countermark.core.bundle", "countermark.core.bundle.bundle",
    "countermark.core.bundle.protojson", "countermark.core.bundle.trusted_root",
    "countermark.core.crypto", "countermark.core.crypto.certificate",
    "countermark.core.crypto.chain", "countermark.core.crypto.der", "countermark.core.crypto.keys",
    "countermark.core.ct", "countermark.core.ct.sct", "countermark.core.encoding",
    "countermark.core.errors", "countermark.core.intoto", "countermark.core.intoto.envelope",
    "countermark.core.intoto.statement", "countermark.core.rekor",
    "countermark.core.rekor.set_payload", "countermark.core.tlog",
    "countermark.core.tlog.checkpoint", "countermark.core.tlog.merkle",
    "countermark.core.tlog.note", "countermark.core.tsp", "countermark.core.tsp.response",
    "countermark.core.tsp.verify", "countermark.core.verify", "countermark.core.verify.artifact",
    "countermark.core.verify.body", "countermark.core.verify.content",
    "countermark.core.verify.evidence", "countermark.core.verify.log_entry",
    "countermark.core.verify.managed_key", "countermark.core.verify.policy",
    "countermark.core.verify.recorded", "countermark.core.verify.signer",
    "countermark.core.verify.signer_chain", "countermark.core.verify.verifier",
    "countermark.core.verify.words",
}  # fmt: skip
# Runs the command as its entry point does, and then tells what it had to import.
SCRIPT = """
import sys
before = set(sys.modules)
sys.argv = ["countermark", *sys.argv[1:]]
from countermark.cli.entry import main
code = main()
import json
print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module", params=["v1", "v2"])
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Modules imported by a verification that succeeds."""
    folder: Path = tmp_path_factory.mktemp("lean")
    forge = Forge()
    (folder / "file").write_bytes(ARTIFACT)
    (folder / "file.sigstore.json").write_bytes(forge.bundle(log=request.param).serialize())
    (folder / "root.json").write_bytes(forge.trusted_root().serialize())
    arguments = ["verify", "file", "--identity", NAME, "--issuer", ISSUER]
    arguments += ["--trusted-root", "root.json"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=folder,
        env={**os.environ, "COUNTERMARK_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stdout
    return set(json.loads(done.stderr))


def test_nothing_slow_is_imported(imported: set[str]) -> None:
    found = {
        name
        for name in imported
        for forbidden in FORBIDDEN
        if name == forbidden or name.startswith(f"{forbidden}.")
    }
    assert not found


def test_nothing_of_ours_is_imported_that_is_not_listed(imported: set[str]) -> None:
    ours = {name for name in imported if name.partition(".")[0] == "countermark"}
    assert ours == OURS
