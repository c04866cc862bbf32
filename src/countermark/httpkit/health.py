# SPDX-License-Identifier: Apache-2.0
"""Whether a worker is alive, and whether the whole instance can do its work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from countermark.core.errors import CountermarkError, Unavailable
from countermark.httpkit.problems import problem_reply
from countermark.httpkit.replies import NO_STORE, json_bytes_reply

_PATIENCE_S: Final = 2.0


def routes(ask_keeper: Callable[[], Awaitable[object]]) -> list[BaseRoute]:
    """``/healthz`` and ``/readyz``; `ask_keeper` raises one of our errors if it is not ready."""

    async def healthz(_: Request) -> Response:
        return json_bytes_reply(b'{"status":"SERVING"}', headers=NO_STORE)

    async def readyz(_: Request) -> Response:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await ask_keeper()
        except TimeoutError:
            return problem_reply(Unavailable("the keeper does not answer"))
        except CountermarkError as error:
            return problem_reply(error)
        return json_bytes_reply(b'{"status":"READY"}', headers=NO_STORE)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
