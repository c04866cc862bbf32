# SPDX-License-Identifier: Apache-2.0
"""The supervisor: starts keeper and workers, starts them again when they end, ends with them.

It holds the listening sockets and the data directory's lock, but neither keys nor database, and
imports almost nothing. Children are spawned, never forked with threads or an open database.

    python -P -m countermark.app.supervisor LAUNCH
"""

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from types import FrameType
from typing import Final

from countermark import observe
from countermark.app.launch import KEEPER, SUPERVISOR, Child, Launch
from countermark.observe import board, catalogue

# Exit statuses of children, as in `cli.exits`, which is not imported for their sake.
CONFIGURATION: Final = 78
INTERNAL: Final = 70
_STOP_S: Final = 15.0
_HURRY_S: Final = 2.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_LONG_LIFE_S: Final = 10.0
_MAX_FAILED_STARTS: Final = 3
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_logger = logging.getLogger("supervisor")


class Process:
    """One child: running, or waiting to be started again."""

    def __init__(
        self,
        launch: Launch,
        name: str,
        module: str,
        board: int,
        listeners: tuple[list[int], list[int]] = ([], []),
    ) -> None:
        self.name = name
        self.control: socket.socket | None = None
        self.ready = False
        self.start_at = 0.0
        self._launch = launch
        self._module = module
        self._board = board
        self._listeners = listeners
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause_s = 0.0

    @property
    def running(self) -> bool:
        """Whether there is a process whose end was not seen yet."""
        return self._process is not None

    def start(self) -> None:
        """Spawn it, in a process group of its own: Ctrl-C is the supervisor's to handle.

        While the machine has no room for another process, that is tried again later.
        """
        self._started_at = time.monotonic()
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    self._process = self._spawn(theirs.fileno())
                except OSError:
                    ours.close()
                    raise
        except OSError as error:
            _logger.error("%s cannot be started: %s", self.name, error)
            self._plan_start()
            return
        ours.setblocking(False)
        self.control = ours
        self.ready = False

    def _spawn(self, control: int) -> subprocess.Popen[bytes]:
        child = Child(self._launch, self.name, control, self._board, *self._listeners)
        inherited = [control, self._board, *self._listeners[0], *self._listeners[1]]
        if self.name == KEEPER:
            inherited.append(self._launch.lock)
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", self._module, child.serialize()],
            stdin=subprocess.DEVNULL,
            pass_fds=inherited,
            process_group=0,
        )

    def ended(self) -> int | None:
        """Its exit status if it has ended since the last look, with a restart planned."""
        status = self._process.poll() if self._process else None
        if status is None:
            return None
        if self.control is not None:
            self.control.close()
        self.control = self._process = None
        if status == 0:  # it was asked to make room for another one
            self._pause_s = 0.0
        self._plan_start()
        return status

    def is_running(self) -> bool:
        """Look, and say whether it still runs."""
        self.ended()
        return self.running

    def _plan_start(self) -> None:
        lived_s = time.monotonic() - self._started_at
        if lived_s > _LONG_LIFE_S:
            self._pause_s = 0.0
        self.start_at = time.monotonic() + self._pause_s
        self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s or _FIRST_PAUSE_S)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def read_control(self) -> None:
        """Take notice of what it says."""
        assert self.control is not None
        try:
            self.ready = self.control.recv(16) != b"" or self.ready
        except BlockingIOError:
            return
        except ConnectionError:
            return


