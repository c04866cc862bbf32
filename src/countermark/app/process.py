# SPDX-License-Identifier: Apache-2.0
"""What keeper and workers have in common as processes: their parent, their loop, their memory."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

from countermark import observe
from countermark.app.launch import Child

_LAST_S: Final = 12.0


class Parent:
    """A child's line to the supervisor."""

    def __init__(self, child: Child) -> None:
        self._control = socket.socket(fileno=child.control)
        self._control.setblocking(False)

    def tell_ready(self) -> None:
        """Say that this process does its work."""
        try:
            self._control.send(b"r")
        except OSError:
            return  # the supervisor is gone, which `stop_on_end` sees

    def stop_on_end(self, stop: Callable[[], None]) -> None:
        """Call `stop` when the supervisor says so or is gone; end by force if that takes long."""
        loop = asyncio.get_running_loop()

        def begin() -> None:
            loop.remove_reader(self._control.fileno())
            loop.call_later(_LAST_S, os._exit, 1)
            stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, begin)
        loop.add_reader(self._control.fileno(), begin)


def run(child: Child, work: Callable[[Child, Parent], Coroutine[Any, Any, int]]) -> int:
    """Run a child's `work` on its event loop. Returns the exit status."""
    observe.configure(child.name, child.launch.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work(child, Parent(child)))


def settle() -> None:
    """Call once everything is imported and wired.

    What lives for ever is taken out of the collector's sight, and the rest, nearly all of which
    is freed by reference counts, is looked through less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
