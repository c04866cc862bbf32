# SPDX-License-Identifier: Apache-2.0
"""Key files: what is written opens again, here and elsewhere, and nothing else does."""

import base64
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from countermark.client.keys import cosign, files, pkcs8
from countermark.client.keys.asking import Asking
from countermark.client.keys.key import KINDS, P256
from countermark.client.keys.local import LocalKey
from countermark.core.crypto import der
from countermark.core.crypto.keys import decode_pem_blocks, encode_pem
from countermark.core.errors import (
    AlgorithmRefused,
    CountermarkError,
    FormatError,
    NotFound,
    RequestRejected,
    SettingsError,
)
from tests.support.cheap_keys import cheap

__all__ = ["cheap"]
pytestmark = pytest.mark.usefixtures("cheap")
PASSPHRASE = b"correct horse"
KEYS = {name: LocalKey.generate(details) for name, details in KINDS.items() if name != "rsa4096"}
KEY = KEYS["p256"]


def asking(passphrase: bytes = PASSPHRASE, notices: list[str] | None = None) -> Asking:
    return Asking(
        passphrase=lambda what: passphrase,
        notice=(notices if notices is not None else []).append,
    )


def written(folder: Path, data: bytes, mode: int = 0o600) -> str:
    path = folder / "some.key"
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("form", ["pkcs8", "cosign", "plain"])
def test_a_key_opens_again(name: str, form: str, tmp_path: Path) -> None:
    key = KEYS[name]
    passphrase = None if form == "plain" else PASSPHRASE
    data = files.encode_private_key(key, passphrase, as_cosign=form == "cosign")
    read = files.read_private_key(written(tmp_path, data), asking())
    assert read.public_key == key.public_key
    read.public_key.verify(read.sign(b"message"), b"message")


@pytest.mark.parametrize("form", ["pkcs8", "cosign"])
@pytest.mark.parametrize("passphrase", [b"", b"correct hors", b"Correct horse", bytes(1000)])
def test_another_passphrase_is_refused(form: str, passphrase: bytes) -> None:
    data = files.encode_private_key(KEY, PASSPHRASE, as_cosign=form == "cosign")
    with pytest.raises(SettingsError, match="does not open with the passphrase"):
        files.decode_private_key(data, asking(passphrase), "some.key")


def test_a_plain_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    data = files.encode_private_key(KEY, None, as_cosign=False)
    for mode in (0o644, 0o640, 0o602, 0o666):
        with pytest.raises(SettingsError, match="not encrypted") as refusal:
            files.read_private_key(written(tmp_path, data, mode), asking())
        assert refusal.value.__notes__ == [f"chmod 600 {tmp_path}/some.key"]


def test_an_encrypted_key_that_others_can_read_is_noticed(tmp_path: Path) -> None:
    data = files.encode_private_key(KEY, PASSPHRASE, as_cosign=False)
    notices: list[str] = []
    files.read_private_key(written(tmp_path, data, 0o644), asking(notices=notices))
    assert notices == [
        f"{tmp_path}/some.key can be read or changed by others: chmod 600 {tmp_path}/some.key"
    ]
    notices.clear()
    files.read_private_key(written(tmp_path, data, 0o400), asking(notices=notices))
    assert notices == []


def test_a_plain_key_asks_for_no_passphrase(tmp_path: Path) -> None:
    data = files.encode_private_key(KEY, None, as_cosign=False)
    assert files.read_private_key(written(tmp_path, data), Asking()).public_key == KEY.public_key


def test_a_new_pair_has_its_modes_and_replaces_nothing(tmp_path: Path) -> None:
    name = str(tmp_path / "release")
    old = os.umask(0)  # what a careless shell could have
    try:
        private, public = files.write_key_pair(name, b"private", "public")
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(private).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(public).st_mode) == 0o644
    for gone in (private, public):
        kept = [path for path in (private, public) if path != gone]
        os.unlink(gone)
        with pytest.raises(RequestRejected, match="exists already"):
            files.write_key_pair(name, b"another", "another")
        assert [Path(path).read_bytes() for path in kept] in ([b"private"], [b"public"])
        files.create_file(gone, b"private" if gone == private else b"public")
    assert sorted(os.listdir(tmp_path)) == ["release.key", "release.pub"]


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "release.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestRejected, match="exists already"):
        files.create_file(str(tmp_path / "release.key"), b"private", 0o600)
    assert not (tmp_path / "elsewhere").exists()
    assert os.listdir(tmp_path) == ["release.key"]


def test_what_is_no_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        files.read_private_key(str(tmp_path / "absent"), asking())
    with pytest.raises(RequestRejected, match="is a public key"):
        files.read_private_key(written(tmp_path, KEY.public_key.to_pem().encode()), asking())
    for data in (b"", b"\xff", b"x" * 100_000, encode_pem("CERTIFICATE", b"x").encode()):
        with pytest.raises(FormatError):
            files.read_private_key(written(tmp_path, data), asking())


