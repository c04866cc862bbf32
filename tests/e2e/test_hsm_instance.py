# SPDX-License-Identifier: Apache-2.0
"""An instance whose CA, TSA and log keys are in a PKCS#11 token: made, used and rotated there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from countermark.client.keys.pkcs11_token import PIN_VARIABLES
from countermark.core.crypto.keys import decode_pem_blocks
from tests.support.instance import Instance
from tests.support.softhsm import PIN, SoftHSM, softhsm

pytestmark = pytest.mark.xdist_group("hsm")
ADA = "ada@example.org"
SIGNING = ("ca", "tsa", "rekor-v1-1", "ct-main")


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHSM:
    return softhsm(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture(scope="module")
def instance(hsm: SoftHSM, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A running one; the PIN is in a file that the key store's URI names."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in hsm.environment.items():
            patched.setenv(name, value)
        for name in PIN_VARIABLES:
            patched.delenv(name, raising=False)
        folder = tmp_path_factory.mktemp("instance")
        pin = folder / "pin"
        pin.write_text(f"{PIN}\n")
        store = f"{hsm.token('instance')}?pin-source=file:{pin}"
        with Instance(folder, "--key-store", store) as up:
            yield up


def kind_of(instance: Instance, name: str) -> str:
    text = instance.data_dir.key_file(name).read_text()
    return decode_pem_blocks(text, name)[0][0]


def signs(instance: Instance, name: str) -> Path:
    file = instance.home / name
    file.write_text(name)
    signed = instance.command("sign", "--url", instance.url, "--email", ADA, str(file))
    assert signed.returncode == 0, signed.stderr + instance.said()
    return file


def verifies(instance: Instance, file: Path) -> None:
    root = str(instance.data_dir.trust / "trusted_root.json")
    who = ("--identity", ADA, "--issuer", f"{instance.url}/oidc")
    done = instance.command("verify", "--trusted-root", root, *who, str(file))
    assert done.returncode == 0, done.stderr


def test_what_signs_is_in_the_token(instance: Instance) -> None:
    kinds = {name: kind_of(instance, name) for name in (*SIGNING, "login", "tuf-online")}
    assert kinds == {
        **dict.fromkeys(SIGNING, "COUNTERMARK TOKEN KEY"),
        **dict.fromkeys(("login", "tuf-online"), "ENCRYPTED PRIVATE KEY"),
    }
    assert all(PIN not in file.read_text() for file in instance.data_dir.keys.iterdir())
    assert all(file.stat().st_mode & 0o077 == 0 for file in instance.data_dir.keys.glob("*store"))


def test_it_serves_restarts_and_rotates(instance: Instance) -> None:
    files = [signs(instance, "first")]
    data = str(instance.data_dir.path)
    for options in (("--data", data), ("--data", data, "--continue", "--now")):
        rotated = instance.command("trust", "rotate", "tsa", *options)
        assert rotated.returncode == 0, rotated.stderr + instance.said()
    assert kind_of(instance, "tsa-2") == "COUNTERMARK TOKEN KEY"
    files.append(signs(instance, "second"))
    instance.stop()
    judged = instance.command("log", "fsck", "--data", data)
    assert judged.returncode == 0, judged.stderr
    sharded = instance.command("log", "shard", "--data", data)
    assert sharded.returncode == 0, sharded.stderr
    assert kind_of(instance, "rekor-v1-2") == "COUNTERMARK TOKEN KEY"
    instance.start()
    files.append(signs(instance, "third"))
    for file in files:
        verifies(instance, file)


def test_another_key_under_the_name_is_refused(instance: Instance) -> None:
    instance.stop()
    ca, tsa = instance.data_dir.key_file("ca"), instance.data_dir.key_file("tsa")
    kept = ca.read_text()
    public = kept.index("-----BEGIN PUBLIC KEY-----")
    ca.write_text(tsa.read_text().split("-----BEGIN PUBLIC")[0] + kept[public:])
    done = instance.command("up", "--data", str(instance.data_dir.path))
    assert done.returncode != 0
    assert "another one than" in done.stdout + done.stderr
    ca.write_text(kept)
    instance.start()
    signs(instance, "fourth")


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("pkcs11:token=nowhere", "no token fits"),
        ("pkcs11:token=instance?pin-value=1234", "does not belong into"),
        ("pkcs11:token=instance;object=key", "leave out object and id"),
        ("pkcs11:token=instance?pin-source=file:/nowhere/pin", "pin-source cannot be read"),
        ("pkcs11:token=instance", "needs a PIN"),
    ],
)
def test_no_instance_is_made_with_a_store_that_cannot_be(
    instance: Instance, tmp_path: Path, store: str, said: str
) -> None:
    done = instance.command("init", "--data", str(tmp_path / "new"), "--key-store", store)
    assert (done.returncode != 0, said in done.stderr) == (True, True), done.stderr


def test_the_run_after_a_failed_one_makes_an_instance(instance: Instance, tmp_path: Path) -> None:
    new = ("init", "--data", str(tmp_path / "new"))
    assert instance.command(*new, "--key-store", "pkcs11:token=instance").returncode != 0
    again = instance.command(*new)
    assert again.returncode == 0, again.stderr
    text = (tmp_path / "new/keys/ca.pem").read_text()
    assert decode_pem_blocks(text, "ca")[0][0] == "ENCRYPTED PRIVATE KEY"
