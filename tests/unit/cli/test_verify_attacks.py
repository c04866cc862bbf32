# SPDX-License-Identifier: Apache-2.0
"""`countermark verify` with options that could switch one another off."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from countermark.cli.arguments import Arguments
from countermark.cli.git_expected import expectation
from countermark.cli.verify_command import run
from countermark.client.foreign_roots import Roots
from countermark.client.git.settings import GitSettings
from countermark.client.instances import record_instance
from countermark.client.remembered import everybody
from countermark.client.trust.merged import SUFFIX, merge
from countermark.client.trust.sources import Source
from countermark.core.bundle.bundle import Bundle
from countermark.core.distrust.document import DistrustList
from countermark.core.distrust.subject import SignerName
from countermark.core.errors import Distrusted, RequestRejected
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.policy import Identity
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge
from tests.support.made_certificates import NOW

FORGE = Forge()
ME = ("--identity", NAME, "--issuer", ISSUER)
EVE = x509.RFC822Name("eve@example.org")
POLICY = f"""
version = 1

[[artifact]]
files = "app-*"

[[artifact.any]]
identity = "{NAME}"
issuer = "{ISSUER}"
"""
SIZES = itertools.count(7)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    for name in ("INSTANCE", "URL", "TRUSTED_ROOT", "TRUST_CONFIG"):
        monkeypatch.delenv(f"COUNTERMARK_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    record(FORGE)
    Path("policy.toml").write_text(POLICY)
    return tmp_path


def record(forge: Forge) -> None:
    record_instance(
        "http://localhost:7446",
        "",
        trusted_root_json=forge.trusted_root().serialize(),
        signing_config_json=b"{}",
        tuf_root_json=b"{}",
    )


def sign(file: str, data: bytes = ARTIFACT, forge: Forge = FORGE, **changes: Any) -> str:
    Path(file).write_bytes(data)
    bundle = forge.bundle(**{"artifact": data, "tree_size": next(SIZES), **changes})
    Path(f"{file}.sigstore.json").write_bytes(bundle.serialize())
    return file


def distrusting(name: str, path: str = "distrust.json") -> str:
    found = DistrustList.empty("https://sigstore.example.org", NOW)
    listed = found.with_entry(SignerName(name, ""), "stolen laptop", "ada", NOW).serialize()
    Path(path).write_bytes(listed)
    return path


# --- a distrust list and a policy file -----------------------------------------------------------


def test_a_policy_does_not_switch_a_distrust_list_off(capsys: pytest.CaptureFixture[str]) -> None:
    file, policy = sign("app-1.tgz"), ("--policy", "policy.toml")
    assert run([file, *policy]) == 0
    assert run([file, *policy, "--distrust", distrusting("eve@example.org")]) == 0
    assert run([file, *policy, "--distrust", distrusting(NAME)]) == 1
    assert "stolen laptop" in capsys.readouterr().err
    assert run([file, *policy, "--distrust", "absent.json"]) == 11
    Path("broken.json").write_text("{}")
    assert run([file, *policy, "--distrust", "broken.json"]) == 65


def test_a_distrusted_signer_signs_no_policy(capsys: pytest.CaptureFixture[str]) -> None:
    sign("policy.toml", POLICY.encode(), name=EVE)
    by_eve = ("--policy-identity", "eve@example.org", "--policy-issuer", ISSUER)
    command = [sign("app-1.tgz"), "--policy", "policy.toml", *by_eve]
    assert run(command) == 0
    assert run([*command, "--distrust", distrusting("eve@example.org")]) == 1
    assert "stolen laptop" in capsys.readouterr().err


def merged(listed: str = "") -> None:
    """Writes both.json: FORGE's root with that distrust list, merged with another."""
    sources = [
        Source(name, "made", forge.trusted_root().serialize())
        for name, forge in zip("ab", (FORGE, Forge()), strict=True)
    ]
    data, note = merge(sources)
    tree = json.loads(note)
    tree["parts"][0]["distrust"] = [listed] if listed else []
    Path("both.json").write_bytes(data)
    Path(f"both.json{SUFFIX}").write_text(json.dumps(tree))