def test_halves_that_differ_are_damage() -> None:
    other = LocalKey.generate(P256).public_key.to_pem().encode()
    data = files.encode_private_key(KEY, None, as_cosign=False)
    own = KEY.public_key.to_pem().encode()
    with pytest.raises(FormatError, match="halves differ"):
        files.decode_private_key(data.replace(own, other), asking(), "some.key")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("an EC key after its parameters", "ecparam -genkey -name prime256v1"),
        ("PKCS#1", "genrsa -traditional 3072"),
        ("PKCS#8", "genpkey -algorithm ed25519"),
        ("PBKDF2", "genpkey -algorithm ed25519 -aes-256-cbc -pass pass:correct%horse"),
    ],
)
def test_what_openssl_makes_opens(name: str, command: str) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there")
    arguments = [word.replace("%", " ") for word in command.split()]
    made = subprocess.run(["openssl", *arguments], capture_output=True, check=True).stdout
    key = files.decode_private_key(made, asking(), name)
    key.public_key.verify(key.sign(b"message"), b"message")


@pytest.mark.parametrize("kind", ["secp256k1", "ed448", "x25519", "rsa1024"])
def test_kinds_that_sigstore_does_not_use_are_refused(kind: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    makers: dict[str, Any] = {
        "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "ed448": ed448.Ed448PrivateKey.generate,
        "x25519": x25519.X25519PrivateKey.generate,
        "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
    }
    key = makers[kind]()
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(AlgorithmRefused):
        files.decode_private_key(plain, asking(), "some.key")


@pytest.mark.parametrize("length", [0, 1, 14, 31, 33, 57, 64, 200])
def test_an_ed25519_key_of_another_length_is_refused(length: int) -> None:
    private = der.octet_string(der.octet_string(bytes(length)))
    data = der.sequence(der.integer(0), der.sequence(der.oid("1.3.101.112")), private)
    with pytest.raises(FormatError, match="is no private key"):
        files.decode_private_key(encode_pem("PRIVATE KEY", data).encode(), asking(), "some.key")


def pbes2(kdf: bytes) -> bytes:
    scheme = der.sequence(der.oid("2.16.840.1.101.3.4.1.42"), der.octet_string(bytes(16)))
    parameters = der.sequence(kdf, scheme)
    algorithm = der.sequence(der.oid("1.2.840.113549.1.5.13"), parameters)
    return der.sequence(algorithm, der.octet_string(bytes(64)))


def scrypt_of(n: int, r: int, p: int) -> bytes:
    numbers = (der.integer(n), der.integer(r), der.integer(p))
    return der.sequence(
        der.oid("1.3.6.1.4.1.11591.4.11"), der.sequence(der.octet_string(bytes(8)), *numbers)
    )


@pytest.mark.parametrize(
    "kdf",
    [
        scrypt_of(2**30, 8, 1),
        scrypt_of(2**14, 2**20, 1),
        scrypt_of(2**14, 8, 2**20),
        scrypt_of(2**14, 8, 0),
        scrypt_of(-(2**14), 8, 1),
        der.sequence(
            der.oid("1.2.840.113549.1.5.12"),
            der.sequence(der.octet_string(bytes(8)), der.integer(2**31)),
        ),
    ],
)
def test_work_without_bound_is_refused_before_it_is_done(kdf: bytes) -> None:
    with pytest.raises(FormatError, match="asks for more"):
        pkcs8.decrypt(pbes2(kdf), PASSPHRASE, "some.key")


def cosign_body(**changes: Any) -> bytes:
    body = cosign.seal(KEY.to_pkcs8(), PASSPHRASE, salt=bytes(32), nonce=bytes(24))
    tree = json.loads(body)
    for path, value in changes.items():
        *parents, last = path.split("__")
        parent = tree
        for name in parents:
            parent = parent[name]
        parent[last] = value
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"kdf__params": {"N": 2**31, "r": 8, "p": 1}},
        {"kdf__params": {"N": 65536, "r": 8, "p": 2**30}},
        {"kdf__params": {"N": "65536", "r": 8, "p": 1}},
        {"kdf__params": {"N": True, "r": 8, "p": 1}},
        {"kdf__params": {"N": 2, "r": 8, "p": 1}},
        {"kdf__params": {}},
        {"kdf__name": "pbkdf2"},
        {"kdf__salt": ""},
        {"kdf__salt": base64.b64encode(bytes(4096)).decode()},
        {"cipher__name": "aes"},
        {"cipher__nonce": base64.b64encode(bytes(12)).decode()},
        {"ciphertext": ""},
        {"ciphertext": base64.b64encode(bytes(15)).decode()},
        {"kdf": None},
        {"cipher": []},
    ],
)
def test_a_key_file_of_cosigns_that_was_changed_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CountermarkError) as refusal:
        cosign.unseal(cosign_body(**changes), PASSPHRASE, "cosign.key")
    assert isinstance(refusal.value, FormatError | AlgorithmRefused | SettingsError)


def test_the_older_label_and_an_empty_passphrase_are_read() -> None:
    body = cosign.seal(KEY.to_pkcs8(), b"", salt=bytes(32), nonce=bytes(24))
    data = encode_pem("ENCRYPTED COSIGN PRIVATE KEY", body).encode()
    read = files.decode_private_key(data, asking(b""), "cosign.key")
    assert read.public_key == KEY.public_key


def test_no_two_files_of_a_key_share_salt_or_nonce() -> None:
    made = [files.encode_private_key(KEY, PASSPHRASE, as_cosign=True) for _ in range(2)]
    bodies = [json.loads(decode_pem_blocks(data.decode(), "key")[0][1]) for data in made]
    assert bodies[0]["kdf"]["salt"] != bodies[1]["kdf"]["salt"]
    assert bodies[0]["cipher"]["nonce"] != bodies[1]["cipher"]["nonce"]
