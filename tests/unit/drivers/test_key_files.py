# SPDX-License-Identifier: Apache-2.0
"""Key files: who can read them, what is refused, and what openssl thinks of them."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import AlgorithmRefused, FormatError, SettingsError
from countermark.drivers.keys.file import (
    ED25519,
    P256,
    P384,
    RSA_2048,
    create_key,
    load_signer,
)

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture(autouse=True)
def loose_umask() -> object:
    """What we write is secret whatever the umask is."""
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.mark.parametrize("algorithm", [P256, P384, ED25519, RSA_2048])
def test_created_key_signs_like_the_loaded_one(tmp_path: Path, algorithm: str) -> None:
    created = create_key(tmp_path / "key.pem", algorithm, PASSPHRASE)
    loaded = load_signer(tmp_path / "key.pem", PASSPHRASE)

    assert created.public_key == loaded.public_key
    assert created.public_key.details == algorithm
    created.public_key.verify(loaded.sign(b"message"), b"message")


def test_file_is_encrypted_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    create_key(path, P256, PASSPHRASE)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


def test_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        create_key(path, P256, PASSPHRASE)
    assert path.read_bytes() == b"precious"


def test_dangling_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        create_key(tmp_path / "key.pem", P256, PASSPHRASE)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644])
def test_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    create_key(path, P256, PASSPHRASE)
    path.chmod(mode)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_signer(path, PASSPHRASE)


def test_wrong_passphrase_says_so(tmp_path: Path) -> None:
    create_key(tmp_path / "key.pem", P256, PASSPHRASE)
    with pytest.raises(SettingsError, match="does not open with the passphrase"):
        load_signer(tmp_path / "key.pem", b"wrong")


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_signer(tmp_path / "key.pem", PASSPHRASE)


def test_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load_signer(tmp_path, PASSPHRASE)


def test_unencrypted_key_is_refused(tmp_path: Path) -> None:
    write_foreign(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1()), NoEncryption())
    with pytest.raises(SettingsError, match="no encrypted PKCS#8 key but a PRIVATE KEY"):
        load_signer(tmp_path / "key.pem", PASSPHRASE)


def test_other_kinds_of_key_are_refused(tmp_path: Path) -> None:
    secret = BestAvailableEncryption(PASSPHRASE)
    write_foreign(tmp_path / "k1.pem", ec.generate_private_key(ec.SECP256K1()), secret)
    write_foreign(tmp_path / "p521.pem", ec.generate_private_key(ec.SECP521R1()), secret)
    write_foreign(tmp_path / "dsa.pem", dsa.generate_private_key(1024), secret)
    for path in tmp_path.iterdir():
        with pytest.raises(AlgorithmRefused):
            load_signer(path, PASSPHRASE)
    with pytest.raises(AlgorithmRefused):
        create_key(tmp_path / "new.pem", "PKIX_ECDSA_P521_SHA_512", PASSPHRASE)


def test_key_of_another_file_is_noticed(tmp_path: Path) -> None:
    paths = (tmp_path / "one.pem", tmp_path / "two.pem")
    for path in paths:
        create_key(path, ED25519, PASSPHRASE)
    private, public = (path.read_text().partition("-----BEGIN PUBLIC") for path in paths)
    paths[0].write_text("".join((private[0], public[1], public[2])))
    with pytest.raises(FormatError, match="halves differ"):
        load_signer(paths[0], PASSPHRASE)
    paths[0].write_text(private[0] * 2)
    with pytest.raises(FormatError, match="halves differ"):
        load_signer(paths[0], PASSPHRASE)


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.touch(0o600)
    os.truncate(path, 1 << 40)  # sparse
    with pytest.raises(FormatError, match="larger than"):
        load_signer(path, PASSPHRASE)


def test_openssl_reads_our_file_and_we_read_its(tmp_path: Path) -> None:
    ours = tmp_path / "ours.pem"
    signer = create_key(ours, P384, PASSPHRASE)
    password = f"pass:{PASSPHRASE.decode()}"
    printed = openssl("pkey", "-in", str(ours), "-passin", password, "-pubout")
    assert PublicKey.from_pem(printed) == signer.public_key

    plain, theirs = tmp_path / "plain.pem", tmp_path / "theirs.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(plain))
    openssl(*("pkcs8", "-topk8", "-in", str(plain), "-out", str(theirs)), "-passout", password)
    theirs.chmod(0o600)
    loaded = load_signer(theirs, PASSPHRASE)
    assert loaded.public_key == PublicKey.from_pem(openssl("pkey", "-in", str(plain), "-pubout"))


def test_printing_a_signer_shows_no_secret(tmp_path: Path) -> None:
    signer = create_key(tmp_path / "key.pem", P256, PASSPHRASE)
    assert repr(signer) == f"FileSigner({P256}, {signer.public_key.key_id.hex()[:16]})"


def openssl(*arguments: str) -> str:
    return subprocess.run(
        ["openssl", *arguments], check=True, capture_output=True, text=True
    ).stdout


def write_foreign(
    path: Path,
    key: ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey,
    encryption: KeySerializationEncryption,
) -> None:
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
