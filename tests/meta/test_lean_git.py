# SPDX-License-Identifier: Apache-2.0
"""What `git verify-commit` and `countermark git verify` import: a history is many of them."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from countermark.core.cms.write import git_signature
from tests.meta.test_lean_imports import FORBIDDEN
from tests.support.cms import attributes, bundle
from tests.support.forge import ISSUER, NAME, Forge
from tests.support.peers import on_path

HEAD = (
    "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
    "author A <a@example.org> 1772600767 +0000\ncommitter A <a@example.org> 1772600767 +0000\n"
)
MESSAGE = "\nmade by hand\n"
# Git itself is run, which `verify` has no need to do.
NEEDED = {"subprocess", "selectors"}
SCRIPT = """
import sys
before = set(sys.modules)
program, sys.argv = sys.argv[1], sys.argv[1:]
if program == "countermark-git":
    from countermark.cli.git_program import main
else:
    from countermark.cli.entry import main
code = main()
import json
print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one signed commit, and the same as Git would hand it over."""
    folder = tmp_path_factory.mktemp("lean")
    forge = Forge()
    payload = (HEAD + MESSAGE).encode()
    attrs = attributes(payload)
    armoured = git_signature(attrs, bundle(forge, attrs))
    commit = f"{HEAD}gpgsig {armoured.rstrip().replace(chr(10), chr(10) + ' ')}\n{MESSAGE}"
    (folder / "payload").write_bytes(payload)
    (folder / "signature").write_text(armoured)
    (folder / "root.json").write_bytes(forge.trusted_root().serialize())

    def git(*arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [on_path("git"), *arguments], cwd=folder, input=stdin, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    git("init", "--quiet")
    oid = git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=commit)
    git("update-ref", "HEAD", oid)
    for key, value in (
        ("identity", NAME),
        ("issuer", ISSUER),
        ("trustedRoot", str(folder / "root.json")),
    ):
        git("config", f"countermark.{key}", value)
    assert hashlib.sha1(f"commit {len(commit)}\0{commit}".encode()).hexdigest() == oid
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["countermark", "git", "verify"],
        ["countermark-git", "--status-fd=1", "--verify", "signature", "-"],
    ],
)
def test_nothing_slow_is_imported(signed: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command],
        cwd=signed,
        env={**os.environ, "COUNTERMARK_HOME": str(signed)},
        input=(signed / "payload").read_text(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stdout or "TRUST_FULLY" in done.stdout
    imported = set(json.loads(done.stderr.splitlines()[-1])) - NEEDED
    found = {
        name
        for name in imported
        for forbidden in FORBIDDEN
        if name == forbidden or name.startswith(f"{forbidden}.")
    }
    assert not found
    ours = {name for name in imported if name.startswith("countermark.")}
    assert not {name for name in ours if name.startswith(("countermark.client.credential",))}
    assert len(ours) < 70
