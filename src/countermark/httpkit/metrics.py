# SPDX-License-Identifier: Apache-2.0
"""``/metrics``: what the whole instance counts, for Prometheus."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from countermark.httpkit.replies import NO_STORE, bytes_reply

METRICS_PATH: Final = "/metrics"
_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def routes(scrape: Callable[[], bytes]) -> list[BaseRoute]:
    """The page that `scrape` makes; it may block for milliseconds."""

    async def metrics(_: Request) -> Response:
        return bytes_reply(await asyncio.to_thread(scrape), _MEDIA_TYPE, headers=NO_STORE)

    return [Route(METRICS_PATH, metrics)]