def configure(root: str) -> None:
    """Have that root chosen if none is named, since no instance knows FORGE's log any more."""
    record(Forge())
    Path("home/config.toml").write_text(f'trusted_root = "{Path(root).absolute()}"\n')


def test_a_root_of_unknown_age_is_believed_about_no_policy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sign("policy.toml", POLICY.encode())
    by_me = ("--policy-identity", NAME, "--policy-issuer", ISSUER)
    command = ["absent.tgz", "--policy", "policy.toml", *by_me]
    assert run([*command, "--max-trust-age", "30"]) == 1
    assert "nothing says how old" in capsys.readouterr().err
    assert run(command) == 11


def test_a_merged_root_keeps_its_distrust_lists_wherever_it_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    merged(Path(distrusting(NAME)).read_text())
    Path("policy.toml").write_text(POLICY + '[root]\nfile = "both.json"\n')
    file = sign("app-1.tgz")
    assert run([file, *ME, "--trusted-root", "both.json"]) == 1
    assert run([file, "--policy", "policy.toml"]) == 1
    configure("both.json")
    assert run([file, *ME]) == 1
    assert capsys.readouterr().err.count("stolen laptop") == 3
    (root,) = Roots.from_file("both.json").roots
    bundle = Bundle.parse(Path(f"{file}.sigstore.json").read_bytes())
    with pytest.raises(Distrusted):
        root.verify(bundle, BytesArtifact(ARTIFACT), Identity(NAME, ISSUER))


def test_a_signer_is_remembered_with_the_part_of_a_merged_root(
    capsys: pytest.CaptureFixture[str],
) -> None:
    merged()
    configure("both.json")
    assert run([sign("app-1.tgz"), "--trust-first-use"]) == 0
    assert run([sign("app-2.tgz")]) == 0
    assert "both.json: a, same signer as before" in capsys.readouterr().out


def test_a_policys_words_are_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    policy = POLICY + '[root]\nfile = "\\u001b[2Jroot.json"\n'
    sign("policy.toml", policy.encode())
    by_me = ("--policy-identity", NAME, "--policy-issuer", ISSUER)
    assert run([sign("app-1.tgz"), "--policy", "policy.toml", *by_me]) == 2
    said = capsys.readouterr().err
    assert "add the sha256 of \\x1b[2Jroot.json" in said
    assert "\x1b" not in said


# --- what was not verified is not remembered -----------------------------------------------------


def test_a_statement_of_another_type_makes_nobody_known() -> None:
    sign("app-1.tgz", envelope=True)
    argv = ["app-1.tgz", "--bundle", "app-1.tgz.sigstore.json", "--trust-first-use"]
    assert run([*argv, "--type", "vuln"]) == 1
    assert everybody() == []
    assert run([*argv, "--type", "https://example.org/predicate"]) == 0
    assert [record.name for record in everybody()] == ["app-*.tgz"]


def test_a_log_that_signed_two_trees_makes_nobody_known() -> None:
    sign("app-1.tgz", tree_size=7000)
    assert run(["app-1.tgz", *ME]) == 0
    sign("lib-1.tgz", tree_size=7000, name=EVE)
    assert run(["lib-1.tgz", "--trust-first-use"]) == 1
    assert everybody() == []


