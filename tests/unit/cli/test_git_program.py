# SPDX-License-Identifier: Apache-2.0
"""GnuPG's options as Git gives them, and no others."""

import subprocess
import sys

import pytest

from countermark.cli.exits import OK, USAGE
from countermark.cli.git_program import Request, parse_request
from countermark.core.errors import RequestRejected


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--status-fd=2", "-bsau", "Ada <a@b>"], Request("sign", 2, "Ada <a@b>", ())),
        (["-bsauAda"], Request("sign", None, "Ada", ())),
        (["--status-fd", "2", "-b", "-s", "-a", "-u", "k"], Request("sign", 2, "k", ())),
        (
            ["--detach-sign", "--sign", "--armor", "--local-user=k"],
            Request("sign", None, "k", ()),
        ),
        (["--status-fd=1", "--verify", "/a", "-"], Request("verify", 1, "", ("/a", "-"))),
        (
            ["--keyid-format=long", "--status-fd=1", "--verify", "/a", "-"],
            Request("verify", 1, "", ("/a", "-")),
        ),
        (["--version"], Request("version", None, "", ())),
    ],
)
def test_what_git_says(argv: list[str], expected: Request) -> None:
    assert parse_request(argv) == expected


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--sign", "--verify", "x"],
        ["-s"],
        ["-bs"],
        ["-sa"],
        ["--verify", "--status-fd"],
        ["--verify", "--status-fd=one"],
        ["--verify", "--status-fd=-1"],
        ["--verify", "--export-secret-keys"],
        ["-bsax"],
        ["--verify", "-k"],
    ],
)
def test_what_is_refused(argv: list[str]) -> None:
    with pytest.raises(RequestRejected):
        parse_request(argv)


def run(*argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = "import sys; from countermark.cli.git_program import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", program, *argv], input=stdin, capture_output=True)


def test_the_program_says_what_it_is() -> None:
    assert run("--help").stdout.startswith(b"Usage: countermark-git")
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (OK, b"countermark-git")
    done = run("--verify", "only-one")
    assert (done.returncode, done.stdout) == (USAGE, b"")
    assert b"Traceback" not in done.stderr
