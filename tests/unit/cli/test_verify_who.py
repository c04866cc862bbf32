# SPDX-License-Identifier: Apache-2.0
"""`countermark verify` without a word on who must have signed, and with a policy file."""

import itertools
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from countermark.cli.verify_command import run
from countermark.client.instances import record_instance
from countermark.client.last_seen import LastSeen
from countermark.client.remembered import everybody, find
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TrustedRoot
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge, Plan, sign_content
from tests.support.made_certificates import fulcio, public_pem, utf8

FORGE = Forge()
URL = "http://localhost:7446"
GITHUB = "https://token.actions.githubusercontent.com"
EVE = x509.RFC822Name("eve@example.org")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    for name in ("INSTANCE", "URL", "TRUSTED_ROOT", "TRUST_CONFIG"):
        monkeypatch.delenv(f"COUNTERMARK_{name}", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    record(URL, FORGE)
    return tmp_path


def record(url: str, forge: Forge) -> None:
    record_instance(
        url,
        "",
        trusted_root_json=forge.trusted_root().serialize(),
        signing_config_json=b"{}",
        tuf_root_json=b"{}",
    )


SIZES = itertools.count(7)


def sign(file: str, forge: Forge = FORGE, /, **changes: Any) -> str:
    """A file of that name with its bundle beside it; the log grows with each."""
    Path(file).write_bytes(ARTIFACT)
    bundle = forge.bundle(**{"tree_size": next(SIZES), **changes})
    Path(f"{file}.sigstore.json").write_bytes(bundle.serialize())
    return file


def build(ref: str = "refs/tags/v1", repository: str = "octo/app", **ids: str) -> dict[str, Any]:
    """Changes to a plan: signed by a GitHub workflow."""
    url = f"https://github.com/{repository}"
    workflow = f"{url}/.github/workflows/release.yml@{ref}"
    values = {
        9: workflow,
        12: url,
        14: ref,
        15: ids.get("repository_id", "1001"),
        16: url.rpartition("/")[0],
        17: ids.get("owner_id", "77"),
        18: workflow,
        20: "push",
    }
    return {
        "name": x509.UniformResourceIdentifier(workflow),
        "issuer": GITHUB,
        "extensions": tuple((fulcio(number, utf8(text)), False) for number, text in values.items()),
    }


def result(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["--json", *argv])
    (found,) = json.loads(capsys.readouterr().out)["results"]
    return code, found


# --- a stranger ----------------------------------------------------------------------------------


def test_a_stranger_is_told_and_not_believed(capsys: pytest.CaptureFixture[str]) -> None:
    sign("app-1.0.tar.gz")
    assert run(["app-1.0.tar.gz"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"app-1.0.tar.gz: NOT verified: signed by {NAME} ({ISSUER}), and nobody said who is"
        " expected\n"
        f"  if that is whom you expect: countermark verify --identity {NAME} --issuer {ISSUER}"
        " app-1.0.tar.gz (or add --trust-first-use to remember it)\n"
    )
    code, found = result(capsys, "app-1.0.tar.gz")
    assert (code, found["verified"], found["error"]["code"]) == (1, False, "signer-unknown")
    assert found["signedBy"]["identity"] == NAME
    assert found["arguments"] == ["--identity", NAME, "--issuer", ISSUER]
    assert everybody() == []


def test_the_options_it_prints_verify_this_and_the_next_version_and_nobody_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sign("app-1.tgz", **build("refs/tags/v1"))
    code, found = result(capsys, "app-1.tgz")
    assert code == 1
    assert "--extension" in found["arguments"]
    assert "repository https://github.com/octo/app, workflow" in found["error"]["found"]
    sign("app-2.tgz", **build("refs/tags/v2", "octo/renamed"))
    sign("app-3.tgz", **build("refs/tags/v3", repository_id="2"))
    for name, expected in (("app-1.tgz", 0), ("app-2.tgz", 0), ("app-3.tgz", 1)):
        assert run([*found["arguments"], name]) == expected


def test_a_hostile_name_cannot_reach_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "https://e.org/$(reboot);'x `y`"
    sign("a file", name=x509.UniformResourceIdentifier(nasty))
    assert run(["a file"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    command = line.partition(": ")[2].partition(" (or add")[0]
    assert shlex.split(command) == [
        *("countermark", "verify", "--identity", nasty),
        *("--issuer", ISSUER, "a file"),
    ]


def test_what_does_not_hold_is_told_as_that_and_not_as_a_stranger() -> None:
    sign("app")
    Path("app").write_bytes(b"tampered")
    assert run(["app", "--trust-first-use"]) == 1
    assert everybody() == []


# --- first use -----------------------------------------------------------------------------------


def test_a_remembered_signer_is_the_same_across_versions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sign("app-1.0.tar.gz")
    sign("app-1.1.tar.gz")
    assert run(["--trust-first-use", "app-1.0.tar.gz"]) == 0
    assert capsys.readouterr().out.endswith("remembered as the signer of app-*.tar.gz\n")
    for name in ("app-1.0.tar.gz", "app-1.1.tar.gz"):
        assert run([name]) == 0
        assert capsys.readouterr().out.endswith("same signer as before (app-*.tar.gz)\n")
    assert run(["--trust-first-use", "app-1.1.tar.gz"]) == 0
    assert run([sign("other-1.0.tar.gz")]) == 1


def test_another_signer_is_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--trust-first-use", sign("app-1.0.tgz")])
    sign("app-1.1.tgz", name=EVE)
    capsys.readouterr()
    for more in ((), ("--trust-first-use",)):
        assert run(["app-1.1.tgz", *more]) == 1
    said = capsys.readouterr().err
    assert f"NOT verified: changed: identity was {NAME}, now eve@example.org" in said
    assert "countermark signers forget 'app-*.tgz'" in said
    code, found = result(capsys, "app-1.1.tgz")
    assert (code, found["error"]["code"]) == (1, "signer-changed")
    assert found["changes"] == [
        {"what": "identity", "before": NAME, "now": "eve@example.org", "why": ""}
    ]
    assert found["signedBy"]["identity"] == "eve@example.org"
    assert run(["app-1.0.tgz"]) == 0


def test_builds_are_told_by_their_ids(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--trust-first-use", sign("app-1.tgz", **build())]) == 0
    assert run([sign("app-2.tgz", **build("refs/tags/v2"))]) == 0
    capsys.readouterr()
    assert run([sign("app-3.tgz", **build("refs/heads/main", "octo/renamed"))]) == 0
    said = capsys.readouterr().out
    assert "repository was https://github.com/octo/app, now https://github.com/octo/renamed" in said
    assert "(renamed: its id is the same)" in said
    assert "kind of ref was tag, now refs/heads/main" in said
    for changed, why in (
        (build(repository_id="2"), "another repository under the same name"),
        (build(repository="eve/app", owner_id="5"), "went from https://github.com/octo to"),
    ):
        assert run([sign("app-4.tgz", **changed)]) == 1
        assert why in capsys.readouterr().err


def test_several_files_at_once_and_only_on_the_users_word() -> None:
    names = [sign("app-1.0.tgz"), sign("lib-1.0.tgz", name=EVE), sign("app-1.0.zip")]
    assert run(names) == 1
    assert everybody() == []
    assert run(["--trust-first-use", *names]) == 0
    assert [item.name for item in everybody()] == ["app-*.tgz", "app-*.zip", "lib-*.tgz"]
    assert run(names) == 0


def test_a_name_can_be_given() -> None:
    sign("v1.0.zip")
    assert run(["--trust-first-use", "--as", "my app", "v1.0.zip"]) == 0
    assert run(["v1.0.zip"]) == 1
    assert run(["v1.0.zip", "--as", "my app"]) == 0
    assert run([sign("v1.1.zip", name=EVE), "--as", "my app"]) == 1
    assert run([sign("v1.1.zip", name=EVE), "--as", "her app"]) == 1


def test_who_was_expected_can_be_remembered() -> None:
    sign("app-1.0.tgz")
    who = ("--identity", NAME, "--issuer", ISSUER)
    assert run(["app-1.0.tgz", "--trust-first-use", "--identity", "x", "--issuer", ISSUER]) == 1
    assert everybody() == []
    assert run(["app-1.0.tgz", "--trust-first-use", *who]) == 0
    assert run(["app-1.0.tgz"]) == 0
    sign("app-1.1.tgz", name=EVE)
    eve = ("--identity", "eve@example.org", "--issuer", ISSUER)
    assert run(["app-1.1.tgz", "--trust-first-use", *eve]) == 1
    assert run(["app-1.1.tgz", *eve]) == 0


def test_another_root_that_vouches_for_the_same_name_is_a_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--trust-first-use", sign("app-1.0.tgz")]) == 0
    other = Forge()
    record("https://other.example", other)
    capsys.readouterr()
    assert run([sign("app-1.1.tgz", other)]) == 1
    said = capsys.readouterr().err
    assert f"trusted root was {URL}, now https://other.example" in said
    assert run(["app-1.1.tgz", "--instance", "https://other.example"]) == 0


def test_a_managed_key_can_be_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    def keyed(name: str, forge: Forge) -> str:
        plan = Plan(certificate=False, tree_size=next(SIZES))
        content, signature = sign_content(forge.log_key, plan)
        entry = FORGE.entry_v1(plan, content, signature, public_pem(forge.log_key))
        bundle = FORGE.bundle(plan)._replace(content=content, tlog_entries=(entry,), timestamps=())
        Path(name).write_bytes(ARTIFACT)
        Path(f"{name}.sigstore.json").write_bytes(bundle.serialize())
        return name

    Path("key.pem").write_bytes(public_pem(FORGE.log_key))
    assert run([keyed("app-1.0.tgz", FORGE)]) == 1
    assert "nobody said which" in capsys.readouterr().err
    assert run(["app-1.0.tgz", "--trust-first-use"]) == 1
    assert run(["app-1.0.tgz", "--trust-first-use", "--key", "key.pem"]) == 0
    assert run([keyed("app-1.1.tgz", FORGE)]) == 0
    assert run([keyed("app-1.2.tgz", Forge())]) == 1
    capsys.readouterr()
    assert run([sign("app-1.3.tgz")]) == 1
    assert "changed: signer was key sha256:" in capsys.readouterr().err
    assert run(["--trust-first-use", sign("b-1.0.tgz")]) == 0
    assert run([keyed("b-1.1.tgz", FORGE), "--key", "key.pem", "--trust-first-use"]) == 1


def test_a_damaged_record_is_an_error_and_nobody_is_believed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["--trust-first-use", sign("app-1.0.tgz")])
    (path,) = (folder / "home" / "signers").iterdir()
    for damage in (b"", b"{}", path.read_bytes().replace(b'"app-*.tgz"', b'"other"')):
        path.write_bytes(damage)
        for more in ((), ("--trust-first-use",)):
            assert run(["app-1.0.tgz", *more]) == 65
            assert "is damaged" in capsys.readouterr().err
        assert path.read_bytes() == damage
    path.chmod(0o622)
    assert run(["app-1.0.tgz"]) == 78


def test_two_first_uses_at_once_agree_on_one() -> None:
    """Whoever is second either meets the first one's signer or is refused."""
    for number in range(4):
        # The same two builds, of other refs: not the same record, but the same signer.
        who = build(f"refs/tags/v{number}", repository_id=str(number % 2))
        sign(f"app-1.{number}.tgz", **who)
    command = [sys.executable, "-m", "countermark", "verify", "--trust-first-use"]
    running = [
        subprocess.Popen([*command, f"app-1.{number}.tgz"], stderr=subprocess.PIPE)
        for number in range(4)
    ]
    for process in running:
        process.communicate(timeout=120)
    codes = [process.returncode for process in running]
    found = find("app-*.tgz")
    assert found is not None
    assert found.signer is not None
    winner = int(found.signer.extension(15) or "")
    assert codes[winner] == codes[winner + 2] == 0
    assert codes[1 - winner] == codes[3 - winner] == 1


def test_memory_costs_well_under_a_millisecond() -> None:
    run(["--trust-first-use", sign("app-1.0.tgz")])

    def cost_s(rounds: int = 40) -> float:
        started = time.process_time()
        for _ in range(rounds):
            assert find("app-*.tgz") is not None
        return (time.process_time() - started) / rounds

    assert min(cost_s() for _ in range(5)) < 0.001


# --- policy files --------------------------------------------------------------------------------

POLICY = f"""
version = 1

[[artifact]]
files = "app-*"

[[artifact.any]]
identity = "{NAME}"
issuer = "{ISSUER}"

[[artifact.any]]
issuer = "{GITHUB}"
repository = "octo/app"
"""


def test_a_policy_says_who_signs_which_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("policy.toml").write_text(POLICY)
    files = [sign("app-1.tgz"), sign("app-2.tgz", **build())]
    assert run(["--policy", "policy.toml", *files]) == 0
    assert run(["--policy", "policy.toml", sign("app-3.tgz", name=EVE)]) == 1
    capsys.readouterr()
    assert run(["--policy", "policy.toml", sign("other")]) == 1
    assert "says nothing about a file called 'other'" in capsys.readouterr().err
    assert run(["--policy", "policy.toml", "other", "--as", "app-x"]) == 0
    code, found = result(capsys, "--policy", "policy.toml", "app-1.tgz")
    assert (code, found["policy"], found["policySigned"]) == (0, "policy.toml", False)


def test_a_file_is_looked_up_by_its_name_alone() -> None:
    Path("policy.toml").write_text(POLICY)
    Path("app-folder").mkdir()
    sign("app-folder/other")
    sign("app-folder/app-1")
    assert run(["--policy", "policy.toml", "app-folder/other"]) == 1
    assert run(["--policy", "policy.toml", "app-folder/app-1"]) == 0


def test_a_policy_can_be_signed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("policy.toml").write_text(POLICY)
    bundle = FORGE.bundle(artifact=POLICY.encode(), name=EVE, tree_size=next(SIZES))
    Path("policy.toml.sigstore.json").write_bytes(bundle.serialize())
    sign("app-1.tgz")
    eve = ("--policy-identity", "eve@example.org", "--policy-issuer", ISSUER)
    assert run(["app-1.tgz", "--policy", "policy.toml", *eve]) == 0
    code, found = result(capsys, "app-1.tgz", "--policy", "policy.toml", *eve)
    assert (code, found["policySigned"]) == (0, True)
    me = ("--policy-identity", NAME, "--policy-issuer", ISSUER)
    assert run(["app-1.tgz", "--policy", "policy.toml", *me]) == 1
    Path("policy.toml").write_text(f"{POLICY}\n# changed")
    assert run(["app-1.tgz", "--policy", "policy.toml", *eve]) == 1
    assert run(["app-1.tgz", "--policy", "policy.toml", *eve[:2]]) == 2


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        ("version = 3", 65, "version is '3'"),
        (POLICY.replace("issuer =", "isuer ="), 65, "isuer is not known here"),
        (POLICY + '[root]\nfile = "absent"\n', 11, "no file absent"),
        (POLICY + '[root]\ninstance = "https://nowhere.example"\n', 78, "not an instance"),
        (POLICY + "[thresholds]\nlogs = 2\n", 1, "2 must"),
    ],
)
def test_policies_that_do_not_do(
    text: str, code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("policy.toml").write_text(text)
    assert run(["--policy", "policy.toml", sign("app-1.tgz")]) == code
    assert why in capsys.readouterr().err


def test_a_policy_that_is_not_there() -> None:
    sign("app-1.tgz")
    assert run(["--policy", "absent", "app-1.tgz"]) == 11
    assert run(["--policy", ".", "app-1.tgz"]) == 2


def test_whom_to_believe_is_said_once() -> None:
    Path("root.json").write_bytes(FORGE.trusted_root().serialize())
    Path("policy.toml").write_text(POLICY + '[root]\nfile = "root.json"\n')
    sign("app-1.tgz")
    assert run(["--policy", "policy.toml", "app-1.tgz"]) == 0
    assert run(["--policy", "policy.toml", "app-1.tgz", "--instance", "public"]) == 2


# --- claims --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (("--repository", "octo/app"), 0),
        (("--repository", "octo/app", "--workflow", ".github/workflows/release.yml"), 0),
        (("--repository", "https://github.com/octo/app", "--ref", "refs/tags/v*"), 0),
        (("--repository", "octo/app", "--trigger", "pull_request", "--trigger", "push"), 0),
        (("--extension", "repository-id=1001"), 0),
        (("--extension", "1.3.6.1.4.1.57264.1.17=77", "--repository", "octo/app"), 0),
        (("--repository", "octo/ap"), 1),
        (("--repository", "octo/app", "--ref", "refs/heads/*"), 1),
        (("--repository", "octo/app", "--runner", "github-hosted"), 1),
        (("--extension", "repository-id=1002"), 1),
        (("--identity-regex", ".*release.*", "--repository", "octo/app"), 0),
        (("--extension", "1.3.6.1.4.1.57264.1.99=x", "--repository", "octo/app"), 2),
        (("--workflow", ".github/workflows/release.yml"), 2),
    ],
)
def test_claims(who: tuple[str, ...], code: int) -> None:
    sign("app", **build())
    assert run(["app", "--issuer", GITHUB, *who]) == code
    if code == 0:
        assert run(["app", "--issuer", "https://evil.example", *who]) == 1
        assert run(["app", "--issuer-regex", "https://[a-z.]+", *who]) == 0


# --- what logs signed ----------------------------------------------------------------------------


def test_a_log_that_signed_two_trees_is_refused_offline(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    who = ("--identity", NAME, "--issuer", ISSUER)
    assert run([sign("a", tree_size=9), *who]) == 0
    assert run([sign("b", tree_size=9), *who]) == 1
    assert "signed two different trees of 9 entries" in capsys.readouterr().err
    (evidence,) = (folder / "home" / "evidence").iterdir()
    code, found = result(capsys, "b", *who)
    assert (code, found["error"]["code"]) == (1, "consistency-invalid")
    assert str(evidence) in found["error"]["hint"]
    assert run(["a", *who]) == 0


def test_verifying_needs_no_memory_that_can_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody else's folder is told of; one that cannot be written to is no reason to fail."""
    who = ("--identity", NAME, "--issuer", ISSUER, "--trusted-root", "root.json")
    Path("root.json").write_bytes(FORGE.trusted_root().serialize())
    assert run([sign("a"), *who]) == 0
    (path,) = (folder / "home" / "checkpoints").iterdir()
    path.chmod(0o666)
    capsys.readouterr()
    assert run([sign("b"), *who]) == 0
    assert "checkpoints are not compared" in capsys.readouterr().err
    path.chmod(0o600)
    path.write_bytes(b"{}")
    assert run(["b", *who]) == 65
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"in the way")
    assert run(["b", *who]) == 0
    capsys.readouterr()


def test_damaged_memory_of_a_log_is_an_error(folder: Path) -> None:
    who = ("--identity", NAME, "--issuer", ISSUER)
    assert run([sign("a"), *who]) == 0
    (path,) = (folder / "home" / "checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:-10])
    assert run(["a", *who]) == 65


def test_two_trees_met_by_two_commands_at_once_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other command remembers its tree after this one has looked, and before it writes."""
    who = ("--identity", NAME, "--issuer", ISSUER)
    sign("a", tree_size=9)
    sign("b", tree_size=9)
    meet = LastSeen.meet

    def meanwhile(self: LastSeen, bundle: Bundle, root: TrustedRoot) -> None:
        meet(self, bundle, root)
        monkeypatch.setattr(LastSeen, "meet", meet)
        assert run(["b", *who]) == 0
        capsys.readouterr()

    monkeypatch.setattr(LastSeen, "meet", meanwhile)
    assert run(["--json", "a", *who]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["results"][0]["verified"] is True
    assert told["error"]["code"] == "consistency-invalid"
