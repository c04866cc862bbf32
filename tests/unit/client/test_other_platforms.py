# SPDX-License-Identifier: Apache-2.0
"""The client where there is no POSIX: every module is imported, and files are verified.

Tests run on Linux, so what Windows lacks is taken away: modules, functions and flags of `os`.
"""

import ntpath
import os
import subprocess
import sys
from pathlib import Path

import pytest

from countermark.client import instances
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge

# The first round imports what is not ours with everything there; the second is the test.
SCRIPT = """
import importlib, os, pkgutil, sys
def everything():
    import countermark.client
    found = pkgutil.walk_packages(countermark.client.__path__, "countermark.client.")
    names = [info.name for info in found]
    for name in [*names, "countermark.cli.verify_command", "countermark.cli.inspect_command",
                 "countermark.cli.sign_command", "countermark.cli.conformance"]:
        importlib.import_module(name)
    return names
everything()
for name in [name for name in sys.modules if name.partition(".")[0] == "countermark"]:
    del sys.modules[name]
for name in ("fcntl", "grp", "pwd", "pty", "resource", "syslog", "termios", "tty", "readline"):
    sys.modules[name] = None
for name in ("chown", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid",
             "getpgid", "getpgrp", "getuid", "initgroups", "killpg", "mkfifo", "O_CLOEXEC",
             "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "pread", "pwrite",
             "sched_getaffinity", "set_blocking", "setsid", "sysconf", "uname", "wait4"):
    delattr(os, name)
sys.platform = "win32"
assert len(everything()) > 20
"""
USE = """
from countermark import Identity, Item, Verifier
from countermark.cli.verify_command import run
from countermark.client.instances import load_instances, record_instance
root = open("root.json", "rb").read()
record_instance("http://other.example", "", trusted_root_json=root, signing_config_json=b"{}",
                tuf_root_json=b"{}")
assert [record.url for record in load_instances()] == ["http://other.example"]
name, issuer = sys.argv[1:]
from pathlib import Path
bundle, me = Path("file.sigstore.json").read_bytes(), Identity(name, issuer)
with open("file", "rb") as file:
    for source in (Path("file"), file, file.read()):
        file.seek(0)
        print(Verifier().verify(source, bundle, me).root)
assert all(Verifier().verify_many([Item(Path("file"), bundle)] * 3, me))
sys.exit(run(["file", "--identity", name, "--issuer", issuer]))
"""


def _run(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env={**os.environ, "COUNTERMARK_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_is_imported_and_files_are_verified(tmp_path: Path) -> None:
    forge = Forge()
    (tmp_path / "file").write_bytes(ARTIFACT)
    (tmp_path / "file.sigstore.json").write_bytes(forge.bundle().serialize())
    (tmp_path / "root.json").write_bytes(forge.trusted_root().serialize())
    done = _run(SCRIPT + USE, tmp_path, NAME, ISSUER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[:3] == ["http://other.example"] * 3
    assert "file: verified" in done.stdout


def test_what_is_missing_is_noticed(tmp_path: Path) -> None:
    for statement in ("import fcntl", "from os import geteuid"):
        done = _run(f"{SCRIPT}\n{statement}", tmp_path)
        assert done.returncode == 1
        assert "ImportError" in done.stderr or "ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LOCALAPPDATA": r"C:\Users\me\AppData\Local"}, r"C:\Users\me\AppData\Local\countermark"),
        ({"COUNTERMARK_HOME": r"D:\keep"}, r"D:\keep"),
        ({"USERPROFILE": r"C:\Users\me"}, r"C:\Users\me\countermark"),
    ],
)
def test_paths_of_windows(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COUNTERMARK_HOME", "LOCALAPPDATA", "USERPROFILE", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "win32")
        patched.setattr(os, "path", ntpath)
        found = instances.home_dir(), instances.config_path()
    assert found == (expected, ntpath.join(expected, "config.toml"))


def test_paths_of_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERMARK_HOME", raising=False)
    monkeypatch.setenv("HOME", "/Users/me")
    monkeypatch.setattr(sys, "platform", "darwin")
    home = "/Users/me/Library/Application Support/countermark"
    assert (instances.home_dir(), instances.config_path()) == (home, f"{home}/config.toml")
