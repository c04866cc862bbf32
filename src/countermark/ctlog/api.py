# SPDX-License-Identifier: Apache-2.0
"""CT logs over HTTP, in the workers: RFC 6962 section 4.

Parameters are read as upstream's Go reads them; errors are plain text, the status' name and the
reason on two lines, as there. Chains are checked here, so the keeper sees checked parts only.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from countermark.core.ct.sct import SignedCertificateTimestamp
from countermark.core.encoding import from_base64_bits
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    NotFound,
    Pushback,
    RequestRejected,
    Unavailable,
)
from countermark.core.wire import ct
from countermark.ctlog.messages import (
    AddCertificate,
    GetConsistency,
    GetEntries,
    GetEntryAndProof,
    GetProofByHash,
    GetRoots,
    GetTreeHead,
)
from countermark.ctlog.static_api import StaticApi
from countermark.ctlog.submission import check_chain
from countermark.httpkit.body import BodyTooLarge, read_body
from countermark.httpkit.endpoint import EVERY_METHOD
from countermark.httpkit.replies import bytes_reply, json_bytes_reply
from countermark.ports.objects import ObjectStore
from countermark.rpc.message import Keeper

_log = logging.getLogger(__name__)

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
_MAX_INT64 = 2**63 - 1
_MAX_ENTRIES = 1000
_MAX_RANGES = (
    16  # read at a time: each may be megabytes, which the keeper holds until they are sent
)
_FOREVER: Mapping[str, str] = {"cache-control": "public, max-age=86400, immutable"}
_PARTLY: Mapping[str, str] = {"cache-control": "public, max-age=60"}
_TEXT = "text/plain; charset=utf-8"
_Answer = Callable[[Request, str], Awaitable[Response]]


def routes(keeper: Keeper, objects: Mapping[str, ObjectStore]) -> list[BaseRoute]:
    """Every path of every CT log; `objects` are the logs' published files, by name in URLs."""
    api = _Api(keeper)
    resources: list[tuple[str, str, _Answer]] = [
        ("ct/v1/add-chain", "POST", api.add_chain),
        ("ct/v1/add-pre-chain", "POST", api.add_pre_chain),
        ("ct/v1/get-roots", "GET", api.get_roots),
        ("ct/v1/get-sth", "GET", api.get_sth),
        ("ct/v1/get-sth-consistency", "GET", api.get_sth_consistency),
        ("ct/v1/get-proof-by-hash", "GET", api.get_proof_by_hash),
        ("ct/v1/get-entries", "GET", api.get_entries),
        ("ct/v1/get-entry-and-proof", "GET", api.get_entry_and_proof),
    ]
    static = StaticApi(keeper, objects)
    resources += [
        ("checkpoint", "GET", static.checkpoint),
        ("tile/{path:path}", "GET", static.tile),
        ("issuer/{name}", "GET", static.issuer),
    ]
    return [
        Route(f"/ctlog/{log}/{path}", _Resource(method, answer, log), methods=EVERY_METHOD)
        for log in objects
        for path, method, answer in resources
    ]


