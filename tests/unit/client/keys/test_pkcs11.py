# SPDX-License-Identifier: Apache-2.0
"""Keys in a PKCS#11 token (SoftHSM): made there, found by URI, and refused where they must be.

Everything happens in processes of their own: a library looks at its environment once, a login
holds for a whole process, and a library that crashes should not take the test run along.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pkcs11
import pytest

from countermark.app.key_store import UNATTENDED
from countermark.client.keys.asking import Asking
from countermark.client.keys.key import KINDS
from countermark.client.keys.pkcs11_token import log_in
from countermark.client.keys.pkcs11_uri import KeyURI
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import SettingsError, UpstreamDown
from tests.support.softhsm import OFFICER_PIN, PIN, SoftHSM, softhsm

pytestmark = pytest.mark.xdist_group("softhsm")
KINDS_THERE = ["p256", "p384", "p521", "ed25519", "rsa3072"]
# Signs with the key named in argv[1]; prints PEM, and signatures of a message and its digest.
SIGN = """
import hashlib, json, sys
from countermark.client.keys.key import digest_name
from countermark.client.keys.reference import open_key
from countermark.core.errors import CountermarkError
def tried(make):
    try:
        return make().hex()
    except CountermarkError as error:
        return f"{error.code}: {error}"
key = open_key(sys.argv[1])
digest = hashlib.new(digest_name(key.public_key), b"message").digest()
found = [tried(lambda: key.sign(b"message")), tried(lambda: key.sign_digest(digest))]
print(json.dumps([key.public_key.to_pem(), *found]))
"""


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHSM:
    return softhsm(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture(scope="module")
def token(hsm: SoftHSM, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A token with a key of every kind, made by our command; the beginning of their URIs."""
    uri = hsm.token("releases")
    folder = tmp_path_factory.mktemp("public")
    for number, kind in enumerate(KINDS_THERE, 1):
        made = countermark(
            hsm,
            *("key", "generate", str(folder / kind), "--kind", kind),
            *("--in", f"{uri};object={kind};id=%{number:02x}", "--json"),
        )
        assert made.returncode == 0, made.stdout + made.stderr
        told = json.loads(made.stdout)
        assert told["kind"] == KINDS[kind]
        assert told["key"] == f"{uri};object={kind};id=%{number:02X}"
        public = PublicKey.from_pem((folder / f"{kind}.pub").read_text())
        assert public.key_id.hex() == told["keyId"]
    return uri


