# SPDX-License-Identifier: Apache-2.0
"""`countermark verify --key`, with several keys, and with keys that are named by URI."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.cli.verify_command import run
from countermark.client.keys import files
from countermark.client.keys.local import LocalKey
from countermark.core.crypto.keys import PublicKey
from tests.support.cheap_keys import cheap
from tests.support.forge import ARTIFACT, Forge, Plan, sign_content
from tests.support.key_services import VAULT_TOKEN, key_services
from tests.support.made_certificates import CurveKey, public_pem

__all__ = ["cheap"]
pytestmark = pytest.mark.usefixtures("cheap")
FORGE = Forge()
KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
TRUST = ("--trusted-root", "root.json")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(ARTIFACT)
    Path("root.json").write_bytes(FORGE.trusted_root().serialize())
    for number, key in enumerate(KEYS):
        Path(f"{number}.pub").write_bytes(public_pem(key))
    sign(KEYS[1], "file")


def hint(key: CurveKey) -> str:
    public = PublicKey.from_pem(public_pem(key).decode())
    return base64.b64encode(public.key_id).decode()


def sign(key: CurveKey, name: str, *, named: str | None = None) -> None:
    """Sign the artifact with `key`; the bundle names it, or whatever `named` says."""
    plan = Plan(certificate=False)
    content, signature = sign_content(key, plan)
    entry = FORGE.entry_v1(plan, content, signature, public_pem(key))
    bundle = FORGE.bundle(plan)._replace(
        content=content,
        tlog_entries=(entry,),
        timestamps=(),
        public_key_hint=hint(key) if named is None else named,
    )
    Path(f"{name}.sigstore.json").write_bytes(bundle.serialize())


def verify(*keys: str) -> int:
    return run(["file", "--json", *TRUST, *(word for key in keys for word in ("--key", key))])


def result(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)["results"][0]


@pytest.mark.parametrize(
    "named",
    [None, hint(KEYS[0]), hint(KEYS[2]), "release key 7"],
    ids=["nothing", "first", "third", "words"],  # the keys are others in each process
)
def test_one_of_several_keys_must_have_signed(
    named: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(KEYS[1], "file", named=named)  # nobody signs the hint: a wrong one hides no key
    expected = base64.b64decode(hint(KEYS[1])).hex()
    for keys in (["1.pub"], ["0.pub", "1.pub"], ["1.pub", "2.pub"], ["2.pub", "0.pub", "1.pub"]):
        assert verify(*keys) == 0
        assert result(capsys)["keyId"] == expected
    assert verify("0.pub", "2.pub") == 1
    capsys.readouterr()


def test_the_error_is_of_the_key_that_the_bundle_names(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_bytes(b"another file\n")
    assert verify("0.pub", "1.pub") == 1
    assert "not the one that was signed" in result(capsys)["error"]["message"]
    assert verify("0.pub", "2.pub") == 1
    assert result(capsys)["error"]["message"] == "none of the 2 keys made the signature"


def test_a_certified_signature_is_none_of_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file.sigstore.json").write_bytes(FORGE.bundle().serialize())
    assert verify("0.pub", "1.pub") == 1
    assert "not by a key" in result(capsys)["error"]["message"]


def test_each_key_has_the_period_that_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    now = ("--key-valid-until", "2020-01-01T00:00:00Z")
    assert run(["file", "--json", *TRUST, "--key", "0.pub", "--key", "1.pub", *now]) == 1
    assert result(capsys)["error"]["code"] == "time-unproven"


def test_a_key_by_uri(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RELEASE", public_pem(KEYS[1]).decode())
    assert verify("env://RELEASE") == 0
    assert verify("env://NOTHING") == 11
    with key_services() as services:
        services.key = KEYS[1]
        monkeypatch.setenv("VAULT_ADDR", services.url)
        monkeypatch.setenv("VAULT_TOKEN", VAULT_TOKEN)
        assert verify("hashivault://release") == 0
        assert verify("0.pub", "openbao://release") == 0
        services.fail = 500
        assert verify("hashivault://release") == 69
    assert verify("hashivault://release") == 69
    capsys.readouterr()


def test_a_private_key_is_not_for_verifying(capsys: pytest.CaptureFixture[str]) -> None:
    for number, as_cosign in enumerate((False, True)):
        name = f"private{number}"
        key = LocalKey(KEYS[1])
        data = files.encode_private_key(key, b"passphrase", as_cosign=as_cosign)
        files.write_key_pair(name, data, key.public_key.to_pem())
        assert verify(f"{name}.pub") == 0
        capsys.readouterr()
        assert verify(f"{name}.key") == 2
        error = json.loads(capsys.readouterr().out)["error"]
        assert (error["message"], error["hint"]) == (
            f"{name}.key is a private key; verifying needs the public one",
            f"countermark key public --key {name}.key",
        )
    assert verify("") == 2
    capsys.readouterr()