class _Api:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._ranges = asyncio.Semaphore(_MAX_RANGES)

    async def add_chain(self, request: Request, log: str) -> Response:
        return await self._add(request, log, precertificate=False)

    async def add_pre_chain(self, request: Request, log: str) -> Response:
        return await self._add(request, log, precertificate=True)

    async def _add(self, request: Request, log: str, *, precertificate: bool) -> Response:
        body = await read_body(request, limit=ct.MAX_REQUEST_BYTES)
        try:
            chain = ct.parse_add_chain_request(body)
        except FormatError as error:
            raise RequestRejected(f"failed to parse add-chain body: {error.why}") from error
        roots = await self._keeper.call(GetRoots(log))
        try:
            checked = check_chain(chain, roots.certificates, precertificate=precertificate)
        except RequestRejected as error:
            raise RequestRejected(f"failed to verify add-chain contents: {error}") from error
        logged = await self._keeper.call(
            AddCertificate(
                log,
                checked.issuer_key_hash,
                checked.certificate,
                checked.pre_certificate,
                checked.chain,
            )
        )
        return json_bytes_reply(ct.add_chain_reply(SignedCertificateTimestamp.parse(logged.sct)))

    async def get_roots(self, request: Request, log: str) -> Response:
        roots = await self._keeper.call(GetRoots(log))
        return json_bytes_reply(ct.roots_reply(roots.certificates))

    async def get_sth(self, request: Request, log: str) -> Response:
        head = await self._keeper.call(GetTreeHead(log))
        sth = ct.SignedTreeHead(head.tree_size, head.timestamp_ms, head.root_hash, head.signature)
        return json_bytes_reply(ct.tree_head_reply(sth))

    async def get_sth_consistency(self, request: Request, log: str) -> Response:
        what = "failed to parse consistency range: "
        for name in ("first", "second"):
            if not request.query_params.get(name):
                raise RequestRejected(f"{what}parameter '{name}' is required")
        first = _integer(request, "first", f"{what}parameter 'first' is malformed")
        second = _integer(request, "second", f"{what}parameter 'second' is malformed")
        if first < 0 or second < 0:
            raise RequestRejected(f"{what}first and second params cannot be <0: {first} {second}")
        if second < first:
            raise RequestRejected(f"{what}invalid first, second params: {first} {second}")
        proof = await self._keeper.call(GetConsistency(log, first, second))
        return json_bytes_reply(ct.consistency_reply(proof.hashes), headers=_FOREVER)

    async def get_proof_by_hash(self, request: Request, log: str) -> Response:
        text = request.query_params.get("hash", "")
        if not text:
            raise RequestRejected("get-proof-by-hash: missing / empty hash param")
        try:
            leaf_hash = from_base64_bits(text, "hash")
        except FormatError as error:
            raise RequestRejected("get-proof-by-hash: invalid base64 hash") from error
        refusal = "get-proof-by-hash: missing or invalid tree_size"
        tree_size = _integer(request, "tree_size", refusal)
        if tree_size < 1:
            raise RequestRejected(refusal)
        if len(leaf_hash) != 32:
            raise RequestRejected("get-proof-by-hash: the hash is not 32 bytes")
        proof = await self._keeper.call(GetProofByHash(log, leaf_hash, tree_size))
        return json_bytes_reply(ct.proof_reply(proof.index, proof.hashes), headers=_FOREVER)

    async def get_entries(self, request: Request, log: str) -> Response:
        what = "bad range on get-entries request: "
        start = _integer(request, "start", f"{what}parameter 'start' is malformed")
        end = _integer(request, "end", f"{what}parameter 'end' is malformed")
        if start < 0 or end < 0:
            raise RequestRejected(f"{what}start ({start}) and end ({end}) parameters must be >= 0")
        if start > end:
            raise RequestRejected(f"{what}start ({start}) and end ({end}) is not a valid range")
        end = min(end, start + _MAX_ENTRIES - 1)
        async with self._ranges:
            answer = await self._keeper.call(GetEntries(log, start, min(end + 1, _MAX_INT64)))
        pairs = [(entry.leaf_input, entry.extra_data) for entry in answer.entries]
        # Fewer than asked for may be because the log has no more yet.
        caching = _FOREVER if len(pairs) > end - start else _PARTLY
        return json_bytes_reply(ct.entries_reply(pairs), headers=caching)

    async def get_entry_and_proof(self, request: Request, log: str) -> Response:
        what = "failed to parse get-entry-and-proof params: "
        index = _integer(request, "leaf_index", f"{what}leaf_index is malformed")
        tree_size = _integer(request, "tree_size", f"{what}tree_size is malformed")
        if tree_size <= 0:
            raise RequestRejected(f"{what}tree_size must be > 0, got: {tree_size}")
        if index < 0:
            raise RequestRejected(f"{what}leaf_index must be >= 0, got: {index}")
        if index >= tree_size:
            raise RequestRejected(
                f"{what}leaf_index {index} out of range for tree of size {tree_size}"
            )
        answer = await self._keeper.call(GetEntryAndProof(log, index, tree_size))
        reply = ct.entry_and_proof_reply(
            answer.entry.leaf_input, answer.entry.extra_data, answer.hashes
        )
        return json_bytes_reply(reply, headers=_FOREVER)


class _Resource:
    """One path of one log: its method, and errors as upstream's CT front end writes them."""

    def __init__(self, method: str, answer: _Answer, log: str) -> None:
        self._method = method
        self._answer = answer
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != self._method:
            reply = _error(405, f"method not allowed: {scope['method']}")
            reply.headers["allow"] = self._method
        else:
            try:
                reply = await self._answer(Request(scope, receive), self._log)
            except ClientDisconnect:
                return
            except CountermarkError as error:
                reply = _problem(error)
        await reply(scope, receive, send)


def _problem(error: CountermarkError) -> Response:
    if isinstance(error, BodyTooLarge):
        return _error(413, str(error))
    if isinstance(error, RequestRejected | FormatError):
        return _error(400, str(error))
    if isinstance(error, NotFound):
        return _error(404, str(error))
    _log.error("could not answer for a CT log: %s", error)
    if isinstance(error, Pushback):
        reply = _error(429, str(error))
        reply.headers["retry-after"] = str(error.retry_after_s)
        return reply
    if isinstance(error, Unavailable):
        reply = _error(503, str(error))
        reply.headers["retry-after"] = "1"
        return reply
    return _error(500, "")


def _error(status: int, reason: str) -> Response:
    text = f"{HTTPStatus(status).phrase}\n{reason}".rstrip("\n") + "\n"
    return bytes_reply(text.encode(), _TEXT, status, {"x-content-type-options": "nosniff"})


def _integer(request: Request, name: str, refusal: str) -> int:
    """A query parameter as Go's ParseInt reads it, 64 bits."""
    text = request.query_params.get(name, "")
    if not _INTEGER.fullmatch(text) or not -_MAX_INT64 - 1 <= int(text) <= _MAX_INT64:
        raise RequestRejected(refusal)
    return int(text)
