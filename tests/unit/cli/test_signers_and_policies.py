# SPDX-License-Identifier: Apache-2.0
"""`countermark signers`, `policy` and `continuity`: what they say, and with which exit code."""

import itertools
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from countermark.cli.main import run
from countermark.cli.verify_command import run as verify
from countermark.client.instances import record_instance
from countermark.core.policy.document import PolicyDocument
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge
from tests.support.made_certificates import NOW, fulcio, utf8

FORGE = Forge()
URL = "http://localhost:7446"
SIZES = itertools.count(7)
EVE = x509.RFC822Name("eve@example.org")
WORKFLOW = "https://github.com/octo/app/.github/workflows/release.yml@refs/tags/v1"
BUILD: dict[str, Any] = {
    "name": x509.UniformResourceIdentifier(WORKFLOW),
    "issuer": "https://token.actions.githubusercontent.com",
    "extensions": tuple(
        (fulcio(number, utf8(text)), False)
        for number, text in (
            (9, WORKFLOW),
            (12, "https://github.com/octo/app"),
            (14, "refs/tags/v1"),
            (15, "1001"),
            (17, "77"),
            (18, WORKFLOW),
        )
    ),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    for name in ("INSTANCE", "URL", "TRUSTED_ROOT", "TRUST_CONFIG"):
        monkeypatch.delenv(f"COUNTERMARK_{name}", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    record_instance(
        URL,
        "",
        trusted_root_json=FORGE.trusted_root().serialize(),
        signing_config_json=b"{}",
        tuf_root_json=b"{}",
    )
    return tmp_path


def sign(file: str, forge: Forge = FORGE, /, **changes: Any) -> str:
    """A file of that name with its bundle beside it; the log grows with each."""
    Path(file).write_bytes(ARTIFACT)
    bundle = forge.bundle(**{"tree_size": next(SIZES), **changes})
    Path(f"{file}.sigstore.json").write_bytes(bundle.serialize())
    return file


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    capsys.readouterr()
    run([*argv, "--json"])
    return json.loads(capsys.readouterr().out)


# --- signers -------------------------------------------------------------------------------------


def test_signers_are_listed_shown_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(["--trust-first-use", sign("app-1.tgz"), sign("ci-1.tgz", **BUILD)]) == 0
    capsys.readouterr()
    assert run(["signers", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"app-*.tgz: {NAME} ({ISSUER}), since 20")
    assert len(lines) == 2
    (app, build) = told(capsys, "signers", "list")["signers"]
    assert (app["name"], app["identity"], app["root"], app["file"]) == (
        *("app-*.tgz", NAME, URL, "app-1.tgz"),
    )
    assert build["marks"]["repository id"] == "1001"
    assert run(["signers", "show", "ci-*.tgz"]) == 0
    assert "source-repository-identifier: 1001" in capsys.readouterr().out
    assert run(["signers", "forget", "app-*.tgz"]) == 0
    assert run(["signers", "forget", "app-*.tgz"]) == 11
    assert run(["signers", "show", "app-*.tgz"]) == 11
    assert verify(["app-1.tgz"]) == 1
    assert verify(["ci-1.tgz"]) == 0


def test_what_is_shown_is_a_policy_for_the_same_files(capsys: pytest.CaptureFixture[str]) -> None:
    sign("app-1.tgz")
    sign("ci-1.tgz", **BUILD)
    sign("odd*name\\")
    assert verify(["--trust-first-use", "app-1.tgz", "ci-1.tgz", "odd*name\\"]) == 0
    text = "version = 1\n"
    for name in ("app-*.tgz", "ci-*.tgz", "odd*name\\"):
        capsys.readouterr()
        assert run(["signers", "show", name]) == 0
        shown = capsys.readouterr().out
        text += shown[shown.index("[[artifact]]") :]
    Path("policy.toml").write_text(text)
    assert verify(["--policy", "policy.toml", "app-1.tgz", "ci-1.tgz", "odd*name\\"]) == 0
    document = PolicyDocument.parse(text.encode())
    assert document.rule_for("app-2.tgz") == document.rules[0]
    assert verify(["--policy", "policy.toml", sign("app-2.tgz", name=EVE)]) == 1
    assert verify(["--policy", "policy.toml", sign("oddXname\\")]) == 1


def test_damaged_records_are_errors_and_can_be_forgotten(folder: Path) -> None:
    assert verify(["--trust-first-use", sign("app-1.tgz")]) == 0
    (path,) = (folder / "home" / "signers").iterdir()
    path.write_bytes(b"{")
    assert run(["signers", "list"]) == 65
    assert run(["signers", "show", "app-*.tgz"]) == 65
    assert run(["signers", "forget", "app-*.tgz"]) == 0
    assert run(["signers", "list"]) == 0


# --- policies ------------------------------------------------------------------------------------

POLICY = """
version = 1

[thresholds]
times = 2

[[artifact]]
files = ["app-*"]

[[artifact.any]]
identity-regex = ".+@example[.]org"
issuer = "https://accounts.example.org"

[[artifact.any]]
issuer = "https://token.actions.githubusercontent.com"
repository = "octo/app"
ref = { regex = "refs/tags/v[0-9.]+" }

[[artifact]]
files = "*.txt"
keys = [{ file = "key.pem" }]
"""


def test_a_policy_is_shown_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    Path("policy.toml").write_text(POLICY)
    assert run(["policy", "show", "policy.toml"]) == 0
    said = capsys.readouterr().out
    for part in (
        *("files      app-*", "times 2, logs 1, scts 1", "any of", "all of", "key      key.pem"),
        *("a name like .+@example[.]org", "repository octo/app", "ref like refs/tags/v[0-9.]+"),
    ):
        assert part in said
    assert run(["policy", "show", "policy.toml", "a.txt"]) == 0
    assert "octo/app" not in capsys.readouterr().out
    assert run(["policy", "show", "policy.toml", "a.zip"]) == 1
    (rule,) = told(capsys, "policy", "show", "policy.toml", "a.txt")["rules"]
    assert rule["keys"] == ["key.pem"]


def test_a_policy_is_checked_with_what_it_refers_to(capsys: pytest.CaptureFixture[str]) -> None:
    Path("policy.toml").write_text(POLICY)
    assert run(["policy", "check", "policy.toml"]) == 11
    assert "no file key.pem" in capsys.readouterr().err
    Path("key.pem").write_text("no key")
    assert run(["policy", "check", "policy.toml"]) == 65
    from tests.support.made_certificates import public_pem

    Path("key.pem").write_bytes(public_pem(FORGE.log_key))
    assert run(["policy", "check", "policy.toml", "app-1", "a.txt"]) == 0
    assert run(["policy", "check", "policy.toml", "other"]) == 1
    assert run(["policy", "check", "absent"]) == 11
    assert run(["policy", "check", "."]) == 2
    Path("policy.toml").write_text(POLICY.replace("files =", "file ="))
    capsys.readouterr()
    assert run(["policy", "check", "policy.toml"]) == 65
    assert "artifact[1].file is not known here (did you mean files?)" in capsys.readouterr().err


# --- continuity ----------------------------------------------------------------------------------

LEFT_OUT = "nothing here shows that no release was left out"


def test_releases_are_shown_in_order_of_proven_time(capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        sign(f"app-{number}.tgz", made_at=NOW + timedelta(days=-number)) for number in (1, 2, 3)
    ]
    assert run(["continuity", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines[:3]] == ["app-3.tgz", "app-2.tgz", "app-1.tgz"]
    assert lines[3] == "one signer of all 3"
    assert LEFT_OUT in lines[4]
    tree = told(capsys, "continuity", *names)
    assert [row["file"] for row in tree["releases"]] == ["app-3.tgz", "app-2.tgz", "app-1.tgz"]
    assert [row.get("same") for row in tree["releases"]] == [None, True, True]
    assert tree["complete"] == {"shown": False, "chained": False, "mirrorSearched": False}


def test_a_change_between_releases_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        sign("app-1.tgz", made_at=NOW),
        sign("app-2.tgz", made_at=NOW + timedelta(days=1), name=EVE),
        sign("app-3.tgz", made_at=NOW + timedelta(days=2)),
    ]
    assert run(["continuity", *names]) == 1
    said = capsys.readouterr().out
    assert f"CHANGED: identity was {NAME}, now eve@example.org" in said
    assert "the signer changed 2 times" in said
    assert LEFT_OUT in said
    assert told(capsys, "continuity", *names)["changes"] == 2


def test_renames_are_told_and_no_change(capsys: pytest.CaptureFixture[str]) -> None:
    later = WORKFLOW.replace("octo/app", "octo/new")
    values = ((9, later), (12, "https://github.com/octo/new"), (14, "refs/tags/v1"), (15, "1001"))
    renamed = tuple(
        (fulcio(number, utf8(text)), False) for number, text in (*values, (17, "77"), (18, later))
    )
    sign("app-1.tgz", **BUILD)
    changes = {**BUILD, "extensions": renamed, "name": x509.UniformResourceIdentifier(later)}
    sign("app-2.tgz", made_at=NOW + timedelta(days=1), **changes)
    assert run(["continuity", "app-1.tgz", "app-2.tgz"]) == 0
    assert "(renamed: its id is the same)" in capsys.readouterr().out


def test_what_does_not_hold_is_no_release(capsys: pytest.CaptureFixture[str]) -> None:
    sign("app-1.tgz")
    Path(sign("app-2.tgz")).write_bytes(b"tampered")
    assert run(["continuity", "app-1.tgz", "app-2.tgz"]) == 1
    assert "app-2.tgz: NOT verified" in capsys.readouterr().out
    assert run(["continuity", "app-1.tgz", "absent"]) == 11
    Path("app-3.tgz").write_bytes(ARTIFACT)
    assert run(["continuity", "app-3.tgz"]) == 10
    assert LEFT_OUT in capsys.readouterr().out
    assert run(["continuity", "app-1.tgz", "--instance", "x", "--trusted-root", "y"]) == 2
    Path("root.json").write_bytes(FORGE.trusted_root().serialize())
    assert run(["continuity", "app-1.tgz", "--trusted-root", "root.json"]) == 0
    assert run(["continuity", "app-1.tgz", "--instance", "public"]) == 1


def test_another_root_is_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    other = Forge()
    record_instance(
        "https://other.example",
        "",
        trusted_root_json=other.trusted_root().serialize(),
        signing_config_json=b"{}",
        tuf_root_json=b"{}",
    )
    sign("app-1.tgz")
    sign("app-2.tgz", other, made_at=NOW + timedelta(days=1))
    assert run(["continuity", "app-1.tgz", "app-2.tgz"]) == 1
    assert f"CHANGED: trusted root was {URL}, now https://other" in capsys.readouterr().out


# --- logs ----------------------------------------------------------------------------------------


def test_logs_that_were_met_are_named_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["log", "check"]) == 0
    assert "no log was met yet" in capsys.readouterr().out
    assert verify(["--unsafe-any-identity", sign("app-1.tgz")]) == 0
    assert run(["log", "check", "https://nowhere.example"]) == 11
    assert run(["log", "forget", "https://log.example.org/"]) == 0
    assert "forgot https://log.example.org (log.example.org - 1234)" in capsys.readouterr().out
    assert run(["log", "forget", "https://log.example.org/"]) == 11


# --- evidence ------------------------------------------------------------------------------------


def evidence(capsys: pytest.CaptureFixture[str], folder: Path) -> Path:
    """What is kept of a log that signed two trees of one size."""
    assert verify(["--unsafe-any-identity", sign("app-1.tgz", tree_size=9)]) == 0
    assert verify(["--unsafe-any-identity", sign("app-2.tgz", tree_size=9)]) == 1
    capsys.readouterr()
    (path,) = (folder / "home" / "evidence").iterdir()
    return path


def test_evidence_is_judged_by_anybody(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(evidence(capsys, folder))
    assert run(["log", "evidence", path]) == 0
    said = capsys.readouterr().out
    assert said.startswith("the log lied: the log signed two different trees of 9 entries\n")
    assert f"https://log.example.org, by the root {URL}" in said
    monkeypatch.setenv("COUNTERMARK_HOME", str(folder / "elsewhere"))
    assert run(["log", "evidence", path]) == 1
    assert "no trusted root of yours knows" in capsys.readouterr().err
    Path("root.json").write_bytes(FORGE.trusted_root().serialize())
    assert run(["log", "evidence", path, "--trusted-root", "root.json"]) == 0
    tree = told(capsys, "log", "evidence", path, "--trusted-root", "root.json")
    assert (tree["shown"], tree["verdict"]) == (True, "two-trees")


def test_evidence_that_shows_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = json.loads(evidence(capsys, folder).read_text())
    first, second = tree["checkpoints"]
    other = Forge()
    proofs = [FORGE.bundle(tree_size=n).tlog_entries[0].inclusion_proof for n in (8, 10)]
    smaller, larger = ({"note": proof.checkpoint} for proof in proofs if proof is not None)
    theirs = other.trusted_root().tlogs[0].public_key.to_pem()
    forged = {"note": second["note"].replace("\n9\n", "\n8\n", 1)}
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"checkpoints": [first, first]}, 1, "nothing is shown: both checkpoints are of one tree"),
        ({"checkpoints": [first, larger]}, 1, "only it can show"),
        ({"checkpoints": [smaller, first]}, 1, "only it can show"),
        (
            {"checkpoints": [first, larger], "consistencyProof": ["00" * 32] * 4},
            1,
            "only it can show",
        ),
        ({"publicKey": theirs}, 1, "no trusted root of yours knows"),
        ({"logId": other.log_id.hex()}, 1, "no trusted root of yours knows"),
        ({"checkpoints": [first, forged]}, 1, "a checkpoint of the evidence"),
        ({"checkpoints": [first]}, 65, "are not two"),
        ({"checkpoints": [first, {"note": "\ud800"}]}, 65, "lone surrogate"),
        ({"consistencyProof": 7}, 65, "not a list"),
        ({"consistencyProof": [7]}, 65, "not a list"),
        ({"publicKey": "x"}, 65, "publicKey"),
        ({"origin": "other"}, 65, "is not of the tree"),
    ]
    for changes, code, why in cases:
        Path("evidence.json").write_text(json.dumps({**tree, **changes}))
        assert run(["log", "evidence", "evidence.json"]) == code, changes
        said = capsys.readouterr()
        assert why in said.out + said.err, changes
    Path("evidence.json").write_bytes(b"[")
    assert run(["log", "evidence", "evidence.json"]) == 65
    assert run(["log", "evidence", "absent"]) == 11
    assert run(["log", "evidence", "."]) == 2
