# SPDX-License-Identifier: Apache-2.0
"""`init`: what it makes, for whom to read, and what it refuses."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from countermark.app.data_dir import VERSION, DataDir, State
from countermark.app.init import Initialised, Passphrases, initialise
from countermark.app.keyring import KeyRing
from countermark.app.logs import auditor_of
from countermark.app.opening import open_instance
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import SettingsError
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.embedded.rocks import RocksLogStore
from countermark.drivers.keys.file import load_signer
from countermark.drivers.system import SystemClock, SystemEntropy
from countermark.tilelog.fsck import fsck
from countermark.trust.repository import TufRepository
from countermark.trust.targets import NAMES

URL = "http://localhost:7446"
MADE_UP = Passphrases()
PUBLIC_FOLDERS = ("logs", "tuf", "trust")
GUARDED_FOLDERS = ("db", *PUBLIC_FOLDERS)  # the first by its own mode: RocksDB sets its files'


@pytest.fixture(autouse=True)
def loose_umask() -> Iterator[None]:
    """What we write is secret whatever the umask is."""
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    return DataDir.at(tmp_path / "new" / "data")


def make(data_dir: DataDir, passphrases: Passphrases = MADE_UP) -> Initialised:
    return initialise(data_dir, URL, SystemClock(), SystemEntropy(), passphrases)


def test_complete_instance(data_dir: DataDir) -> None:
    made = make(data_dir)

    assert data_dir.state() is State.COMPLETE
    config = open_instance(data_dir)
    assert config == made.config
    assert config.base_url == URL
    keys = KeyRing.load(data_dir, config)
    root = TrustedRoot.parse((data_dir.trust / "trusted_root.json").read_bytes())
    assert [log.public_key for log in root.tlogs] == [keys.signer("rekor-v1-1").public_key]
    assert [log.public_key for log in root.ctlogs] == [keys.signer("ct-main").public_key]
    assert root.certificate_authorities[0].chain == keys.ca_chain
    assert root.timestamp_authorities[0].chain == keys.tsa_chain
    assert root.tlogs[0].validity.start == config.created
    assert len({signer.public_key for signer in keys.signers.values()}) == 6
    repository = TufRepository.open(FileObjectStore(data_dir.tuf), keys.signer("tuf-online"))
    assert repository.timestamp_version == 1
    assert {path.name for path in data_dir.trust.iterdir()} == set(NAMES)


def test_keys_and_certificates_belong_together(data_dir: DataDir) -> None:
    make(data_dir)
    keys = KeyRing.load(data_dir, open_instance(data_dir))
    for name, chain in (("ca", keys.ca_chain), ("tsa", keys.tsa_chain)):
        leaf, anchor = (x509.load_der_x509_certificate(data) for data in chain)
        leaf.verify_directly_issued_by(anchor)
        spki = keys.signer(name).public_key.spki
        assert chain[0].count(spki) == 1
        passphrase = data_dir.offline_passphrase_file.read_bytes().strip()
        root = load_signer(data_dir.offline_key_file(f"{name}-root"), passphrase)
        assert chain[1].count(root.public_key.spki) == 1


def test_two_instances_share_nothing(tmp_path: Path) -> None:
    first, second = DataDir.at(tmp_path / "1"), DataDir.at(tmp_path / "2")
    configs = [make(data_dir).config for data_dir in (first, second)]
    assert configs[0].log("rekor-v1-1").tree_id != configs[1].log("rekor-v1-1").tree_id
    for name in ("local-secret", "keys/passphrase", "offline/passphrase", "keys/ca-chain.pem"):
        assert (first.path / name).read_bytes() != (second.path / name).read_bytes()


def test_secrets_are_for_the_owner_alone(data_dir: DataDir) -> None:
    make(data_dir)

    assert mode(data_dir.path) == 0o700
    for path in data_dir.path.rglob("*"):
        top = path.relative_to(data_dir.path).parts[0]
        if path.is_dir() and path.parent == data_dir.path:
            assert mode(path) == (0o755 if top in PUBLIC_FOLDERS else 0o700), path
        elif (
            path.is_file()
            and top not in GUARDED_FOLDERS
            and path.suffix != ".json"
            and path.name != "version"
        ):
            public = path.name in ("ca-chain.pem", "tsa-chain.pem")
            assert mode(path) == (0o644 if public else 0o600), path
    private = [path for path in data_dir.path.rglob("*") if b"PRIVATE" in contents(path)]
    assert len(private) == 9
    assert all(contents(path).startswith(b"-----BEGIN ENCRYPTED ") for path in private)
    data_dir.check_secrecy()


def test_no_secret_is_anywhere_else(data_dir: DataDir) -> None:
    made = make(data_dir)
    secrets = {
        path: path.read_bytes().strip()
        for path in (
            data_dir.local_secret_file,
            data_dir.keys_passphrase_file,
            data_dir.offline_passphrase_file,
        )
    }
    assert len(data_dir.read_local_secret()) == 64
    for path in data_dir.path.rglob("*"):
        for home, secret in secrets.items():
            assert path == home or secret not in contents(path)
    for secret in secrets.values():
        assert secret.decode() not in repr(made)


def test_given_passphrases_are_not_written_down(data_dir: DataDir) -> None:
    made = make(data_dir, Passphrases(b"online words", b"offline words"))

    assert not data_dir.keys_passphrase_file.exists()
    assert not data_dir.offline_passphrase_file.exists()
    for path in data_dir.path.rglob("*"):
        assert b" words" not in contents(path)
    config = open_instance(data_dir)
    with pytest.raises(SettingsError, match="passphrase"):
        KeyRing.load(data_dir, config)
    with pytest.raises(SettingsError, match="does not open with the passphrase"):
        KeyRing.load(data_dir, config, b"offline words")
    KeyRing.load(data_dir, config, b"online words")
    load_signer(data_dir.offline_key_file("tuf-root"), b"offline words")
    assert not any("made up" in warning for warning in made.warnings)


def test_owner_is_told_about_the_root_keys(data_dir: DataDir) -> None:
    warnings = " ".join(make(data_dir).warnings)
    assert str(data_dir.offline) in warnings
    assert str(data_dir.offline_passphrase_file) in warnings


def test_instance_runs_without_its_root_keys(data_dir: DataDir, tmp_path: Path) -> None:
    make(data_dir)
    data_dir.offline.rename(tmp_path / "safe")
    KeyRing.load(data_dir, open_instance(data_dir))


def test_existing_instance_is_left_alone(data_dir: DataDir) -> None:
    make(data_dir)
    before = {path: contents(path) for path in data_dir.path.rglob("*")}
    with pytest.raises(SettingsError, match="holds an instance already"):
        make(data_dir)
    assert {path: contents(path) for path in data_dir.path.rglob("*")} == before


def test_newer_instance_is_neither_opened_nor_made_over(data_dir: DataDir) -> None:
    make(data_dir)
    data_dir.version_file.write_text(f"{VERSION + 1}\n")
    for action in (lambda: make(data_dir), lambda: open_instance(data_dir)):
        with pytest.raises(SettingsError, match="newer Countermark"):
            action()


def test_strange_directory_is_left_alone(data_dir: DataDir) -> None:
    data_dir.path.mkdir(parents=True)
    (data_dir.path / "keys").mkdir()
    (data_dir.path / "keys" / "mine.pem").write_text("precious")
    with pytest.raises(SettingsError, match="neither empty nor"):
        make(data_dir)
    assert (data_dir.path / "keys" / "mine.pem").read_text() == "precious"


def test_bad_base_url_touches_nothing(data_dir: DataDir) -> None:
    with pytest.raises(SettingsError, match="base URL"):
        initialise(data_dir, "localhost", SystemClock(), SystemEntropy())
    assert not data_dir.path.exists()


def test_missing_instance_is_not_opened(data_dir: DataDir) -> None:
    with pytest.raises(SettingsError, match="run countermark init"):
        open_instance(data_dir)


def test_exposed_instance_is_not_opened(data_dir: DataDir) -> None:
    make(data_dir)
    data_dir.local_secret_file.chmod(0o644)
    with pytest.raises(SettingsError, match="other users can reach secrets"):
        open_instance(data_dir)


def test_logs_exist_with_their_genesis_entries(data_dir: DataDir) -> None:
    config = make(data_dir).config
    keys = KeyRing.load(data_dir, config)
    store = RocksLogStore(data_dir.db)
    assert sorted(store.logs()) == ["ct-main", "rekor-v1-1"]
    for name, size in (("rekor-v1-1", 2), ("ct-main", 0)):
        log = config.log(name)
        objects = FileObjectStore(data_dir.log_folder(name))
        report = fsck(
            name, auditor_of(config, log, keys.signer(log.key).public_key, objects), store, objects
        )
        assert report.problems == ()
        assert store.head(name).tree_size == store.published_size(name) == size
        assert objects.fetch("checkpoint") == store.head(name).signed
    store.close()


def test_full_disk_leaves_an_unfinished_instance(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        (data_dir.db / "half").write_bytes(b"a log")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("countermark.app.init.create_logs", full)
        with pytest.raises(OSError, match="No space"):
            make(data_dir)
    assert data_dir.state() is State.UNFINISHED
    with pytest.raises(SettingsError, match="run countermark init"):
        open_instance(data_dir)
    make(data_dir)
    assert not (data_dir.db / "half").exists()
    open_instance(data_dir)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
