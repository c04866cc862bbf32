# SPDX-License-Identifier: Apache-2.0
"""`countermark verify` and `inspect`: what they say, and with which exit code."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from countermark.cli import verify_command
from countermark.cli.inspect_command import run as inspect
from countermark.cli.verify_command import HELP, run
from countermark.client.instances import record_instance
from countermark.core.crypto.keys import PublicKey
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge, Plan, sign_content, statement
from tests.support.made_certificates import public_pem

FORGE = Forge()
WHO = ("--identity", NAME, "--issuer", ISSUER)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    for name in ("INSTANCE", "URL", "TRUSTED_ROOT", "TRUST_CONFIG"):
        monkeypatch.delenv(f"COUNTERMARK_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(ARTIFACT)
    Path("file.sigstore.json").write_bytes(FORGE.bundle().serialize())
    Path("root.json").write_bytes(FORGE.trusted_root().serialize())
    record_instance(
        "http://localhost:7446",
        "",
        trusted_root_json=FORGE.trusted_root().serialize(),
        signing_config_json=b"{}",
        tuf_root_json=b"{}",
    )
    return tmp_path


def test_says_who_when_and_under_which_root(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["file", *WHO]) == 0
    said = capsys.readouterr()
    assert said.out == (
        f"file: verified, signed by {NAME} ({ISSUER}) at 2026-03-04 05:06:07 UTC,"
        " root http://localhost:7446\n"
    )
    assert said.err == ""


def test_says_it_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    Path("other").write_bytes(b"tampered")
    Path("other.sigstore.json").write_bytes(FORGE.bundle().serialize())
    assert run(["--json", "file", "other", *WHO]) == 1
    good, bad = json.loads(capsys.readouterr().out)["results"]
    assert (good["file"], good["verified"], good["identity"]) == ("file", True, NAME)
    assert [item["check"] for item in good["checks"]][-1] == "identity"
    assert (bad["file"], bad["verified"]) == ("other", False)
    assert (bad["error"]["code"], bad["error"]["exit"]) == ("signature-invalid", 1)


@pytest.mark.parametrize(
    "root",
    [
        ("--trusted-root", "root.json"),
        ("--instance", "http://localhost:7446"),
        ("--url", "http://localhost:7446/"),
    ],
)
def test_roots_can_be_named(root: tuple[str, str]) -> None:
    assert run(["file", *WHO, *root]) == 0
    assert run(["file", *WHO, "--instance=public"]) == 1


def test_the_environment_names_a_root_unless_a_flag_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERMARK_INSTANCE", "public")
    assert run(["file", *WHO]) == 1
    assert run(["file", *WHO, "--trusted-root", "root.json"]) == 0


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (("--identity", "you@example.org", "--issuer", ISSUER), 1),
        (("--identity", NAME, "--issuer", "https://other.example"), 1),
        (("--identity", "you@example.org", "--identity", NAME, "--issuer", ISSUER), 0),
        (("--identity-regex", r"[a-z]+@example\.org", "--issuer", ISSUER), 0),
        (("--identity-regex", "me", "--issuer", ISSUER), 1),
        (("--identity", NAME, "--issuer-regex", "https://.*"), 0),
        (("--identity", "m.@example.org", "--issuer-regex", "https://.*"), 1),
        (("--identity-regex", "(", "--issuer", ISSUER), 2),
        (("--unsafe-any-identity",), 0),
        ((*WHO, "--extension", "source-repository-uri=https://x"), 1),
        ((*WHO, "--extension", "nonsense=1"), 2),
        ((*WHO, "--extension", "no-value"), 2),
    ],
)
def test_policies(who: tuple[str, ...], code: int) -> None:
    assert run(["file", *who]) == code


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ((), "nothing to verify"),
        (("file", "--extension", "trigger=push"), "who is to have signed"),
        (("file", "--issuer", ISSUER), "who is to have signed"),
        (("file", "--issuer", ISSUER, "--ref", "x"), "who is to have signed"),
        (("file", "--repository", "octo/app"), "who is to have signed"),
        (("file", *WHO, "--as", "x"), "--as names what is remembered"),
        (("file", *WHO, "--policy", "x"), "the policy says who"),
        (("file", "--policy", "x", "--threshold-times", "2"), "the policy says who"),
        (("file", "--policy", "x", "--trust-first-use"), "the policy says who"),
        (("file", "--policy-identity", "x", "--policy-issuer", "y"), "there is no policy"),
        (("file", "file", "--trust-first-use", "--as", "x"), "one FILE at a time"),
        (WHO, "nothing to verify"),
        (("file", "--identity", NAME), "proves nothing without the provider"),
        (("file", *WHO, "--issuer-regex", ".*"), "proves nothing without the provider"),
        (("file", *WHO, "--unsafe-any-identity"), "in one way"),
        (("file", *WHO, "--no-such-thing"), "no option --no-such-thing"),
        (("file", *WHO, "-x"), "no option -x"),
        (("file", "--issuer", ISSUER, "--identity"), "needs a value"),
        (("file", *WHO, "--bundle", "a", "--bundle", "b"), "2 times"),
        (("file", "file", *WHO, "--bundle", "a"), "one FILE"),
        (("file", *WHO, "--url", "x", "--instance", "y"), "more than one way"),
        (("sha256:00", *WHO), "no signature beside it"),
    ],
)
def test_wrong_usage(argv: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 2
    assert why in capsys.readouterr().err


def test_what_is_missing_or_damaged_has_codes_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("unsigned").touch()
    Path("damaged").touch()
    Path("damaged.sigstore.json").write_text("{}")
    assert run(["unsigned", *WHO]) == 10
    assert run(["file", "--bundle", "absent", *WHO]) == 10
    assert run(["absent", *WHO]) == 11
    assert run(["damaged", *WHO]) == 65
    assert run(["file", *WHO, "--instance", "http://unknown.example"]) == 78
    Path("folder").mkdir()
    assert run(["folder", "--bundle", "file.sigstore.json", *WHO]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith("unsigned: NOT verified: there is no signature")
    assert len([line for line in errors if "NOT verified" in line]) == 5


def test_a_digest_is_enough() -> None:
    digest = f"sha256:{hashlib.sha256(ARTIFACT).hexdigest()}"
    assert run([digest, "--bundle", "file.sigstore.json", *WHO]) == 0
    assert run([digest[:-1] + "0", "--bundle", "file.sigstore.json", *WHO]) == 1
    assert run(["sha256:xyz", "--bundle", "file.sigstore.json", *WHO]) == 2


def test_managed_keys(capsys: pytest.CaptureFixture[str]) -> None:
    key = FORGE.log_key  # any key
    plan = Plan(certificate=False)
    content, signature = sign_content(key, plan)
    entry = FORGE.entry_v1(plan, content, signature, public_pem(key))
    bundle = FORGE.bundle(plan)._replace(content=content, tlog_entries=(entry,), timestamps=())
    Path("file.sigstore.json").write_bytes(bundle.serialize())
    Path("key.pem").write_bytes(public_pem(key))
    assert run(["file", "--key", "key.pem"]) == 0
    key_id = PublicKey.from_pem(public_pem(key).decode()).key_id.hex()
    assert f"signed by key sha256:{key_id}" in capsys.readouterr().out
    assert run(["file", *WHO]) == 1
    assert run(["file", "--key", "key.pem", "--issuer", ISSUER]) == 2
    assert run(["file", "--key", "root.json"]) == 65
    assert run(["file", "--key", "absent"]) == 11


def test_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("-h", "--help"):
        assert run([flag]) == 0
        assert capsys.readouterr().out == HELP
    for option in (*verify_command._OPTIONS, *verify_command._FLAGS):
        assert f"--{option}" in HELP
    assert inspect(["--help"]) == 0


def test_hostile_names_are_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = x509.UniformResourceIdentifier("https://e.org/\x1b[2J")
    Path("file.sigstore.json").write_bytes(FORGE.bundle(name=nasty).serialize())
    assert run(["file", "--unsafe-any-identity"]) == 0
    assert inspect(["file.sigstore.json"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert said.count(r"https://e.org/\x1b[2J") == 2


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert inspect(["--json", *argv]) == 0
    return json.loads(capsys.readouterr().out)["bundles"]


def test_inspect_shows_without_judging(capsys: pytest.CaptureFixture[str]) -> None:
    Path("other").write_bytes(Forge().bundle(log="v2", envelope=True).serialize())
    one, other = shown(capsys, "file.sigstore.json", "other")
    (certificate,) = one["certificates"]
    assert (certificate["identity"], certificate["issuer"]) == (NAME, ISSUER)
    assert one["logEntries"][0]["origin"] == "log.example.org - 1234"
    assert one["logEntries"][0]["integratedTime"] == "2026-03-04T05:06:07Z"
    assert one["timestamps"][0]["time"] == "2026-03-04T05:06:07Z"
    assert other["signed"]["subjects"][0]["name"] == "thing"
    assert other["logEntries"][0]["signedBy"] == ["v2.example.org"]
    assert inspect(["file.sigstore.json"]) == 0
    assert f"  identity: {NAME}\n" in capsys.readouterr().out


def test_inspect_says_what_it_cannot_read(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = FORGE.bundle(envelope=True, statement=statement(ARTIFACT)[:-1])
    Path("odd").write_bytes(bundle._replace(timestamps=(b"x",)).serialize())
    (tree,) = shown(capsys, "odd")
    assert "DER ends early" in tree["timestamps"][0]["unreadable"]
    assert "in-toto statement" in tree["signed"]["unreadable"]


@pytest.mark.parametrize(
    ("argv", "code"), [((), 2), (("root.json",), 65), (("absent",), 11), ((".",), 2), (("-x",), 2)]
)
def test_inspect_fails(argv: tuple[str, ...], code: int) -> None:
    assert inspect(argv) == code
    assert inspect(["--json", *argv]) == code
