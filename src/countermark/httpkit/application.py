# SPDX-License-Identifier: Apache-2.0
"""The ASGI application of a worker: from path to route, and from error to reply.

Routes are Starlette's. Those without parameters, the busy ones, are found in a dictionary; the
others by Starlette's own matching, in order.
"""

import asyncio
import logging
from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from countermark.core.errors import CountermarkError, InvariantBroken, Unavailable
from countermark.httpkit.body import HeldBodies
from countermark.httpkit.endpoint import lean_app
from countermark.httpkit.metering import ENDPOINT, OTHER
from countermark.httpkit.problems import (
    problem_body,
    problem_reply,
    unknown_path,
    wrong_method,
)
from countermark.httpkit.replies import BytesReply, json_bytes_reply

_logger = logging.getLogger(__name__)


class Application:
    """Every route of one worker.

    Paths are tried as they are, then without doubled and trailing slashes, as Rekor v1 does:
    clients really send both.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._exact: dict[str, dict[str, ASGIApp]] = {}
        self._matched: list[BaseRoute] = []
        self._bodies = HeldBodies()
        for route in routes:
            if isinstance(route, Route) and route.methods and not route.param_convertors:
                methods = self._exact.setdefault(route.path, {})
                for method in route.methods:
                    methods.setdefault(method, lean_app(route))
            else:
                self._matched.append(route)

    @property
    def held_body_bytes(self) -> int:
        """Request bodies in memory that came in several pieces."""
        return self._bodies.held_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._bodies.offer(scope)
        try:
            methods = self._exact.get(scope["path"])
            app = methods.get(scope["method"]) if methods else None
            if app is not None:
                scope[ENDPOINT] = scope["path"]
            await (app or self._find(scope))(scope, receive, send)
        except CountermarkError as error:
            if isinstance(error, InvariantBroken):
                _logger.error("%s: %s", error.code, error, exc_info=error)
            await problem_reply(error)(scope, receive, send)
        except HTTPException as error:
            body = problem_body(error.status_code, error.detail)
            reply = json_bytes_reply(body, error.status_code, error.headers)
            await reply(scope, receive, send)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:  # a stop that would wait no longer
            await _stopped()(scope, receive, send)
        except Exception:
            _logger.exception("request failed", extra={"endpoint": scope.get(ENDPOINT, OTHER)})
            body = problem_body(500, "Internal error")
            await json_bytes_reply(body, 500)(scope, receive, send)
        finally:
            self._bodies.release(scope)

    def _find(self, scope: Scope) -> ASGIApp:
        allowed: set[str] = set()
        path: str = scope["path"]
        for spelling in dict.fromkeys((path, _cleaned(path))):
            methods = self._exact.get(spelling, {})
            if methods:
                scope[ENDPOINT] = spelling
            if scope["method"] in methods:
                return methods[scope["method"]]
            allowed |= methods.keys()
            tried = {**scope, "path": spelling}
            for route in self._matched:
                match, found = route.matches(tried)
                if match is not Match.NONE:
                    scope[ENDPOINT] = getattr(route, "path", OTHER)
                if match is Match.FULL:
                    scope.update(found)
                    scope["path"] = spelling
                    return route.handle
                if match is Match.PARTIAL:
                    allowed |= getattr(route, "methods", None) or set()
        return wrong_method(scope, allowed) if allowed else unknown_path(scope)


def _stopped() -> BytesReply:
    return problem_reply(
        Unavailable("the instance is stopping; what was asked for may have been done")
    )


def _cleaned(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part)
