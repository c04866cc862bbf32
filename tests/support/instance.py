# SPDX-License-Identifier: Apache-2.0
"""A real `countermark up`, whose processes a test may look at and kill."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from countermark.app.data_dir import DataDir
from countermark.core.bundle.trusted_root import TrustedRoot

START_S = 60.0


class Instance:
    """An instance on a free port, with data and registry in `folder`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.data_dir = DataDir.at(folder / "data")
        self.home = folder / "home"
        self.log = folder / "up.log"
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """Our commands' environment: nobody's own registry is touched."""
        return {**os.environ, "COUNTERMARK_HOME": str(self.home)}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of our commands to its end."""
        return subprocess.run(
            [sys.executable, "-m", "countermark", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def start(self) -> None:
        """Bring it up and wait until it is ready."""
        data = str(self.data_dir.path)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "countermark", "up"),
                    *("--data", data, "--port", str(self.port), *self._options),
                ],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait("ready", self.is_ready)

    def stop(self) -> int:
        """Ask it to stop; returns its exit status."""
        process = self._process
        if process is None:
            return 0
        self._process = None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"the instance did not stop:\n{self.said()}") from None

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def processes(self) -> dict[str, psutil.Process]:
        """Everything that runs, by name: ``supervisor``, ``keeper``, ``worker-1`` …"""
        assert self._process is not None
        found: dict[str, psutil.Process] = {}
        try:
            top = psutil.Process(self._process.pid)
            found["supervisor"] = top
            for child in top.children():
                found[_name(child)] = child
        except psutil.NoSuchProcess:
            return found
        return found

    def kill(self, name: str) -> int:
        """kill -9 one process; returns its former number."""
        process = self.processes()[name]
        process.send_signal(signal.SIGKILL)
        if name == "supervisor":
            assert self._process is not None
            self._process.wait(10)
            self._process = None
        return process.pid

    def is_ready(self) -> bool:
        """Whether the keeper answers through a worker."""
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"the instance ended:\n{self.said()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = START_S) -> None:
        """Wait until `condition` holds; fails with what the instance said."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not {what} within {seconds} s:\n{self.said()}")
            time.sleep(0.01)

    def said(self) -> str:
        """All that it wrote so far."""
        return self.log.read_text(errors="replace")

    def trusted_root(self) -> TrustedRoot:
        """The root that it publishes."""
        return TrustedRoot.parse((self.data_dir.trust / "trusted_root.json").read_bytes())


def free_port() -> int:
    """A port that nobody listened at a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _name(process: psutil.Process) -> str:
    import json

    try:
        arguments = process.cmdline()
        name: str = json.loads(arguments[-1])[1]
    except (ValueError, LookupError, TypeError, psutil.Error):
        return f"starting-{process.pid}"
    return name
