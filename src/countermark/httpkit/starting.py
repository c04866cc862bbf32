# SPDX-License-Identifier: Apache-2.0
"""An application that is still being put together.

Its worker's port is open from the first moment, and the kernel deals connections out to it. While
the application waits for a keeper that reads back large logs, or hangs, those get an answer too.
"""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from countermark.core.errors import Unavailable
from countermark.httpkit.problems import problem_reply

PATIENCE_S: Final = 2.0
"""How long a request waits for the application to be there."""


class Starting:
    """Passes requests on to the application that `begin` is given; until then they wait."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._application: ASGIApp | None = None
        self._begun = asyncio.Event()

    def begin(self, application: ASGIApp) -> None:
        """Serve `application` from now on."""
        self._application = application
        self._begun.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: 503 if there is nothing to answer it in time."""
        application = self._application or await self._wait()
        await (application or _unavailable)(scope, receive, send)

    async def _wait(self) -> ASGIApp | None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._begun.wait()
        except TimeoutError:
            return None
        return self._application


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    error = Unavailable("the instance is starting; try again shortly")
    await problem_reply(error)(scope, receive, send)
