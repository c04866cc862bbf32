# SPDX-License-Identifier: Apache-2.0
"""uvicorn's server, with an end that leaves nobody without an answer."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final, cast

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server

from countermark.httpkit.protocol import Connections

_BACKLOG: Final = 1024
_GRACE_S: Final = 8
_HANDSHAKES_S: Final = 1.0


class BoundedServer(Server):
    """Serves one application on listening sockets that are given to it."""

    def __init__(
        self, app: ASGIApp, connections: Connections, tls_cert: str = "", tls_key: str = ""
    ) -> None:
        """Over `connections`; with TLS if there are paths of a certificate chain and its key."""
        config = Config(
            app,
            # uvicorn only ever calls it, with these parameters.
            http=cast("Any", connections),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE_S,
            ssl_certfile=tls_cert or None,
            ssl_keyfile=tls_key or None,
        )
        super().__init__(config)
        self._connections = connections

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to those who know what else there is to stop."""
        yield

    def stop(self) -> None:
        """Finish what was begun, then return from `serve`."""
        self.should_exit = True

    def hurry(self) -> None:
        """Wait for nothing any more: requests under way are answered with 503."""
        for task in list(self.server_state.tasks):
            task.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take the connections that the kernel has made already, then no more; end them all.

        Closing a listener resets those that nobody has taken yet.
        """
        self._connections.stop()
        taken = [each for listener in sockets or () for each in _accept_all(listener)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        making = [
            asyncio.ensure_future(
                loop.connect_accepted_socket(self._connection, each, ssl=self.config.ssl)
            )
            for each in taken
        ]
        if making:
            done, _ = await asyncio.wait(making, timeout=_HANDSHAKES_S)
            for each in done:
                each.exception()  # of a handshake that failed: looked at, and no matter
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        return self._connections(self.config, self.server_state, self.lifespan.state)


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            taken, _ = listener.accept()
        except OSError:  # nothing waits, or no descriptor is left
            return
        taken.setblocking(False)
        yield taken
