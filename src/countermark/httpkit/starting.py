# SPDX-License-Identifier: Apache-2.0
"""An application that is still being put together.

Its worker's port is open from the first moment, and the kernel deals connections out to it. While
the application waits for a keeper that reads back large logs, or hangs, those get an answer too:
the worker is alive, the instance is not ready, and whatever else was asked waits for a moment.
So it is while the logs of a running instance are changed, and its application with them.
"""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from countermark.core.errors import Unavailable
from countermark.httpkit.health import ALIVE_PATH, READY_PATH, alive_reply
from countermark.httpkit.metering import ENDPOINT
from countermark.httpkit.problems import problem_reply

PATIENCE_S: Final = 5.0
"""How long a request waits for the application to be there."""


class Starting:
    """Passes requests on to the application that `begin` is given; until then they wait."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._application: ASGIApp | None = None
        self._held: ASGIApp | None = None
        self._decided = asyncio.Event()

    def begin(self, application: ASGIApp) -> None:
        """Serve `application` from now on."""
        self._application, self._held = application, None
        self._decided.set()

    def hold(self) -> None:
        """Serve nothing until `begin` or `resume`; what is being answered goes on."""
        self._held = self._application or self._held
        self._application = None
        self._decided.clear()

    def resume(self) -> None:
        """Serve what was held, if something was: all is as before."""
        if self._application is None and self._held is not None:
            self.begin(self._held)

    def give_up(self) -> None:
        """There will be no application: who waits for it is told so now."""
        self._decided.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: 503 if there is nothing to answer it in time."""
        application = self._application
        if application is None:
            if scope["path"] in (ALIVE_PATH, READY_PATH):
                scope[ENDPOINT] = scope["path"]
            if scope["path"] == ALIVE_PATH:
                application = alive_reply()
            elif scope["path"] != READY_PATH:
                application = await self._wait()
        await (application or _unavailable)(scope, receive, send)

    async def _wait(self) -> ASGIApp | None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._decided.wait()
        except TimeoutError:
            return None
        return self._application


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    error = Unavailable("the instance is starting; try again shortly")
    await problem_reply(error)(scope, receive, send)
