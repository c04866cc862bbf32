# SPDX-License-Identifier: Apache-2.0
"""`countermark key`: what it makes, where passphrases come from, what it refuses."""

import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from countermark.cli import passphrases
from countermark.cli.main import run
from countermark.client.keys.asking import Asking
from countermark.client.keys.key import KINDS
from countermark.client.keys.reference import open_key
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks
from tests.support.cheap_keys import cheap

__all__ = ["cheap"]
pytestmark = pytest.mark.usefixtures("cheap")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in passphrases.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from stdin\nmore\n")))
    Path("passphrase").write_bytes(b"from a file\r\nmore\n")
    return tmp_path


def opens(name: str, passphrase: bytes) -> PublicKey:
    return open_key(name, Asking(passphrase=lambda what: passphrase)).public_key


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def failure(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    error = told(capsys)["error"]
    return error["message"], error["hint"]


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "ed25519"])
def test_a_pair_is_made(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["key", "generate", "release", "--kind", kind, "--passphrase-file", "passphrase"]
    assert run([*arguments, "--json"]) == 0
    public = PublicKey.from_pem(Path("release.pub").read_text())
    assert told(capsys) == {
        "key": "release.key",
        "public": "release.pub",
        "kind": KINDS[kind],
        "keyId": public.key_id.hex(),
    }
    assert stat.S_IMODE(Path("release.key").stat().st_mode) == 0o600
    assert opens("release.key", b"from a file") == public


def test_nothing_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("release.pub").write_text("somebody's\n")
    for command in (["generate", "release"], ["import", "absent.key", "release"]):
        assert run(["key", *command, "--passphrase-file", "passphrase", "--json"]) == 2
        assert failure(capsys)[0] == "release.pub exists already"
    assert Path("release.pub").read_text() == "somebody's\n"
    assert not Path("release.key").exists()


def test_where_a_passphrase_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "of cosign's")
    assert run(["key", "generate", "first"]) == 0
    monkeypatch.setenv("COUNTERMARK_PASSWORD", "ours, é")
    assert run(["key", "generate", "second"]) == 0
    assert run(["key", "generate", "third", "--passphrase-file", "passphrase"]) == 0
    assert run(["key", "generate", "fourth", "--passphrase-file", "-"]) == 0
    opens("first.key", b"of cosign's")
    opens("second.key", "ours, é".encode())
    opens("third.key", b"from a file")
    opens("fourth.key", b"from stdin")


def test_nobody_is_asked_where_nobody_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["key", "generate", "--json"]) == 78
    message, hint = failure(capsys)
    assert message == "nobody can be asked: New passphrase of countermark.key"
    assert "--passphrase-file" in hint
    assert run(["key", "generate", "--passphrase-file", "absent", "--json"]) == 78
    Path("empty").write_bytes(b"\nsecond line\n")
    assert run(["key", "generate", "--passphrase-file", "empty", "--json"]) == 78
    capsys.readouterr()
    assert list(Path().glob("*.key")) == []


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        (["secret", "secret"], 0, ""),
        (["secret", "sacred"], 2, "the two passphrases differ"),
        (["", ""], 2, "the passphrase is empty"),
    ],
)
def test_a_person_is_asked_twice(
    answers: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())
    questions: list[str] = []

    def answer(question: str, stream: object) -> str:
        questions.append(question)
        return answers[len(questions) - 1]

    monkeypatch.setattr("getpass.getpass", answer)
    assert run(["key", "generate", "release", "--json"]) == code
    assert said in capsys.readouterr().out
    assert questions[0] == "New passphrase of release.key: "
    if code == 0:
        opens("release.key", b"secret")


def test_an_empty_passphrase_is_only_cosigns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    assert run(["key", "generate", "release", "--json"]) == 2
    assert failure(capsys)[0] == "the passphrase is empty"
    assert run(["key", "generate", "release", "--format", "cosign"]) == 0
    opens("release.key", b"")
    assert run(["key", "generate", "plain", "--format", "cosign", "--no-passphrase"]) == 2
    assert run(["key", "generate", "plain", "--no-passphrase"]) == 0
    assert decode_pem_blocks(Path("plain.key").read_text(), "key")[0][0] == "PRIVATE KEY"
    assert stat.S_IMODE(Path("plain.key").stat().st_mode) == 0o600
    assert open_key("plain.key").public_key == PublicKey.from_pem(Path("plain.pub").read_text())


def test_a_key_is_taken_over_and_its_file_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("new").write_bytes(b"another one\n")
    assert run(["key", "generate", "old", "--passphrase-file", "passphrase"]) == 0
    before = Path("old.key").read_bytes()
    for form in ("cosign", "pkcs8"):
        words = ["key", "import", "old.key", form, "--format", form, "--passphrase-file", "new"]
        assert run(words) == 78  # the new passphrase does not open the old file
        assert run([*words, "--old-passphrase-file", "passphrase"]) == 0
        assert opens(f"{form}.key", b"another one") == opens("old.key", b"from a file")
    assert Path("old.key").read_bytes() == before
    capsys.readouterr()


def test_the_public_half_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["key", "generate", "release", "--passphrase-file", "passphrase"]) == 0
    capsys.readouterr()
    public = ["key", "public", "--key", "release.key", "--passphrase-file"]
    assert run([*public, "passphrase"]) == 0
    assert capsys.readouterr().out == Path("release.pub").read_text()
    assert run([*public, "passphrase", "--json"]) == 0
    assert told(capsys)["pem"] == Path("release.pub").read_text()
    assert run([*public, "passphrase", "--output", "copy.pub"]) == 0
    assert Path("copy.pub").read_text() == Path("release.pub").read_text()
    assert run([*public, "passphrase", "--output", "copy.pub"]) == 2
    assert run([*public, "-"]) == 78
    assert run(["key", "public", "--key", "release.pub"]) == 2
    assert run(["key", "public", "--key", "absent"]) == 11
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--email", "me@example.org"], "as a key and as nobody"),
        (["--identity-token-file", "passphrase"], "as a key and as nobody"),
    ],
)
def test_a_key_signs_as_nobody(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERMARK_HOME", str(Path().absolute() / "home"))
    Path("file").write_text("text")
    sign = ["sign", "file", "--instance", "public", "--json"]
    assert run([*sign, "--key", "release.key", *words]) == 2
    assert said in failure(capsys)[0]
    assert run([*sign, "--passphrase-file", "passphrase"]) == 2
    assert "no use without --key" in failure(capsys)[0]
    assert run([*sign, "--key", "absent.key"]) == 11
    assert failure(capsys)[0] == "there is no key file absent.key"
    assert not Path("file.sigstore.json").exists()
