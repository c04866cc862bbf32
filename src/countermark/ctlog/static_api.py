# SPDX-License-Identifier: Apache-2.0
"""A CT log's tiles over HTTP: C2SP static-ct-api's monitoring prefix.

Tiles come straight from the published files; what is younger than the last publication, and
partial tiles that a wider one took the place of, come from the keeper, so everything that the
newest checkpoint promises is there at once.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from countermark.core.ct.static_ct import DATA_TILES
from countermark.core.errors import FormatError, NotFound
from countermark.core.tlog.tiles import BundleName, TileName, parse_path
from countermark.ctlog.messages import GetCheckpoint, GetIssuer, GetTile
from countermark.httpkit.replies import IMMUTABLE, INERT, bytes_reply
from countermark.ports.objects import ObjectStore
from countermark.rpc.message import Keeper

_MAX_LEVEL = 5
_ISSUER = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BINARY = "application/octet-stream"
_KEPT: Mapping[str, str] = {**IMMUTABLE, **INERT}


class StaticApi:
    """Checkpoint, tiles and issuers of the CT logs; `objects` by log name in URLs."""

    def __init__(self, keeper: Keeper, objects: Mapping[str, ObjectStore]) -> None:
        self._keeper = keeper
        self._objects = objects

    async def checkpoint(self, request: Request, log: str) -> Response:
        """``checkpoint``."""
        content = await self._keeper.call(GetCheckpoint(log))
        headers = {"cache-control": "no-cache", **INERT}
        return bytes_reply(content.data, "text/plain; charset=utf-8", headers=headers)

    async def tile(self, request: Request, log: str) -> Response:
        """``tile/<level>/<index>`` and ``tile/data/<index>``. Raises NotFound."""
        path = f"tile/{request.path_params['path']}"
        try:
            name = parse_path(path)
        except FormatError as error:
            raise NotFound(str(error)) from error
        if isinstance(name, TileName):
            known = name.level <= _MAX_LEVEL
        else:
            known = name.directory == DATA_TILES.directory
        if not known:
            raise NotFound(f"static CT logs have no {path}")
        return bytes_reply(await self._tile(log, name), _BINARY, headers=_KEPT)

    async def issuer(self, request: Request, log: str) -> Response:
        """``issuer/<SHA-256 in hex>``: a certificate that entries name. Raises NotFound."""
        name = request.path_params["name"]
        if not _ISSUER.fullmatch(name):
            raise NotFound("no such issuer")
        content = await self._keeper.call(GetIssuer(log, bytes.fromhex(name)))
        return bytes_reply(content.data, "application/pkix-cert", headers=_KEPT)

    async def _tile(self, log: str, name: TileName | BundleName) -> bytes:
        with contextlib.suppress(NotFound):
            return await asyncio.to_thread(self._objects[log].fetch, name.path)
        return (await self._keeper.call(GetTile(log, name.path))).data
