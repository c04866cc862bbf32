# SPDX-License-Identifier: Apache-2.0
"""Keys in a process of their own: what it answers, and to whom."""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from countermark.client import credential_cache as module
from countermark.client.credential_cache import (
    MAX_FRAME_BYTES,
    CachedKey,
    CredentialCache,
    cache_path,
    check_folder,
    running_cache,
    start_cache,
)
from countermark.client.credential_keeper import Keeper
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_base64
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    RequestRejected,
    SettingsError,
    Unavailable,
)
from tests.support.forge import NAME, Forge, Plan
from tests.support.made_certificates import to_der

FORGE = Forge()
LINUX_ROOT = sys.platform == "linux" and os.geteuid() == 0


def certificate_for(key: PublicKey, made_at: datetime | None = None) -> Certificate:
    """A certificate of ten minutes."""
    made_at = made_at or datetime.now(tz=UTC)

    class Holder:
        """What the forge asks of a private key."""

        def public_key(self) -> ec.EllipticCurvePublicKey:
            curve = ec.SECP256R1()
            return ec.EllipticCurvePublicKey.from_encoded_point(curve, key.spki[-65:])

    holder: Any = Holder()
    return Certificate.parse(to_der(FORGE.leaf(holder, Plan(made_at=made_at))))


# --- what is answered --------------------------------------------------------------------------


def kept(keeper: Keeper, slot: str, now: datetime) -> str:
    """Have a key made and its certificate kept; returns the key's name."""
    made = keeper.answer({"do": "new"}, now.timestamp())
    public = PublicKey.from_spki(_bytes(made["publicKey"]))
    encoded = to_base64(certificate_for(public, now).der)
    question = {"do": "keep", "slot": slot, "key": made["key"], "certificate": encoded}
    assert keeper.answer(question, now.timestamp()) == {}
    return str(made["key"])


def _bytes(text: str) -> bytes:
    import base64

    return base64.b64decode(text)


def test_a_certificate_is_held_until_it_expires() -> None:
    keeper, now = Keeper(), datetime.now(tz=UTC).replace(microsecond=0)
    key = kept(keeper, "slot", now)
    later = now + timedelta(minutes=9, seconds=59)
    found = keeper.answer({"do": "find", "slot": "slot"}, later.timestamp())
    assert (found["found"], found["key"]) == (True, key)
    assert keeper.answer({"do": "find", "slot": "other"}, later.timestamp()) == {"found": False}
    expired = (now + timedelta(minutes=10)).timestamp()
    assert keeper.answer({"do": "find", "slot": "slot"}, expired) == {"found": False}
    with pytest.raises(RequestRejected, match="no such key"):
        keeper.answer({"do": "sign", "key": key, "digest": "00" * 32}, expired)


def test_a_key_without_certificate_is_forgotten() -> None:
    keeper = Keeper()
    key = keeper.answer({"do": "new"}, 1000.0)["key"]
    assert keeper.answer({"do": "sign", "key": key, "digest": "00" * 32}, 1899.0)
    with pytest.raises(RequestRejected, match="no such key"):
        keeper.answer({"do": "sign", "key": key, "digest": "00" * 32}, 1901.0)


def test_a_slot_holds_the_newest_certificate() -> None:
    keeper, now = Keeper(), datetime.now(tz=UTC)
    kept(keeper, "slot", now)
    second = kept(keeper, "slot", now)
    assert keeper.answer({"do": "find", "slot": "slot"}, now.timestamp())["key"] == second
    status = keeper.answer({"do": "status"}, now.timestamp())["held"]
    assert [item["identity"] for item in status] == [NAME]


def test_a_certificate_of_another_key_is_not_kept() -> None:
    keeper, now = Keeper(), datetime.now(tz=UTC)
    first, second = (keeper.answer({"do": "new"}, now.timestamp()) for _ in range(2))
    other = PublicKey.from_spki(_bytes(second["publicKey"]))
    encoded = to_base64(certificate_for(other).der)
    question = {"do": "keep", "slot": "s", "key": first["key"], "certificate": encoded}
    with pytest.raises(RequestRejected, match="another key"):
        keeper.answer(question, now.timestamp())
    old = to_base64(certificate_for(other, now - timedelta(minutes=11)).der)
    with pytest.raises(RequestRejected, match="expired"):
        keeper.answer({**question, "key": second["key"], "certificate": old}, now.timestamp())


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"do": "export"},
        {"do": "find"},
        {"do": "find", "slot": ""},
        {"do": "find", "slot": "x" * 129},
        {"do": "find", "slot": 1},
        {"do": "sign", "key": "nothing", "digest": "00" * 32},
        {"do": "keep", "key": "nothing", "slot": "s", "certificate": "AA=="},
    ],
)
def test_questions_that_are_refused(question: dict[str, Any]) -> None:
    with pytest.raises(RequestRejected):
        Keeper().answer(question, 0.0)


@pytest.mark.parametrize("digest", ["", "00", "zz" * 32, "AA" * 32, None])
def test_only_digests_are_signed(digest: str | None) -> None:
    keeper = Keeper()
    key = keeper.answer({"do": "new"}, 0.0)["key"]
    with pytest.raises((RequestRejected, FormatError)):
        keeper.answer({"do": "sign", "key": key, "digest": digest}, 0.0)


def test_keys_are_bounded() -> None:
    keeper = Keeper()
    for _ in range(64):
        keeper.answer({"do": "new"}, 0.0)
    with pytest.raises(RequestRejected, match="64 keys"):
        keeper.answer({"do": "new"}, 0.0)
    assert keeper.answer({"do": "new"}, 901.0)