# --- options that swallow or drop others ---------------------------------------------------------


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
@pytest.mark.parametrize("name", ["identity", "distrust", "trusted-root", "extension", "as"])
def test_an_empty_value_takes_no_other_option_along(
    name: str, workers: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    # Each process of --workers was given `--identity --distrust=LIST`, and so no list at all.
    files = [sign("app-1.tgz"), sign("app-2.tgz")]
    who = ("--identity", NAME, f"--{name}", "", "--distrust", distrusting(NAME), "--issuer", ISSUER)
    assert run([*who, *workers, *files]) == 2
    assert f"--{name} was given without a value" in capsys.readouterr().err


def test_an_option_is_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    file, distrust = sign("app-1.tgz"), f"--distrust={distrusting(NAME)}"
    # What a shell makes of `--identity $NAME --identity $UNSET --distrust=… --issuer …`.
    assert run(["--identity", NAME, "--identity", distrust, "--issuer", ISSUER, file]) == 2
    assert "--identity needs a value" in capsys.readouterr().err
    assert run([file, *ME, "--as=--odd", "--trust-first-use"]) == 0


@pytest.mark.parametrize("values", [("",), ("root.json", "other.json")])
def test_git_passes_over_no_root_that_was_named(values: tuple[str, ...]) -> None:
    arguments = Arguments({"identity": (NAME,), "issuer": (ISSUER,), "trusted-root": values}, ())
    with pytest.raises(RequestRejected, match="--trusted-root was given"):
        expectation(arguments, GitSettings({}), {})


# --- summaries and listings ----------------------------------------------------------------------


@pytest.mark.parametrize(("result", "code"), [("PASSED", 0), ("FAILED", 1)])
def test_a_summary_of_an_older_version(result: str, code: int) -> None:
    digest = hashlib.sha256(ARTIFACT).hexdigest()
    statement = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": [{"name": "app", "digest": {"sha256": digest}}],
        "predicateType": "https://slsa.dev/verification_summary/v0.2",
        "predicate": {"verification_result": result},
    }
    sign("app-1.tgz", envelope=True, statement=json.dumps(statement).encode())
    assert run(["app-1.tgz", *ME]) == code


# --- what held -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        ME,
        ("--unsafe-any-identity",),
        ("--trust-first-use",),
        ("--without-log",),
        ("--threshold-logs", "1"),
        ("--key-valid-from", "2020-01-01T00:00:00Z"),
        ("--repository", "octo/app", "--issuer", ISSUER),
        ("--extension", "commit=1"),
    ],
)
def test_nothing_stands_beside_a_policy_that_it_says_itself(more: tuple[str, ...]) -> None:
    assert run([sign("app-1.tgz"), "--policy", "policy.toml", *more]) == 2


@pytest.mark.parametrize("name", ["times", "logs", "scts"])
def test_no_threshold_is_below_one(name: str) -> None:
    file = sign("app-1.tgz")
    for number in ("0", "-1", "+1", "1.0", "1_0", "00", "33", "\u0663"):
        assert run([file, *ME, f"--threshold-{name}={number}"]) == 2, number


@pytest.mark.parametrize("other", ["tool-10", "tool-*", "TOOL-1.0", "t\u03bfol-1.0", "tool-1.0~9"])
def test_no_other_name_makes_somebody_else_the_same_signer(other: str) -> None:
    assert run([sign("tool-1.0"), "--trust-first-use"]) == 0
    assert run([sign(other, name=EVE)]) == 1
    assert run([other, "--as", "tool-*", "--trust-first-use"]) == 1


def test_a_record_that_somebody_else_could_have_written() -> None:
    assert run([sign("tool-1.0"), "--trust-first-use"]) == 0
    (path,) = Path("home/signers").iterdir()
    good, file = path.read_bytes(), sign("tool-1.1")
    path.chmod(0o666)
    assert run([file]) == 78
    path.chmod(0o600)
    for data in (good.replace(b'"tool-*"', b'"toil-*"'), good[:-5], b"[]"):
        path.write_bytes(data)
        assert run([file]) == 65
    path.unlink()
    Path("elsewhere").write_text("me")
    path.symlink_to(Path("elsewhere").absolute())
    assert run([file]) == 65
    path.unlink()
    path.mkdir()
    assert run([file]) == 78
    path.rmdir()
    assert run([file]) == 1
    path.write_bytes(good)
    path.chmod(0o600)
    assert run([file]) == 0


def test_one_that_fails_among_many_is_the_exit_code() -> None:
    good, bad = sign("app-1.tgz"), sign("app-2.tgz", name=EVE)
    assert run([good, bad, *ME]) == run([bad, good, *ME]) == 1
    assert run([good, "absent", good, *ME]) == 11
    lines = [
        json.dumps(json.loads(Path(f"{file}.sigstore.json").read_text())) for file in (bad, good)
    ]
    Path("both.jsonl").write_text("\n".join(lines))
    policy = ("--bundle", "both.jsonl", "--policy", "policy.toml")
    assert run([good, *policy]) == 0
    assert run([good, *policy, "--distrust", distrusting(NAME)]) == 12
    assert run([good, "--bundle", "both.jsonl"]) == 12
