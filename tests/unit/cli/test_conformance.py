# SPDX-License-Identifier: Apache-2.0
"""The conformance suite's client protocol, on its own cases where they are beside the clone."""

import hashlib
from pathlib import Path

import pytest

from countermark.cli.conformance import run
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge
from tests.support.vectors import BEACON, GITHUB, case_names, vectors


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))


@pytest.mark.vectors
@pytest.mark.parametrize("name", case_names("bundle-verify"))
def test_cases(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vectors("bundle-verify", name)
    monkeypatch.chdir(folder)
    artifact = Path("artifact") if Path("artifact").exists() else Path("..", "a.txt")
    digest = f"sha256:{hashlib.sha256(artifact.read_bytes()).hexdigest()}"
    arguments = ["verify-bundle", "--bundle", "bundle.sigstore.json"]
    if Path("key.pub").exists():
        arguments += ["--key", "key.pub"]
    else:
        for flag, file, default in (
            ("--certificate-identity", "identity", BEACON),
            ("--certificate-oidc-issuer", "issuer", GITHUB),
        ):
            given = Path(file)
            arguments += [flag, given.read_text().strip() if given.exists() else default]
    if Path("trusted_root.json").exists():
        arguments += ["--trusted-root", "trusted_root.json"]
    for operand in (str(artifact), digest):
        assert (run([*arguments, operand]) != 0) == name.endswith("_fail")


def test_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge = Forge()
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(ARTIFACT)
    Path("bundle").write_bytes(forge.bundle().serialize())
    Path("root").write_bytes(forge.trusted_root().serialize())
    who = ["--certificate-identity", NAME, "--certificate-oidc-issuer", ISSUER]
    good = ["verify-bundle", "--bundle", "bundle", *who, "--trusted-root", "root", "file"]
    assert run(good) == 0
    assert run(["verify-bundle", "--staging", "--bundle", "bundle", *who, "file"]) == 1
    assert run(["verify-bundle", "--bundle", "bundle", "--trusted-root", "root", "file"]) == 2
    assert run([*good, "file"]) == 2
    assert run([*good[:-1], "absent"]) == 11
    assert run([]) == 2
    assert run(["sign"]) == 2
