# SPDX-License-Identifier: Apache-2.0
"""The timestamp authority's HTTP API, as timestamp-authority v2 has it.

Refusals are JSON with an HTTP status, never a DER rejection: that is what upstream's clients
look for.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from countermark.core.crypto.keys import encode_pem
from countermark.core.errors import FormatError, RequestRejected, Unavailable
from countermark.core.tsp.request import MAX_REQUEST_BYTES, SIGSTORE_POLICY, TimestampRequest
from countermark.core.wire import tsa as wire
from countermark.httpkit.body import BodyTooLarge, read_body
from countermark.httpkit.cors import cors
from countermark.httpkit.replies import NO_STORE, BytesReply, bytes_reply, json_bytes_reply
from countermark.rpc.message import Keeper
from countermark.tsa.messages import FetchChain, IssueTimestamp

_REPLY_HEADERS = (
    (b"content-type", wire.REPLY_TYPE.encode("ascii")),
    (b"cache-control", b"no-store"),
)
_CHAIN_CACHING = {"cache-control": "max-age=86400, immutable"}


def routes(keeper: Keeper) -> list[BaseRoute]:
    """The authority's routes, open to pages of every origin."""
    authority = _Authority(keeper)
    return cors(
        [
            Route(wire.TIMESTAMP_PATH, authority.timestamp, methods=["POST"]),
            Route(wire.CERTCHAIN_PATH, authority.chain, methods=["GET"]),
        ]
    )


class _Refused(Exception):
    def __init__(self, status: int, refusal: wire.Refusal) -> None:
        super().__init__(refusal.message)
        self.status = status
        self.refusal = refusal


class _Authority:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def timestamp(self, request: Request) -> Response:
        """Issue a token over the digest in a DER or JSON query."""
        try:
            query = await _query(request)
            nonce = b"" if query.nonce is None else _signed_bytes(query.nonce)
            issued = await self._keeper.call(
                IssueTimestamp(query.hash_name, query.digest, nonce, query.certificates)
            )
        except _Refused as error:
            return json_bytes_reply(error.refusal.serialize(), error.status, NO_STORE)
        except Unavailable as error:
            refusal = wire.Refusal(503, str(error))
            return json_bytes_reply(refusal.serialize(), 503, {**NO_STORE, "retry-after": "1"})
        return BytesReply(issued.response, 200, [*_REPLY_HEADERS])

    async def chain(self, _: Request) -> Response:
        """The authority's certificates as PEM, the signing one first."""
        chain = await self._keeper.call(FetchChain())
        pem = "".join(encode_pem("CERTIFICATE", der) for der in chain.certificates)
        return bytes_reply(pem.encode("ascii"), wire.CHAIN_TYPE, headers=_CHAIN_CACHING)


async def _query(request: Request) -> TimestampRequest:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (wire.QUERY_TYPE, wire.JSON_TYPE):
        raise _Refused(415, wire.unsupported_type(media_type))
    is_json = media_type == wire.JSON_TYPE
    try:
        body = await read_body(request, limit=wire.MAX_JSON_BYTES if is_json else MAX_REQUEST_BYTES)
        if not body:
            raise _Refused(422, wire.EMPTY_BODY)
        query = wire.request_from_json(body) if is_json else TimestampRequest.parse(body)
        if query.policy not in (None, SIGSTORE_POLICY):
            raise RequestRejected(f"unaccepted policy: {query.policy}")
    except BodyTooLarge as error:
        raise _Refused(400, wire.TOO_LARGE) from error
    except RequestRejected as error:
        raise _Refused(400, wire.Refusal(400, str(error))) from error
    except FormatError as error:
        raise _Refused(400, wire.UNREADABLE) from error
    return query


def _signed_bytes(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, signed=True)