def run(hsm: SoftHSM, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **hsm.environment, "COUNTERMARK_PKCS11_PIN": PIN, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def countermark(
    hsm: SoftHSM, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return run(hsm, "-m", "countermark", *arguments, **environment)


@pytest.mark.parametrize("kind", KINDS_THERE)
def test_a_key_in_a_token_signs(hsm: SoftHSM, token: str, kind: str) -> None:
    done = run(hsm, "-c", SIGN, f"{token};object={kind}")
    assert done.returncode == 0, done.stderr
    pem, of_message, of_digest = json.loads(done.stdout)
    key = PublicKey.from_pem(pem)
    assert key.details == KINDS[kind]
    key.verify(bytes.fromhex(of_message), b"message")
    if kind == "ed25519":
        assert of_digest.startswith("algorithm-refused: ")
    else:
        key.verify(bytes.fromhex(of_digest), b"message")


def test_the_public_half_needs_no_pin(hsm: SoftHSM, token: str) -> None:
    shown = countermark(
        hsm, "key", "public", "--key", f"{token};object=p256", COUNTERMARK_PKCS11_PIN="wrong"
    )
    assert shown.returncode == 0, shown.stderr
    PublicKey.from_pem(shown.stdout)


def test_the_keys_of_a_token_are_listed(hsm: SoftHSM, token: str) -> None:
    listed = countermark(hsm, "key", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    rows = json.loads(listed.stdout)["keys"]
    assert [row["kind"] for row in rows] == [KINDS[kind] for kind in sorted(KINDS_THERE)]
    for row in rows[:2]:
        shown = countermark(hsm, "key", "public", "--key", row["uri"], "--json")
        assert json.loads(shown.stdout)["keyId"] == row["keyId"]


REFUSED: dict[str, tuple[Callable[[str], str], int, str]] = {
    # First, since a login holds for the whole process.
    "wrong PIN": (lambda uri: f"{uri};object=p256?pin-value=000000", 78, "PIN of the token"),
    "no such token": (lambda uri: "pkcs11:token=another", 11, "no token fits"),
    "no such key": (lambda uri: f"{uri};object=another", 11, "no private key that fits"),
    "other id": (lambda uri: f"{uri};object=p256;id=%02", 11, "no private key that fits"),
    "other serial": (lambda uri: f"{uri};serial=0;object=p256", 11, "no token fits"),
    "several": (lambda uri: uri, 2, "several keys fit"),
    "no such library": (
        lambda uri: f"{uri};object=p256?module-path=/nowhere/lib.so",
        78,
        "is no PKCS#11 library",
    ),
    "library of the folder": (
        lambda uri: f"{uri};object=p256?module-path=lib.so",
        78,
        "not given by its whole path",
    ),
    "library that is none": (
        lambda uri: f"{uri};object=p256?module-path=/etc/passwd",
        78,
        "is no PKCS#11 library",
    ),
    "PIN from a program": (lambda uri: f"{uri};object=p256?pin-source=|id", 2, "from a program"),
    "attribute we don't compare": (lambda uri: f"{uri};library-version=3", 2, "not supported"),
    "attribute twice": (lambda uri: f"{uri};object=a;object=b", 65, "says object twice"),
}


# Opens every key named in argv; prints exit codes and messages.
OPEN = """
import json, sys
from countermark.cli.exits import exit_code
from countermark.client.keys.reference import open_key
from countermark.core.errors import CountermarkError
found = []
for uri in sys.argv[1:]:
    try:
        open_key(uri)
        found.append([0, ""])
    except CountermarkError as error:
        found.append([exit_code(error), str(error)])
print(json.dumps(found))
"""


def test_what_names_no_key_is_refused(hsm: SoftHSM, token: str) -> None:
    done = run(hsm, "-c", OPEN, *(make(token) for make, _, _ in REFUSED.values()))
    assert done.returncode == 0, done.stderr
    for why, (code, said) in zip(REFUSED, json.loads(done.stdout), strict=True):
        _, expected_code, expected = REFUSED[why]
        assert (code, expected in said) == (expected_code, True), (why, said)
    assert "000000" not in done.stdout
    assert PIN not in done.stdout + done.stderr


def test_a_pin_comes_from_a_file_that_the_uri_names(
    hsm: SoftHSM, token: str, tmp_path: Path
) -> None:
    file = tmp_path / "pin"
    file.write_text(f"{PIN}\n")
    uri = f"{token};object=p256?pin-source=file:{file}"
    done = run(hsm, "-c", SIGN, uri, COUNTERMARK_PKCS11_PIN="")
    assert done.returncode == 0, done.stderr
    without = countermark(
        hsm, "key", "generate", "x", "--in", f"{token};object=x", COUNTERMARK_PKCS11_PIN=""
    )
    assert (without.returncode, "PIN of the token" in without.stderr) == (78, True), without.stderr


def test_a_passphrase_variable_is_never_tried_as_a_pin(hsm: SoftHSM, token: str) -> None:
    done = countermark(
        hsm,
        *("key", "generate", "x", "--in", f"{token};object=x"),
        COUNTERMARK_PKCS11_PIN="",
        COUNTERMARK_PASSWORD=PIN,
        COSIGN_PASSWORD=PIN,
    )
    assert (done.returncode, "nobody can be asked" in done.stderr) == (78, True), done.stderr


def test_no_second_key_of_a_name_is_made(hsm: SoftHSM, token: str, tmp_path: Path) -> None:
    name = str(tmp_path / "again")
    for uri in (f"{token};object=p256", token):
        done = countermark(hsm, "key", "generate", name, "--in", uri)
        assert done.returncode == 2, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_key_does_not_leave_its_token(hsm: SoftHSM, token: str) -> None:
    attributes = """
import pkcs11, os
from pkcs11 import Attribute, ObjectClass
session = pkcs11.lib(os.environ["COUNTERMARK_PKCS11_MODULE"]).get_token(
    token_label="releases").open(user_pin=os.environ["COUNTERMARK_PKCS11_PIN"])
for key in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}):
    assert key[Attribute.SENSITIVE] and not key[Attribute.EXTRACTABLE], key
    assert key[Attribute.SIGN] and not key[Attribute.DECRYPT] and not key[Attribute.UNWRAP]
"""
    done = run(hsm, "-c", attributes)
    assert done.returncode == 0, done.stderr


class LockedToken:
    """A token that says, or lets find out, that its PIN is locked; SoftHSM never locks one."""

    label = "card"

    def __init__(self, flags: int, error: Exception | None = None) -> None:
        self.flags = flags
        self._error = error
        self.tried: list[object] = []

    def open(self, *, rw: bool, user_pin: object) -> None:
        self.tried.append(user_pin)
        assert self._error is not None
        raise self._error


def test_a_locked_pin_is_not_tried_and_a_last_try_is_announced() -> None:
    flags = pkcs11.TokenFlag
    uri, notices = KeyURI(pin="0000"), list[str]()
    asking = Asking(notice=notices.append)
    locked: Any = LockedToken(flags.USER_PIN_LOCKED)
    with pytest.raises(SettingsError, match="is locked"):
        log_in(locked, uri, asking, {})
    assert locked.tried == []
    last: Any = LockedToken(flags.USER_PIN_FINAL_TRY, pkcs11.exceptions.PinLocked())
    with pytest.raises(SettingsError, match="is locked"):
        log_in(last, uri, asking, {})
    assert last.tried == ["0000"]
    assert notices == ["the token 'card' locks itself if the PIN is wrong once more"]
    gone: Any = LockedToken(0, pkcs11.exceptions.DeviceRemoved())
    with pytest.raises(UpstreamDown, match="DeviceRemoved"):
        log_in(gone, uri, asking, {})


def test_an_instance_never_takes_a_token_s_last_try() -> None:
    last: Any = LockedToken(pkcs11.TokenFlag.USER_PIN_FINAL_TRY)
    with pytest.raises(SettingsError, match="locks itself if the PIN is wrong once more") as raised:
        log_in(last, KeyURI(pin="0000"), UNATTENDED, {})
    assert last.tried == []
    assert "right PIN" in raised.value.__notes__[0]


def test_a_pin_is_tried_at_one_token_only(tmp_path: Path) -> None:
    two = softhsm(tmp_path)
    two.token("one")
    two.token("other")
    listed = countermark(two, "key", "list", f"pkcs11:?pin-value={PIN}")
    assert listed.returncode == 2, listed.stdout
    assert "several tokens fit" in listed.stderr
    assert PIN not in listed.stderr


def test_an_officers_pin_is_no_users(hsm: SoftHSM, token: str) -> None:
    done = run(hsm, "-c", SIGN, f"{token};object=p256", COUNTERMARK_PKCS11_PIN=OFFICER_PIN)
    assert done.returncode == 1
    assert "SettingsError" in done.stderr
