# SPDX-License-Identifier: Apache-2.0
"""A process without sockets: neither Python nor code below it can open one."""

import subprocess
import sys

import pytest

PROLOGUE = "from countermark.cli.offline import block_sockets; guard = block_sockets();"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROLOGUE + code], capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.socket()",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import socket; socket.socketpair()",
        "import socket; socket.create_connection(('127.0.0.1', 80))",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1/')",
    ],
)
def test_python_can_not(attempt: str) -> None:
    done = run(attempt)
    assert done.returncode == 1
    assert "not permitted" in done.stderr or "may not use the network" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
def test_code_below_python_can_not_either() -> None:
    done = run(
        "import ctypes, errno; c = ctypes.CDLL(None, use_errno=True);"
        "print(guard, c.socket(2, 1, 0), ctypes.get_errno() == errno.EPERM)"
    )
    assert done.stdout == "the kernel -1 True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
def test_nor_can_its_children() -> None:
    code = "import socket, sys; sys.exit(0 if socket.socket() else 0)"
    done = run(f"import subprocess; print(subprocess.call([{sys.executable!r}, '-c', {code!r}]))")
    assert done.stdout == "1\n"


def test_files_are_read_as_before() -> None:
    assert run("print(len(open(__import__('os').__file__).read()) > 0)").stdout == "True\n"


def test_commands_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "countermark.cli.offline", "verify", "--help"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: countermark verify")
