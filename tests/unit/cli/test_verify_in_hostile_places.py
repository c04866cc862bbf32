# SPDX-License-Identifier: Apache-2.0
"""`countermark verify` in a folder that somebody else filled, and for a root nobody named."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509

from countermark.cli.verify_command import run
from countermark.client.instances import record_instance
from countermark.client.verify import FileArtifact, Verifier
from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import IdentityMismatch, SignatureInvalid
from countermark.core.verify.policy import Identity
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge

FORGE = Forge()
WHO = ("--identity", NAME, "--issuer", ISSUER)
URL = "http://localhost:7446"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    for name in ("INSTANCE", "URL", "TRUSTED_ROOT", "TRUST_CONFIG"):
        monkeypatch.delenv(f"COUNTERMARK_{name}", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("file").write_bytes(ARTIFACT)
    Path("file.sigstore.json").write_bytes(FORGE.bundle().serialize())
    record("")
    return tmp_path


def record(data_dir: str, url: str = URL) -> None:
    record_instance(
        url,
        data_dir,
        trusted_root_json=FORGE.trusted_root().serialize(),
        signing_config_json=b"{}",
        tuf_root_json=b"{}",
    )


def verify(*arguments: str, into: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "countermark", "verify", *arguments]
    return subprocess.run(command, stdout=into, stderr=into, timeout=20)


# --- the folder ----------------------------------------------------------------------------------


def test_a_file_named_like_a_digest_does_not_stand_in_for_it() -> None:
    """Asked about a digest, with a file of that name whose signature is good."""
    wanted = f"sha256:{hashlib.sha256(b'evil').hexdigest()}"
    Path(wanted).write_bytes(ARTIFACT)
    bundle = ("--bundle", "file.sigstore.json")
    assert run([wanted, *bundle, *WHO]) == 1
    assert run([f"./{wanted}", *bundle, *WHO]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in folders")
def test_named_pipes_do_not_hang() -> None:
    Path("other").write_bytes(ARTIFACT)
    os.mkfifo("other.sigstore.json")
    os.mkfifo("pipe")
    for arguments in (
        ("other", *WHO),
        ("pipe", "--bundle", "file.sigstore.json", *WHO),
        ("file", *WHO, "--trusted-root", "pipe"),
        ("file", "--key", "pipe"),
    ):
        done = verify(*arguments)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"is a named pipe" in done.stderr


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="has no /dev/fd")
def test_what_a_shell_pipes_in_is_read() -> None:
    for contents, code in ((ARTIFACT, 0), (b"tampered", 1)):
        reader, writer = os.pipe()
        os.write(writer, contents)
        os.close(writer)
        assert run([f"/dev/fd/{reader}", "--bundle", "file.sigstore.json", *WHO]) == code
        os.close(reader)


def test_links_folders_and_what_cannot_be_read() -> None:
    Path("link").symlink_to("file")
    Path("link.sigstore.json").symlink_to("file.sigstore.json")
    assert run(["link", *WHO]) == 0
    Path("dangling").symlink_to("nothing")
    assert run(["dangling", *WHO]) == 11
    Path("loop").symlink_to("loop")
    assert run(["loop", *WHO]) == 11
    Path("folder.sigstore.json").mkdir()
    Path("folder").write_bytes(ARTIFACT)
    assert run(["folder", *WHO]) == 2
    if os.geteuid():
        Path("file.sigstore.json").chmod(0)
        assert run(["file", *WHO]) == 2
        Path("file").chmod(0)
        assert run(["file", *WHO]) == 2


def test_a_huge_bundle_is_refused_before_it_is_read() -> None:
    with Path("file.sigstore.json").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    assert run(["file", *WHO]) == 65


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 1_000_000,
        b'{"mediaType":' * 100_000,
        b'{"a":' + b"9" * 1_000_000 + b"}",
        b'{"a":[' + b"{}," * 5_000_000 + b"{}]}",
        b'{"a":1e999}',
        b'{"a":NaN}',
        b"\xff\xfe{}",
        b"",
        b"null",
    ],
    ids=["arrays", "objects", "number", "elements", "float", "NaN", "UTF-16", "nothing", "null"],
)
def test_bundles_that_are_none(text: bytes) -> None:
    Path("file.sigstore.json").write_bytes(text)
    started = time.process_time()
    assert run(["file", *WHO]) == 65
    assert time.process_time() - started < 1  # unread if it were to take gigabytes


def test_a_key_that_occurs_twice_in_a_bundle() -> None:
    good = Path("file.sigstore.json").read_bytes()
    other = Forge().bundle().serialize()
    for inner in (b'"messageSignature"', b'"verificationMaterial"'):
        start = other.index(inner)
        Path("file.sigstore.json").write_bytes(good[:-1] + b"," + other[start:])
        assert run(["file", *WHO]) == 65


def test_an_artifact_that_changes_meanwhile() -> None:
    """Two digests of one statement are never taken of two different contents."""
    tree = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "x",
        "subject": [
            {
                "digest": {
                    "sha256": hashlib.sha256(b"one").hexdigest(),
                    "sha512": hashlib.sha512(b"two").hexdigest(),
                }
            }
        ],
    }
    bundle = FORGE.bundle(envelope=True, statement=json.dumps(tree).encode())
    verifier, me = Verifier(FORGE.trusted_root()), Identity(NAME, ISSUER)
    path = Path("changing")
    path.write_bytes(b"one")

    def change(_: int) -> None:
        path.write_bytes(b"two")

    artifact = FileArtifact(path, change)
    with pytest.raises(SignatureInvalid, match="changed"):
        verifier.verify(artifact, bundle, me)


# --- what is printed -----------------------------------------------------------------------------

NAMES = [
    "a\x1b[2Jb",
    "a\nfile: verified, signed by ceo@example.org (accounts.example.org)",
    "a\r b",
    "a\x9b31mb",
    "a\u202egpj.b",
    os.fsdecode(b"a\xff\xfeb"),
    "[bold]a[nothing]",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_file_names_are_spelt_out(name: str) -> None:
    good = Path(name)
    good.write_bytes(ARTIFACT)
    Path(f"{name}.sigstore.json").write_bytes(FORGE.bundle().serialize())
    bad = f"x{name}"
    Path(bad).touch()
    done = verify(name, bad, f"{name}absent", *WHO)
    assert done.returncode == 10
    said = done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.count(b"verified, signed by") == 1 + name.count("verified, signed by")
    assert len(done.stderr.splitlines()) == 2
    assert not {0x1B, 0x0D} & set(said)
    text = said.decode("utf-8")
    assert "\x9b" not in text
    assert "\u202e" not in text
    done = verify("--json", name, bad, *WHO)
    assert done.returncode == 10
    assert done.stdout.isascii()
    results = json.loads(done.stdout)["results"]
    assert [item["file"] for item in results] == [name, bad]
    assert [item["verified"] for item in results] == [True, False]


def test_the_keys_for_programs_are_stable() -> None:
    done = json.loads(verify("--json", "file", "absent", *WHO).stdout)
    assert list(done) == ["results"]
    good, bad = done["results"]
    assert list(good) == [
        "file", "verified", "root", "identity", "issuer", "certificate", "times", "log", "checks",
    ]  # fmt: skip
    assert {key for item in good["times"] for key in item} == {"time", "source", "authority"}
    assert {key for item in good["log"] for key in item} == {"log", "logIndex", "treeSize"}
    assert [item["check"] for item in good["checks"]] == [
        "timestamp", "promise", "certificate", "sct", "inclusion", "entry", "signature", "identity",
    ]  # fmt: skip
    assert list(bad) == ["file", "verified", "error"]
    assert list(bad["error"]) == ["code", "message", "hint", "exit"]
    assert bad["error"]["exit"] == 11


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGPIPE")
@pytest.mark.parametrize("arguments", [("absent",), ("file", "absent"), ("--json", "file")])
def test_a_reader_that_is_gone_is_told_no_success(arguments: tuple[str, ...]) -> None:
    """Under `set -o pipefail`, `verify … 2>&1 | head -0` ended with 0 whatever was found."""
    reader, writer = os.pipe()
    os.close(reader)
    done = verify(*arguments, *WHO, into=writer)
    os.close(writer)
    assert done.returncode == 141


# --- whom to believe -----------------------------------------------------------------------------


def test_an_issuer_without_a_name_is_not_passed_over() -> None:
    for issuer in ("--issuer", "--issuer-regex"):
        assert run(["file", "--unsafe-any-identity", issuer, "https://example.org"]) == 2


def test_my_own_instance_speaks_of_its_own_login_unless_it_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its keys lie on this disk: whoever has them could name any issuer, and choose this root."""
    record("/srv/instance", url="http://localhost:7447")
    (Path(os.environ["COUNTERMARK_HOME"]) / "instances.json").unlink()
    record("/srv/instance")
    assert run(["file", *WHO]) == 1
    said = capsys.readouterr().err
    assert f"unless it is named, {URL} is believed about its own login only" in said
    assert f"--instance {URL}" in said
    assert run(["file", "--unsafe-any-identity"]) == 1
    assert run(["file", *WHO, "--instance", URL]) == 0
    assert f"root {URL}" in capsys.readouterr().out
    for size, (issuer, code) in enumerate(
        (
            (f"{URL}/oidc", 0),
            (f"{URL}9/oidc", 1),
            (f"{URL}.evil.example/oidc", 1),
            (f"{URL}@evil.example/oidc", 1),
            ("https://accounts.google.com", 1),
        ),
        8,
    ):
        bundle = FORGE.bundle(issuer=issuer, tree_size=size)
        Path("file.sigstore.json").write_bytes(bundle.serialize())
        assert run(["file", "--identity", NAME, "--issuer", issuer]) == code


def test_the_library_keeps_to_that_too() -> None:
    (Path(os.environ["COUNTERMARK_HOME"]) / "instances.json").unlink()
    record("/srv/instance")
    me, verifier = Identity(NAME, ISSUER), Verifier()
    with pytest.raises(IdentityMismatch, match="its own login only"):
        verifier.verify(ARTIFACT, FORGE.bundle(), me)
    own = f"{URL}/oidc"
    evidence = verifier.verify(ARTIFACT, FORGE.bundle(issuer=own), Identity(NAME, own))
    assert evidence.root == URL
    nasty = FORGE.bundle(name=x509.UniformResourceIdentifier("https://e/\x1b"), issuer=own)
    with pytest.raises(IdentityMismatch):
        verifier.verify(ARTIFACT, Bundle.parse(nasty.serialize()), Identity(NAME, own))