class Supervisor:
    """All children of one instance."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        memory = board.create(len(launch.names))
        numbers = board.Board(memory, launch.names)
        self._numbers = numbers.claim(SUPERVISOR, time.time())
        self._keeper = Process(launch, KEEPER, "countermark.app.keeper", memory)
        metrics_listeners = launch.metrics_listeners or [[] for _ in launch.workers]
        self._workers = [
            Process(launch, name, "countermark.app.worker", memory, listeners)
            for name, listeners in zip(
                launch.workers,
                zip(launch.listeners, metrics_listeners, strict=True),
                strict=True,
            )
        ]
        for child in self._children:
            self._numbers.count(catalogue.PROCESS_RESTARTS, child.name, by=0)
        self._stopping = False
        self._hurrying = False
        self._greeted = False
        self._failed_starts = 0
        self._exit_status = 0
        self._wake, wake_end = socket.socketpair()
        self._wake.setblocking(False)
        wake_end.setblocking(False)
        signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
        self._wake_end = wake_end
        for number in (*_STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, self._on_signal)

    @property
    def _children(self) -> list[Process]:
        return [self._keeper, *self._workers]

    def run(self) -> int:
        """Until a signal says stop, or starting again makes no sense. Returns the exit status."""
        for child in self._children:
            child.start()
        while not self._stopping:
            self._wait(self._next_start())
            for child in self._children:
                status = child.ended()
                if status is not None:
                    self._note_end(child, status)
            self._greet()
            for child in self._children:
                if not (self._stopping or child.running) and time.monotonic() >= child.start_at:
                    self._numbers.count(catalogue.PROCESS_RESTARTS, child.name)
                    child.start()
        self._stop()
        for number in _STOP_SIGNALS:  # else one that comes while the interpreter ends is its status
            signal.signal(number, signal.SIG_IGN)
        return self._exit_status

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._hurrying = self._stopping
            self._stopping = True

    def _next_start(self) -> float | None:
        waiting = [child.start_at for child in self._children if not child.running]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _wait(self, seconds: float | None) -> None:
        """Until a child says something or ends, a signal comes, or time is up."""
        with selectors.PollSelector() as selector:  # takes no descriptor of its own
            selector.register(self._wake, selectors.EVENT_READ)
            for child in self._children:
                if child.control is not None and not child.ready:
                    selector.register(child.control, selectors.EVENT_READ, child)
            for key, _ in selector.select(seconds):
                if isinstance(key.data, Process):
                    key.data.read_control()
                else:
                    self._wake.recv(4096)

    def _note_end(self, child: Process, status: int) -> None:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        level = logging.ERROR if status else logging.WARNING
        facts = {"child": child.name, "status": status}
        _logger.log(level, "%s ended with %s", child.name, how, extra=facts)
        if status == CONFIGURATION:
            self._give_up(status)
        elif not (self._greeted or child.ready or status == -signal.SIGKILL):
            self._failed_starts += 1  # of its own doing, before it did any work
            if self._failed_starts >= _MAX_FAILED_STARTS:
                self._give_up(INTERNAL)

    def _give_up(self, status: int) -> None:
        self._exit_status = status
        self._stopping = True

    def _greet(self) -> None:
        if self._greeted or not all(child.ready for child in self._children):
            return
        self._greeted = True
        _logger.info("instance ready")
        try:
            sys.stdout.write(self._launch.greeting)
            sys.stdout.flush()
        except OSError:
            return  # nobody listens any more

    def _stop(self) -> None:
        """Workers first: their last requests need the keeper.

        Told to stop once more, it waits for `_HURRY_S` seconds at most.
        """
        _logger.info("instance stopping")
        begun = time.monotonic()
        deadline = begun + _STOP_S
        hurried = False
        for descriptor in self._launch.sockets:
            os.close(descriptor)  # or the kernel would go on making connections for nobody
        for group in (self._workers, [self._keeper]):
            for child in group:
                child.signal(signal.SIGTERM)
            while running := [child for child in group if child.is_running()]:
                if self._hurrying and not hurried:
                    hurried = True
                    deadline = min(deadline, time.monotonic() + _HURRY_S)
                    for child in running:
                        child.signal(signal.SIGTERM)
                left = deadline - time.monotonic()
                if left <= 0:
                    for child in running:
                        _logger.error("%s did not stop and was killed", child.name)
                        child.signal(signal.SIGKILL)
                    deadline = time.monotonic() + 1.0
                self._wait(max(0.01, min(left, 0.5)))
        _logger.info("instance stopped", extra={"seconds": round(time.monotonic() - begun, 2)})


def main() -> int:
    """Entry point of the process."""
    launch = Launch.parse(sys.argv[1])
    observe.configure("supervisor", launch.log_format)
    for descriptor in (launch.lock, *launch.sockets):
        os.set_inheritable(descriptor, False)
    return Supervisor(launch).run()


if __name__ == "__main__":
    sys.exit(main())
