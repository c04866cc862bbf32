# SPDX-License-Identifier: Apache-2.0
"""What keeper and workers have in common as processes: their parent, their loop, their memory."""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

from countermark import observe
from countermark.app.launch import Child
from countermark.observe.board import Board

_LAST_S: Final = 12.0


class Parent:
    """A child's line to the supervisor.

    Attributes:
        board: the numbers of all processes.
        numbers: this one's.
    """

    def __init__(self, child: Child, board: Board) -> None:
        self.board = board
        self.numbers = board.claim(child.name, time.time())
        self._control = socket.socket(fileno=child.control)
        self._control.setblocking(False)
        self._stopping = False

    def tell_ready(self) -> None:
        """Say that this process does its work."""
        try:
            self._control.send(b"r")
        except OSError:
            return  # the supervisor is gone, which `stop_on_end` sees

    def stop_on_end(
        self, stop: Callable[[], None], hurry: Callable[[], None] | None = None
    ) -> None:
        """Call `stop` when the supervisor says so or is gone; end by force if that takes long.

        `hurry` is called when it says so again.
        """
        loop = asyncio.get_running_loop()

        def begin() -> None:
            loop.remove_reader(self._control.fileno())
            if not self._stopping:
                self._stopping = True
                loop.call_later(_LAST_S, os._exit, 1)
                stop()
            elif hurry is not None:
                hurry()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, begin)
        loop.add_reader(self._control.fileno(), begin)


def run(child: Child, work: Callable[[Child, Parent], Coroutine[Any, Any, int]]) -> int:
    """Run a child's `work` on its event loop. Returns the exit status."""
    observe.configure(child.name, child.launch.log_format)
    parent = Parent(child, Board(child.board, child.launch.names))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work(child, parent))


def settle() -> None:
    """Call once everything is imported and wired.

    What lives for ever is taken out of the collector's sight, and the rest, nearly all of which
    is freed by reference counts, is looked through less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
