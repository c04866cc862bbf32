# SPDX-License-Identifier: Apache-2.0
"""The commands of README and of the how-tos do what they say."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.transcript import Step, explain, pattern, programs, steps

ROOT = Path(__file__).parents[2]
DEFAULT_PORT = "7446"
TIMEOUT_S = 120
TOOLS = Path(os.environ.get("COUNTERMARK_TOOLS", Path.home() / ".cache/countermark-tools"))


class Terminal:
    """Runs README's commands one after the other, as a newcomer would type them."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        self.directory = directory
        self.servers: list[subprocess.Popen[str]] = []
        scripts = str(Path(sys.executable).parent)
        self.environment = {
            # a make within `make test` would say which directory it enters
            **{name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
            "COUNTERMARK_HOME": str(directory / "home"),
            "XDG_DATA_HOME": str(directory / "xdg"),
            "PATH": scripts + os.pathsep + os.environ["PATH"],
            "COLUMNS": "100",
        }

    def adapt(self, text: str) -> str:
        """README's port, replaced by one that is free here."""
        return text.replace(DEFAULT_PORT, self.port)

    def run(self, step: Step) -> None:
        """Run one step and compare."""
        expected = self.adapt(step.output) + "\n"
        actual = self._serve(step) if step.command.startswith("countermark up") else self._do(step)
        if step.output:
            assert pattern(expected).fullmatch(actual), explain(expected, actual)

    def _do(self, step: Step) -> str:
        make = step.command.startswith("make ")
        done = subprocess.run(
            self.adapt(step.command),
            shell=True,
            cwd=ROOT if make else self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, explain(step.output, done.stdout)
        return done.stdout

    def run_python(self, program: str) -> None:
        """Run a Python block beside the files that the commands made."""
        done = subprocess.run(
            [sys.executable, "-c", self.adapt(program)],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr

    def _serve(self, step: Step) -> str:
        """Start a server and read what it prints until it says as much as README does."""
        server = subprocess.Popen(
            f"exec {step.command} --port {self.port}",
            shell=True,
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.servers.append(server)
        assert server.stdout is not None
        wanted = pattern(self.adapt(step.output) + "\n")
        lines: list[str] = []
        watchdog = threading.Timer(TIMEOUT_S, server.kill)
        watchdog.start()
        for line in server.stdout:
            lines.append(line)
            if wanted.fullmatch("".join(lines)):
                break
        watchdog.cancel()
        return "".join(lines)

    def close(self) -> None:
        """Stop what was started."""
        for server in self.servers:
            server.send_signal(signal.SIGINT)
            deadline = time.monotonic() + 30
            while server.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert server.poll() is not None, "Ctrl-C did not stop the server"
            assert server.stdout is not None
            server.stdout.close()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


def test_every_snippet_of_the_readme(terminal: Terminal) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    readme = ROOT / "README.md"
    todo = [step for step in steps(readme) if step.command != "make test"]
    assert any(step.command.startswith("make demo") for step in todo)
    for step in todo:
        terminal.run(step)
    assert programs(readme)
    for program in programs(readme):
        terminal.run_python(program)


@pytest.mark.interop
def test_every_snippet_about_other_clients(terminal: Terminal) -> None:
    for folder, program in (("sigstore-python/bin", "sigstore"), ("go", "cosign")):
        if not (TOOLS / folder / program).exists():
            pytest.skip(f"{program} is not installed; run scripts/install-peers")
        terminal.environment["PATH"] += os.pathsep + str(TOOLS / folder)
    for program in ("openssl", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    terminal.environment["HOME"] = str(terminal.directory)  # cosign's and rekor-cli's memory
    for step in steps(ROOT / "docs/how-to/other-clients.md"):
        terminal.run(step)
