# SPDX-License-Identifier: Apache-2.0
"""What `countermark verify FILE` imports when it compares with a remembered signer."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.meta.test_lean_imports import FORBIDDEN, OURS, SCRIPT
from tests.support.forge import ARTIFACT, Forge

# What it takes besides the rest of `verify`.
MORE = {
    "countermark.cli.verify_who", "countermark.client.remembered", "countermark.core.policy",
    "countermark.core.policy.same_signer", "countermark.core.policy.versions",
    "countermark.core.verify.claims",
}  # fmt: skip


def test_a_remembered_signer_costs_little_to_import(tmp_path: Path) -> None:
    forge = Forge()
    (tmp_path / "app-1.0.tgz").write_bytes(ARTIFACT)
    (tmp_path / "app-1.0.tgz.sigstore.json").write_bytes(forge.bundle().serialize())
    (tmp_path / "root.json").write_bytes(forge.trusted_root().serialize())
    arguments = ["verify", "app-1.0.tgz", "--trusted-root", "root.json"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments, *more],
            cwd=tmp_path,
            env={**os.environ, "COUNTERMARK_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("--trust-first-use").returncode == 0
    done = run()
    assert done.returncode == 0, done.stderr
    assert "same signer as before" in done.stdout
    imported = set(json.loads(done.stderr))
    assert not {name for name in imported if name.split(".")[0] in FORBIDDEN or name in FORBIDDEN}
    ours = {name for name in imported if name.partition(".")[0] == "countermark"}
    assert ours - OURS == MORE
