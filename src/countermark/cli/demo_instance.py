# SPDX-License-Identifier: Apache-2.0
"""An instance for as long as a `with` block lasts: `countermark up` as a child process."""

import ctypes
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from countermark.client.transport import Transport
from countermark.core.errors import SettingsError, Unavailable, UpstreamDown

_READY_S = 60
_STOP_S = 15
_POLL_S = 0.05
_TAIL_LINES = 5
_SET_PARENT_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG


class DemoInstance:
    """Comes up on entering, goes down on leaving, whatever happens in between."""

    def __init__(self, folder: Path) -> None:
        """Data goes to `folder`, which the caller makes and deletes."""
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "DemoInstance":
        port = _free_port()
        self.url = f"http://localhost:{port}"
        with (self._folder / "up.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [
                    *(sys.executable, "-P", "-m", "countermark", "up"),
                    *("--data", str(self._folder / "data"), "--port", str(port)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def _wait(self) -> None:
        assert self._process is not None
        transport = Transport(timeout_s=2)
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._failed(f"the instance ended with status {self._process.returncode}")
            if _is_ready(transport, self.url):
                return
            time.sleep(_POLL_S)
        raise self._failed(f"the instance was not ready within {_READY_S} seconds")

    def _failed(self, what: str) -> Unavailable:
        text = (self._folder / "up.log").read_text(encoding="utf-8", errors="replace")
        error = UpstreamDown(what)
        tail = text.strip().splitlines()[-_TAIL_LINES:]
        error.add_note("it said: " + "\n  ".join(tail) if tail else "it said nothing")
        return error

    def _stop(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        # A second Ctrl-C must not part us from an instance that is still going down.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            signal.signal(signal.SIGINT, previous)


def _end_with_parent() -> None:
    """In the child: be told to end when the demo is killed, however it is."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _is_ready(transport: Transport, url: str) -> bool:
    try:
        return transport.get(f"{url}/readyz", "the instance").status == 200
    except Unavailable:
        return False


def _free_port() -> int:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port
    except OSError as error:
        raise SettingsError(f"no port is free on this machine: {error.strerror}") from error
