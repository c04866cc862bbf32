# SPDX-License-Identifier: Apache-2.0
"""`countermark verify --workers`: the same words and codes, from several processes."""

import json
import subprocess
from pathlib import Path

import pytest

from countermark.cli import verify_workers
from countermark.cli.verify_command import run
from countermark.client.instances import record_instance
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge

FORGE = Forge()
BUNDLE = FORGE.bundle().serialize()  # one: a forge's trees are all of the same size
WHO = ("--identity", NAME, "--issuer", ISSUER)
FILES = ("good", "changed", "also good", "unsigned", "-odd", "torn", "last")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    record_instance(
        "http://localhost:7446",
        "",
        trusted_root_json=FORGE.trusted_root().serialize(),
        signing_config_json=b"{}",
        tuf_root_json=b"{}",
    )
    for name in FILES:
        Path(name).write_bytes(ARTIFACT)
        Path(f"{name}.sigstore.json").write_bytes(BUNDLE)
    Path("changed").write_bytes(b"something else")
    Path("unsigned.sigstore.json").unlink()
    Path("torn.sigstore.json").write_bytes(b"{")
    return tmp_path


def _said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run([*WHO, *arguments, "--", *FILES])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("workers", ["2", "3", "200"])
def test_nothing_differs_but_the_time(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    alone = _said(capsys)
    assert alone[0] == 1
    assert alone[1].count(": verified, signed by") == 4
    assert _said(capsys, "--workers", workers) == alone


def test_results_for_programs_are_joined(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _said(capsys, "--json", "--workers=3")
    results = json.loads(out)["results"]
    assert [result["file"] for result in results] == list(FILES)
    assert [result["verified"] for result in results] == [
        True, False, True, False, True, False, True,
    ]  # fmt: skip
    assert (code, json.loads(out)) == (1, json.loads(_said(capsys, "--json")[1]))


def test_a_folder_cannot_bring_the_program_along(capsys: pytest.CaptureFixture[str]) -> None:
    Path("countermark").mkdir()
    Path("countermark/__init__.py").write_text("raise SystemExit(0)")
    assert _said(capsys, "--workers", "2") == _said(capsys)


def test_a_process_that_dies_has_verified_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, -9, "", "")

    monkeypatch.setattr(verify_workers, "_run", dies)
    code, out, err = _said(capsys, "--workers", "2", "--json")
    results = json.loads(out)["results"]
    assert code == 70
    assert [(result["file"], result["verified"]) for result in results] == [
        (name, False) for name in FILES
    ]
    assert "NOT verified: the process ended" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workers", "0"), ("--workers", "-1"), ("--workers", "two"), ("--workers", "9999999999"),
        ("--workers", "٢"), ("--workers=",), ("--workers", "2", "--online"),
        ("--workers", "2", "--workers", "3"),
    ],
)  # fmt: skip
def test_refused(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*WHO, *arguments, "good", "last"]) == 2
    assert capsys.readouterr().err
