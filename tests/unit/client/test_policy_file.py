# SPDX-License-Identifier: Apache-2.0
"""Policy files with what they refer to, and signed ones."""

import hashlib
from pathlib import Path

import pytest

from countermark.client.instances import record_instance
from countermark.client.policy_file import PolicyFile
from countermark.client.verify import Root
from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import (
    FormatError,
    IdentityMismatch,
    InclusionInvalid,
    NotFound,
    RequestRejected,
    SettingsError,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Identity
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge, Plan, sign_content
from tests.support.made_certificates import public_pem

FORGE, ME = Forge(), Identity(NAME, ISSUER)
ROOT = Root("given", FORGE.trusted_root())
RULE = (
    f'[[artifact]]\nfiles = "app-*"\n[[artifact.any]]\nidentity = "{NAME}"\nissuer = "{ISSUER}"\n'
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    (tmp_path / "root.json").write_bytes(FORGE.trusted_root().serialize())
    return tmp_path


def policy(folder: Path, text: str) -> PolicyFile:
    path = folder / "policy.toml"
    path.write_text(f"version = 1\n{text}")
    return PolicyFile.read(str(path))


def verify(
    file: PolicyFile, bundle: Bundle, name: str = "app-1", root: Root | None = None
) -> Evidence:
    return file.verify(name, bundle, BytesArtifact(ARTIFACT), root)


def test_root_and_identity_of_a_policy(folder: Path) -> None:
    file = policy(folder, f'[root]\nfile = "root.json"\n{RULE}')
    evidence = verify(file, FORGE.bundle())
    assert evidence.root == str(folder / "root.json")
    with pytest.raises(IdentityMismatch, match="says nothing about a file called 'other'"):
        verify(file, FORGE.bundle(), "other")
    with pytest.raises(IdentityMismatch):
        verify(file, FORGE.bundle(issuer="https://evil.example"))
    with pytest.raises(SignatureInvalid):
        file.verify("app-1", FORGE.bundle(), BytesArtifact(b"x"))


def test_the_policys_root_goes_before_the_callers(folder: Path) -> None:
    stranger = Root("stranger", Forge().trusted_root())
    assert verify(
        policy(folder, f'[root]\nfile = "root.json"\n{RULE}'), FORGE.bundle(), root=stranger
    )
    assert verify(policy(folder, RULE), FORGE.bundle(), root=ROOT).root == "given"
    with pytest.raises(TimeUnproven):
        verify(policy(folder, RULE), FORGE.bundle(), root=stranger)
    with pytest.raises(InclusionInvalid, match="no trusted root knows"):
        verify(policy(folder, RULE), FORGE.bundle())


def test_an_instance_named_by_a_policy(folder: Path) -> None:
    record_instance(
        "http://localhost:7446",
        "",
        trusted_root_json=FORGE.trusted_root().serialize(),
        signing_config_json=b"{}",
        tuf_root_json=b"{}",
    )
    file = policy(folder, f'[root]\ninstance = "http://localhost:7446"\n{RULE}')
    assert verify(file, FORGE.bundle()).root == "http://localhost:7446"
    with pytest.raises(TimeUnproven):
        verify(policy(folder, f'[root]\ninstance = "public"\n{RULE}'), FORGE.bundle())
    with pytest.raises(SettingsError):
        policy(folder, f'[root]\ninstance = "http://localhost:1"\n{RULE}').check()


def test_what_a_policy_fixes_may_not_change(folder: Path) -> None:
    digest = hashlib.sha256((folder / "root.json").read_bytes()).hexdigest()
    text = f'[root]\nfile = "root.json"\nsha256 = "{digest}"\n{RULE}'
    assert verify(policy(folder, text), FORGE.bundle())
    (folder / "root.json").write_bytes(FORGE.trusted_root().serialize() + b" ")
    with pytest.raises(FormatError, match="sha256 is another"):
        verify(policy(folder, text), FORGE.bundle())
    (folder / "root.json").unlink()
    with pytest.raises(NotFound):
        policy(folder, text).check()


def test_thresholds_of_a_policy(folder: Path) -> None:
    file = policy(folder, f"[thresholds]\ntimes = 3\n{RULE}")
    with pytest.raises(TimeUnproven):
        verify(file, FORGE.bundle(), root=ROOT)


def test_witnesses_of_a_policy(folder: Path) -> None:
    (folder / "witnesses.txt").write_text("quorum none\n")
    file = policy(folder, f'[witnesses]\nfile = "witnesses.txt"\n{RULE}')
    assert verify(file, FORGE.bundle(), root=ROOT)
    key = "witness.example+0e4e2d5d+BA=="
    (folder / "witnesses.txt").write_text(f"witness W {key}\nquorum W\n")
    with pytest.raises(FormatError):
        policy(folder, f'[witnesses]\nfile = "witnesses.txt"\n{RULE}').check()


def keyed_bundle() -> Bundle:
    key = FORGE.log_key  # any key
    plan = Plan(certificate=False)
    content, signature = sign_content(key, plan)
    entry = FORGE.entry_v1(plan, content, signature, public_pem(key))
    return FORGE.bundle(plan)._replace(content=content, tlog_entries=(entry,), timestamps=())


def test_any_of_a_policys_keys_is_accepted(folder: Path) -> None:
    (folder / "good.pub").write_bytes(public_pem(FORGE.log_key))
    (folder / "other.pub").write_bytes(public_pem(FORGE.ca_key))
    for keys, good in (
        ('[{ file = "good.pub" }]', True),
        ('[{ file = "other.pub" }, { file = "good.pub" }]', True),
        ('[{ file = "other.pub" }]', False),
    ):
        file = policy(folder, f'[[artifact]]\nfiles = "*"\nkeys = {keys}\n')
        if good:
            assert verify(file, keyed_bundle(), root=ROOT).signer is None
        else:
            with pytest.raises(InclusionInvalid, match="another signer"):
                verify(file, keyed_bundle(), root=ROOT)
            two = keys.replace("]", ', { file = "other.pub" }]')
            file = policy(folder, f'[[artifact]]\nfiles = "*"\nkeys = {two}\n')
            with pytest.raises(IdentityMismatch, match="none of the 2 keys"):
                verify(file, keyed_bundle(), root=ROOT)
        with pytest.raises(IdentityMismatch, match="certain keys only"):
            verify(file, FORGE.bundle(), root=ROOT)
    with pytest.raises(IdentityMismatch, match="accepts no key"):
        verify(policy(folder, RULE), keyed_bundle(), root=ROOT)


def signed(folder: Path, text: str, issuer: str = ISSUER) -> PolicyFile:
    file = policy(folder, text)
    data = (folder / "policy.toml").read_bytes()
    bundle = FORGE.bundle(artifact=data, issuer=issuer)
    (folder / "policy.toml.sigstore.json").write_bytes(bundle.serialize())
    return file


def test_a_signed_policy(folder: Path) -> None:
    assert signed(folder, RULE).check_signature(ME, ROOT).signer
    with pytest.raises(IdentityMismatch):
        signed(folder, RULE, issuer="https://evil.example").check_signature(ME, ROOT)
    signed(folder, RULE)
    (folder / "policy.toml").write_text(f"version = 1\n{RULE}\n# changed\n")
    with pytest.raises(SignatureInvalid):
        PolicyFile.read(str(folder / "policy.toml")).check_signature(ME, ROOT)
    (folder / "policy.toml.sigstore.json").unlink()
    with pytest.raises(NotFound):
        PolicyFile.read(str(folder / "policy.toml")).check_signature(ME, ROOT)


def test_a_signed_policy_fixes_all_that_it_refers_to(folder: Path) -> None:
    digest = hashlib.sha256((folder / "root.json").read_bytes()).hexdigest()
    loose = f'[root]\nfile = "root.json"\n{RULE}'
    with pytest.raises(RequestRejected, match=r"root\.json holds is not"):
        signed(folder, loose).check_signature(ME, ROOT)
    fixed = f'[root]\nfile = "root.json"\nsha256 = "{digest}"\n{RULE}'
    assert signed(folder, fixed).check_signature(ME, ROOT)


def test_what_is_checked_is_what_is_used(folder: Path) -> None:
    """The file is read once: who changes it between check and use changes nothing."""
    file = signed(folder, RULE)
    (folder / "policy.toml").write_text("version = 1\n")
    assert file.check_signature(ME, ROOT)
    assert verify(file, FORGE.bundle(), root=ROOT)
