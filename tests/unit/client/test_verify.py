# SPDX-License-Identifier: Apache-2.0
"""The library's verifier: sources, roots, and files of any size."""

import io
import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from countermark import Item, ManagedKey, WitnessPolicy
from countermark.client.instances import record_instance
from countermark.client.verify import (
    FileArtifact,
    Root,
    Verifier,
    bundle_path,
    choose_root,
    named_root,
    read_file,
    root_from_file,
)
from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import (
    FormatError,
    InclusionInvalid,
    NotFound,
    RequestRejected,
    SettingsError,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.verify.artifact import BytesArtifact, DigestArtifact
from countermark.core.verify.policy import Identity
from tests.support.every_key import bundle_of, kind_of
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge
from tests.support.made_certificates import NOW
from tests.support.old_cosign import old_bundle
from tests.support.witnesses import MadeWitness, cosigned

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FORGE, ME = Forge(), Identity(NAME, ISSUER)
ROOT = FORGE.trusted_root()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    return tmp_path


def record(url: str, forge: Forge) -> None:
    record_instance(
        url,
        "",
        trusted_root_json=forge.trusted_root().serialize(),
        signing_config_json=b"{}",
        tuf_root_json=b"{}",
    )


def test_takes_every_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(ARTIFACT)
    digest = DigestArtifact("sha256", BytesArtifact(ARTIFACT).digest("sha256"))
    verifier, data = Verifier(ROOT), FORGE.bundle().serialize()
    with path.open("rb") as file:
        for source in (ARTIFACT, path, file, io.BytesIO(ARTIFACT), digest, FileArtifact(path)):
            assert verifier.verify(source, data, ME).root == "given"
    assert verifier.verify(ARTIFACT, Bundle.parse(data), ME).signer
    with pytest.raises(SignatureInvalid):
        verifier.verify(ARTIFACT + b"x", data, ME)
    with pytest.raises(NotFound, match="no file"):
        verifier.verify(tmp_path / "absent", data, ME)


def test_the_bundles_log_ids_choose_the_root() -> None:
    other = Forge()
    record("http://localhost:7446", other)
    record("http://localhost:7447", FORGE)
    evidence = Verifier().verify(ARTIFACT, FORGE.bundle().serialize(), ME)
    assert evidence.root == "http://localhost:7447"
    assert choose_root(other.bundle()).name == "http://localhost:7446"
    for bundle in (Forge().bundle(), FORGE.bundle()._replace(tlog_entries=())):
        with pytest.raises(InclusionInvalid):
            choose_root(bundle)


def test_the_users_own_config_names_a_root(tmp_path: Path) -> None:
    home, root = tmp_path / "home", tmp_path / "root.json"
    home.mkdir()
    for key, data in (
        ("trusted_root", ROOT.serialize()),
        ("trust_config", b'{"trustedRoot":' + ROOT.serialize() + b"}"),
    ):
        root.write_bytes(data)
        (home / "config.toml").write_text(f'{key} = "{root}"')
        assert choose_root(FORGE.bundle()) == Root(str(root), ROOT)
    (home / "config.toml").write_text("nonsense = 1")
    with pytest.raises(SettingsError, match="nonsense"):
        choose_root(FORGE.bundle())


def test_a_root_must_know_all_logs_of_a_bundle() -> None:
    record("http://localhost:7446", FORGE)
    mixed = FORGE.bundle().tlog_entries + Forge().bundle().tlog_entries
    with pytest.raises(InclusionInvalid, match="no trusted root knows"):
        choose_root(FORGE.bundle()._replace(tlog_entries=mixed))


def test_the_public_root_is_chosen_and_staging_only_named() -> None:
    for name, chosen in (("public", True), ("staging", False)):
        root = named_root(name)
        assert root.name == name
        log_id = root.trusted_root.tlogs[0].log_id
        entry = FORGE.bundle().tlog_entries[0]._replace(log_id=log_id)
        bundle = FORGE.bundle()._replace(tlog_entries=(entry,))
        if chosen:
            assert choose_root(bundle) == root
        else:
            with pytest.raises(InclusionInvalid):
                choose_root(bundle)


def test_roots_by_name_and_file(tmp_path: Path) -> None:
    record("http://localhost:7446", FORGE)
    assert named_root("http://localhost:7446/") == Root("http://localhost:7446", ROOT)
    with pytest.raises(SettingsError, match="not an instance that you trust"):
        named_root("http://localhost:9")
    plain, config = tmp_path / "root.json", tmp_path / "config.json"
    plain.write_bytes(ROOT.serialize())
    config.write_bytes(b'{"trustedRoot":' + ROOT.serialize() + b"}")
    for path in (plain, config):
        assert root_from_file(str(path)) == Root(str(path), ROOT)
    plain.write_bytes(b"{}")
    with pytest.raises(FormatError):
        root_from_file(str(plain))


def test_finds_the_bundle_beside_a_file(tmp_path: Path) -> None:
    file = str(tmp_path / "file")
    with pytest.raises(NotFound, match="no signature"):
        bundle_path(file)
    Path(f"{file}.sigstore").touch()
    assert bundle_path(file) == f"{file}.sigstore"
    Path(f"{file}.sigstore.json").touch()
    with pytest.raises(RequestRejected, match="both"):
        bundle_path(file)
    Path(f"{file}.sigstore").unlink()
    assert bundle_path(file) == f"{file}.sigstore.json"


def test_hashes_in_pieces_and_once(tmp_path: Path) -> None:
    path, data = tmp_path / "big", bytes(3 * 1024 * 1024 + 5)
    path.write_bytes(data)
    pieces: list[int] = []
    artifact = FileArtifact(path, pieces.append)
    for name in ("sha256", "sha512", "sha256"):
        assert artifact.digest(name) == BytesArtifact(data).digest(name)
    assert sum(pieces) == 2 * len(data)
    assert max(pieces) <= 1024 * 1024
    again = FileArtifact(io.BytesIO(data))
    assert again.digest("sha256") == artifact.digest("sha256")
    assert again.digest("sha512") == artifact.digest("sha512")


def test_files_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(str(path), 5) == b"12345"
    with pytest.raises(FormatError, match="larger than 4"):
        read_file(str(path), 4)
    with pytest.raises(NotFound):
        read_file(str(tmp_path / "absent"), 4)


def test_a_pipe_is_read_once_and_needs_no_memory() -> None:
    """What cannot be read twice is hashed with everything that a bundle may ask for."""
    statement_bundle = FORGE.bundle(envelope=True).serialize()
    for data, content in ((FORGE.bundle().serialize(), ARTIFACT), (statement_bundle, ARTIFACT)):
        read_end, write_end = os.pipe()
        with os.fdopen(write_end, "wb") as out:
            out.write(content)
        with os.fdopen(read_end, "rb") as pipe:
            artifact = FileArtifact(pipe)
            assert Verifier(ROOT).verify(artifact, data, ME).checks
            assert artifact.digest("sha512") == BytesArtifact(content).digest("sha512")


def test_a_batch_chooses_roots_as_a_single_verification_does() -> None:
    others = Forge()
    record("http://a.example", FORGE)
    record("http://b.example", others)
    bundles = [forge.bundle().serialize() for forge in (FORGE, others, Forge(), FORGE)]
    outcomes = list(Verifier().verify_many([Item(ARTIFACT, data) for data in bundles], ME))
    assert [outcome.evidence.root for outcome in outcomes if outcome] == [
        "http://a.example", "http://b.example", "http://a.example",
    ]  # fmt: skip
    assert isinstance(outcomes[2].error, InclusionInvalid)
    assert str(outcomes[2].error) == "no trusted root knows the log that the bundle names"


def test_the_library_takes_old_bundles_periods_of_keys_and_witnesses() -> None:
    forge, me, witness = FORGE, ME, MadeWitness("w.example")
    verifier = Verifier(ROOT)
    assert verifier.verify(ARTIFACT, old_bundle(forge.bundle()), me).times
    with pytest.raises(FormatError):
        verifier.verify(ARTIFACT, b'{"base64Signature": ""}', me)
    policy = WitnessPolicy.parse(f"witness W {witness.vkey()}\nquorum W\n".encode())
    data = cosigned(forge.bundle(log="v2"), witness).serialize()
    assert verifier.verify(ARTIFACT, data, me, witnesses=policy)
    with pytest.raises(InclusionInvalid, match="witness policy"):
        verifier.verify(ARTIFACT, forge.bundle(log="v2"), me, witnesses=policy)
    kind = kind_of("PKIX_ED25519_PH")
    logged = bundle_of(forge, kind, log="v2")
    stamped = logged._replace(timestamps=(forge.timestamp(logged.signature, NOW),))
    assert verifier.verify(ARTIFACT, stamped, ManagedKey(kind.key, NOW, NOW)).signer is None
    with pytest.raises(TimeUnproven):
        verifier.verify(ARTIFACT, logged, ManagedKey(kind.key, NOW, NOW))


class _Endless(io.RawIOBase):
    """So many zeros, which nobody holds, and which cannot be read twice."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._left)
        view[:count] = bytes(count)
        self._left -= count
        return count


def test_a_stream_takes_no_memory_whatever_its_size() -> None:
    size = 24 * 1024 * 1024
    data = FORGE.bundle(artifact=bytes(size)).serialize()
    tracemalloc.start()
    try:
        assert Verifier(ROOT).verify(io.BufferedReader(_Endless(size)), data, ME).checks
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


def test_a_batch_stops_at_a_root_that_cannot_be_read_as_a_single_verification_does(
    home: Path,
) -> None:
    record("http://a.example", FORGE)
    known, unknown = FORGE.bundle().serialize(), Forge().bundle().serialize()
    (home / "home" / "config.toml").write_text('trusted_root = "absent.json"\n')
    items = [Item(ARTIFACT, data) for data in (known, unknown, unknown, known)]
    alone = []
    for item in items:
        try:
            alone.append(str(Verifier().verify(ARTIFACT, item.bundle, ME).root))
        except NotFound as error:
            alone.append(str(error))
    outcomes = list(Verifier().verify_many(items, ME))
    together = [outcome.evidence.root if outcome else str(outcome.error) for outcome in outcomes]
    assert together == alone
    assert "there is no file" in alone[1]
    with pytest.raises(NotFound, match="there is no file"):
        Verifier().verify_many(items, ME, workers=2)
