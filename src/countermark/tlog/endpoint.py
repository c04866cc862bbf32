# SPDX-License-Identifier: Apache-2.0
"""One path of the v1 API: verbs, media types, caching headers and errors around its handlers.

A plain ASGI application rather than a Starlette endpoint: entries are posted by the thousand a
second, and their framework should cost less than their signatures.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from countermark.core.errors import CountermarkError, NotFound, Pushback, Unavailable
from countermark.core.rekor.entry import EntryRejected
from countermark.core.wire.rekor_v1 import error_reply
from countermark.core.wire.rekor_v1_requests import BadRequest
from countermark.httpkit.body import BodyTooLarge
from countermark.httpkit.replies import NO_CACHE, BytesReply, empty_reply, json_bytes_reply

Handler: TypeAlias = Callable[[Request], Awaitable[BytesReply]]

_log = logging.getLogger(__name__)
_JSON = "application/json"
_MAX_RANGES: Final = 64  # more than any client accepts; reading 60,000 takes a tenth of a second


class Endpoint:
    """Routes one path's requests by verb and answers what its handlers raise."""

    def __init__(
        self, *, get: Handler | None = None, post: Handler | None = None, produces: str = _JSON
    ) -> None:
        """At least one of `get` and `post`; replies are of media type `produces`."""
        handlers = {"GET": get, "POST": post}
        self._handlers = {verb: handler for verb, handler in handlers.items() if handler}
        self._produces = produces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        reply = await self._reply(scope["method"], Request(scope, receive))
        if reply is not None:
            if scope["method"] == "GET":
                reply.raw_headers.extend(_NO_CACHE)
            await reply(scope, receive, send)

    async def _reply(self, verb: str, request: Request) -> BytesReply | None:
        handler = self._handlers.get(verb)
        if handler is None:
            return self._wrong_verb(verb)
        try:
            self._check_media_types(request)
            return await handler(request)
        except BadRequest as error:
            return _error(error.status, str(error), number=error.number)
        except EntryRejected as error:
            return _error(400, f"error processing entry: {error}")
        except NotFound:
            return empty_reply(404)
        except BodyTooLarge as error:
            return _error(413, f"Request Entity Too Large. Limit set to {error.limit}")
        except Pushback as error:
            return _error(503, str(error), retry_after_s=error.retry_after_s)
        except Unavailable as error:
            return _error(503, str(error), retry_after_s=1)
        except ClientDisconnect:
            return None
        except CountermarkError:
            _log.exception("could not carry out a request to the v1 log")
            return _error(500, "unexpected result from transparency log")

    def _wrong_verb(self, verb: str) -> BytesReply:
        allowed = ",".join(self._handlers)
        reply = _error(405, f"method {verb[:20]} is not allowed, but [{allowed}] are")
        reply.raw_headers.append((b"allow", allowed.encode("ascii")))
        return reply

    def _check_media_types(self, request: Request) -> None:
        """Raise BadRequest for a body that is not JSON, or a client that wants something else."""
        content_type = "application/octet-stream"
        has_body = False
        accepts: list[str] = []
        for name, value in request.scope["headers"]:
            if name == b"content-type":
                content_type = value.decode("latin-1")
            elif name == b"content-length":
                has_body = value != b"0"
            elif name == b"transfer-encoding":
                has_body = True
            elif name == b"accept":
                accepts.append(value.decode("latin-1"))
        if has_body and content_type != _JSON:
            media_type = content_type.partition(";")[0].strip().lower()
            if media_type != _JSON:
                shown = media_type[:100].replace('"', "'")
                message = f'unsupported media type "{shown}", only [{_JSON}] are allowed'
                raise BadRequest(415, 415, message)
        if accepts and not self._acceptable(accepts):
            message = f"unsupported media type requested, only [{self._produces}] are available"
            raise BadRequest(406, 406, message)

    def _acceptable(self, accepts: list[str]) -> bool:
        ranges = (self._produces, self._produces.partition("/")[0] + "/*", "*/*")
        return any(media in ranges and quality > 0 for media, quality in _media_ranges(accepts))


def _media_ranges(accepts: list[str]) -> Iterator[tuple[str, float]]:
    for item in ",".join(accepts).split(",", _MAX_RANGES)[:_MAX_RANGES]:
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        yield media, quality


def _error(
    status: int, message: str, *, number: int = 0, retry_after_s: int | None = None
) -> BytesReply:
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return json_bytes_reply(error_reply(number or status, message), status, headers)


_NO_CACHE = [(name.encode("ascii"), value.encode("ascii")) for name, value in NO_CACHE.items()]
