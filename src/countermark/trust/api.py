# SPDX-License-Identifier: Apache-2.0
"""Serves the trust root: ``/tuf/…`` for TUF clients, ``/trust/…`` for people and scripts.

Only names that the repository can have are ever looked up. Clients must not believe what
``/trust/`` says over bare http; TUF clients check what ``/tuf/`` says against a root they have.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from countermark.core.errors import NotFound
from countermark.httpkit.problems import problem_body
from countermark.httpkit.replies import IMMUTABLE, NO_STORE, empty_reply, json_bytes_reply
from countermark.ports.objects import ObjectStore
from countermark.trust.targets import DISTRUST_BUNDLE, NAMES

_IMMUTABLE_NAME = re.compile(
    r"[1-9][0-9]{0,8}\.(?:root|targets|snapshot)\.json"
    r"|targets/[0-9a-f]{64}\.[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
    re.ASCII,
)
_SERVED: Final = frozenset((*NAMES, DISTRUST_BUNDLE))
_REVALIDATE: Final[Mapping[str, str]] = {"cache-control": "no-cache"}
_NOSNIFF: Final[Mapping[str, str]] = {"x-content-type-options": "nosniff"}


def routes(tuf: ObjectStore, trust: ObjectStore) -> list[BaseRoute]:
    """The routes.

    Args:
        tuf: the TUF repository.
        trust: trusted_root.json and its like, by name.
    """

    async def serve_tuf(request: Request) -> Response:
        path = request.path_params["path"]
        if path == "timestamp.json":
            return _serve(tuf, path, request)
        if _IMMUTABLE_NAME.fullmatch(path):
            return _serve(tuf, path, request, IMMUTABLE)
        return _not_found()

    async def serve_trust(request: Request) -> Response:
        name = request.path_params["name"]
        return _serve(trust, name, request) if name in _SERVED else _not_found()

    return [
        Route("/tuf/{path:path}", serve_tuf, methods=["GET"]),
        Route("/trust/{name}", serve_trust, methods=["GET"]),
    ]


def _serve(
    objects: ObjectStore, path: str, request: Request, caching: Mapping[str, str] = _REVALIDATE
) -> Response:
    try:
        data = objects.fetch(path)  # a few kilobytes from the page cache: not worth a thread
    except NotFound:
        return _not_found()
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {**caching, **_NOSNIFF, "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return empty_reply(304, headers)
    return json_bytes_reply(data, 200, headers)


def _not_found() -> Response:
    # TUF clients ask for the next root every time: no cache may remember that there is none.
    return json_bytes_reply(problem_body(404, "no such file", NotFound.code), 404, NO_STORE)