QUESTIONS = st.dictionaries(
    st.sampled_from(["do", "slot", "key", "digest", "certificate"]),
    st.sampled_from(["find", "new", "keep", "sign", "status", "00" * 32])
    | st.text()
    | st.integers()
    | st.none()
    | st.lists(st.text()),
)


@given(st.lists(QUESTIONS, max_size=8))
def test_any_questions(questions: list[dict[str, Any]]) -> None:
    keeper = Keeper()
    for number, question in enumerate(questions):
        with contextlib.suppress(CountermarkError):
            json.dumps(keeper.answer(question, float(number)))


# --- the process -------------------------------------------------------------------------------


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder that others could reach, were it not for its own modes."""
    folder = Path(tempfile.mkdtemp(prefix="cm-keys-"))
    folder.chmod(0o755)
    monkeypatch.setenv("COUNTERMARK_HOME", str(folder))
    monkeypatch.setenv("COUNTERMARK_IDENTITY_TOKEN", "a secret")
    yield folder
    if (cache := running_cache()) is not None:
        cache.stop()
        assert gone(Path(cache.path))
    shutil.rmtree(folder)


def gone(path: Path) -> bool:
    deadline = time.monotonic() + 20
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs sockets with users")
def test_its_whole_life(home: Path) -> None:
    assert running_cache() is None
    cache = start_cache()
    path = home / "run/git-keys.sock"
    assert cache.path == cache_path() == str(path)
    modes = {item.name: stat.S_IMODE(item.lstat().st_mode) for item in path.parent.iterdir()}
    assert modes == {"git-keys.sock": 0o600, "git-keys.sock.lock": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    key = cache.new_key()
    digest = hashlib.sha256(b"message").digest()
    key.public_key.verify(key.sign(b"message"), b"message")
    key.public_key.verify_digest(key.sign_digest(digest), digest, "sha256")
    leaf = certificate_for(key.public_key)
    cache.keep("slot", key.name, leaf)
    held = start_cache().find("slot")  # the same one
    assert held is not None
    assert (held.key, held.certificate) == (key.name, leaf)
    (status,) = cache.status()
    assert (status["identity"], status["signatures"]) == (NAME, 2)
    with pytest.raises(Unavailable, match="no such key"):
        CachedKey(cache, "another", key.public_key).sign(b"x")
    stored = b"".join(item.read_bytes() for item in path.parent.iterdir() if item.is_file())
    assert stored == b""
    cache.stop()
    assert start_cache().status() == []  # another one, at once
    cache.stop()
    assert gone(path)
    assert running_cache() is None


@pytest.mark.skipif(not LINUX_ROOT, reason="needs Linux and other users")
def test_others_learn_nothing(home: Path) -> None:
    """Even if the folder lets them in: the kernel says who asks, and guards the memory."""
    start_cache()
    path = home / "run/git-keys.sock"
    (process,) = (
        found.pid
        for found in psutil.process_iter(["cmdline"])
        if str(path) in (found.info["cmdline"] or ())
    )
    proc = Path("/proc", str(process))
    assert "Max core file size        0                    0" in (proc / "limits").read_text()
    assert "a secret" not in (proc / "environ").read_text()
    path.parent.chmod(0o755)
    path.chmod(0o666)
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(path)], cwd="/", capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    assert "another user" in json.loads(done.stdout)["error"]


_ASK = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
print(connection.recv(9999)[4:].decode())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs sockets with users")
def test_a_folder_of_others_is_not_used(home: Path) -> None:
    (home / "run").mkdir(mode=0o755)
    with pytest.raises(SettingsError, match="not a folder of yours alone"):
        start_cache()
    (home / "link").symlink_to(home / "run")
    with pytest.raises(SettingsError):
        check_folder(str(home / "link"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs sockets with users")
def test_what_was_left_by_a_killed_one_is_replaced(home: Path) -> None:
    folder = home / "run"
    folder.mkdir(mode=0o700)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / "git-keys.sock"))
    left.close()
    assert running_cache() is None
    start_cache()
    assert running_cache() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such way")
def test_a_path_longer_than_addresses_may_be(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = home / ("x" * 100)
    monkeypatch.setenv("COUNTERMARK_HOME", str(deep))
    assert start_cache().new_key().public_key.hash_name == "sha256"
    cache = running_cache()
    assert cache is not None
    cache.stop()
    assert gone(Path(cache.path))


def test_the_folder_for_sockets_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert cache_path(runtime) == str(tmp_path / "countermark/git-keys.sock")
    own = {**runtime, "COUNTERMARK_HOME": "set"}
    assert cache_path(own) == str(tmp_path / "home/run/git-keys.sock")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)  # after `su`
    assert cache_path(runtime) == str(tmp_path / "home/run/git-keys.sock")
    missing = {"XDG_RUNTIME_DIR": str(tmp_path / "nothing")}
    assert cache_path(missing) == str(tmp_path / "home/run/git-keys.sock")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", Unavailable),
        (b"\x00\x00\x00\x02[]", FormatError),
        (b"\x00\x00\x00\x02{x", FormatError),
        (b"\x00\x00\x00\x02{}", FormatError),
        ((MAX_FRAME_BYTES + 1).to_bytes(4), FormatError),
        (b"\x00\x00\x00\x09{}", Unavailable),
        (b'\x00\x00\x00\x0c{"error":"x"}'[:4] + b'{"error": 1}', Unavailable),
    ],
)
def test_other_answers_are_errors(
    reply: bytes, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(reply)
    theirs.shutdown(socket.SHUT_WR)
    monkeypatch.setattr(module, "_connect", lambda path: ours)
    with pytest.raises(error):
        CredentialCache("nowhere").status()
    theirs.close()
