# SPDX-License-Identifier: Apache-2.0
"""Whether a worker is alive, and whether the whole instance can do its work.

*Alive* asks nobody else: a supervisor that restarts what is not alive must not restart workers
because a keeper reads back large logs. *Ready* asks the keeper whether every log can take and
publish entries, and means that a load balancer may send work.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from countermark.core.errors import CountermarkError, Unavailable
from countermark.httpkit.problems import problem_reply
from countermark.httpkit.replies import NO_STORE, BytesReply, json_bytes_reply

ALIVE_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"
_PATIENCE_S: Final = 2.0


def alive_reply() -> BytesReply:
    """200: this worker answers."""
    return json_bytes_reply(b'{"status":"SERVING"}', headers=NO_STORE)


def routes(ask_keeper: Callable[[], Awaitable[object]]) -> list[BaseRoute]:
    """``/healthz`` and ``/readyz``; `ask_keeper` raises one of our errors if it is not ready."""

    async def healthz(_: Request) -> Response:
        return alive_reply()

    async def readyz(_: Request) -> Response:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await ask_keeper()
        except TimeoutError:
            return problem_reply(Unavailable("the keeper does not answer"))
        except CountermarkError as error:
            return problem_reply(error)
        return json_bytes_reply(b'{"status":"READY"}', headers=NO_STORE)

    return [Route(ALIVE_PATH, healthz), Route(READY_PATH, readyz)]
