# SPDX-License-Identifier: Apache-2.0
"""The CA over HTTP, in the workers: Fulcio's API v2 and v1.

Statuses, error bodies and the order of checks are upstream's: token first, then key, then
names. One thing is not copied: what is our own fault or our CT log's is answered with 500 or
503 instead of 400, so that clients know to try again.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from countermark.ca.messages import CTSubmissionFailed, GetAuthorities, IssueCertificate
from countermark.ca.possession import certifiable_key
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    Pushback,
    RequestRejected,
    TokenRejected,
    Unavailable,
)
from countermark.core.identity.claims import (
    CHALLENGE_CLAIMS,
    certificate_identity,
    principal_from_token,
)
from countermark.core.identity.profile import subject_key_id
from countermark.core.identity.token import TokenVerifier
from countermark.core.wire import fulcio
from countermark.httpkit.body import read_body
from countermark.httpkit.cors import cors
from countermark.httpkit.endpoint import EVERY_METHOD
from countermark.httpkit.replies import NO_STORE, bytes_reply, json_bytes_reply
from countermark.rpc.message import Keeper

_log = logging.getLogger(__name__)

REASON_HEADER = "countermark-reason"
_MAX_REASON_CHARS = 200
_MAX_BODY_BYTES = 4 << 20  # gRPC's default message size, upstream's only limit
_UNPROVEN_IDENTITY = "There was an error processing the identity token"
_CT_FAILED = "Error entering certificate in CTL"
_BACKEND_FAILED = "error communicating with CA backend"
_UNPARSABLE_KEY = "The public key supplied in the request could not be parsed"
# gRPC status numbers
_INVALID_ARGUMENT, _NOT_FOUND, _UNIMPLEMENTED, _INTERNAL, _UNAVAILABLE = 3, 5, 12, 13, 14


@dataclass(frozen=True, slots=True)
class AcceptedIssuer:
    """An issuer as ``/api/v2/configuration`` tells clients of it.

    Attributes:
        url: the issuer's URL, which is also its tokens' `iss`.
        issuer_type: ``email`` or ``github-workflow``.
        audience: what its tokens' `aud` must contain.
    """

    url: str
    issuer_type: str
    audience: str = "sigstore"


def routes(
    keeper: Keeper,
    verifier: TokenVerifier,
    issuers: Iterable[AcceptedIssuer],
    refused: Callable[[str], None] = lambda reason: None,
) -> list[BaseRoute]:
    """Every path of the CA, for all methods: upstream's answers to wrong ones are its own.

    `refused` is told the reason of each token that is not taken.
    """
    api = _Api(keeper, verifier, tuple(issuers), refused)
    resources = [
        ("/api/v2/signingCert", "POST", api.signing_cert),
        ("/api/v2/trustBundle", "GET", api.trust_bundle),
        ("/api/v2/configuration", "GET", api.configuration),
        ("/api/v1/signingCert", "POST", api.legacy_signing_cert),
        ("/api/v1/rootCert", "GET", api.legacy_root_cert),
    ]
    found = [
        Route(path, _Resource(method, answer), methods=EVERY_METHOD)
        for path, method, answer in resources
    ]
    return cors(
        [*found, Route("/api/v2/{path:path}", _unknown, methods=EVERY_METHOD)],
        headers=("Accept", "Authorization", "Content-Type", "X-Requested-With"),
    )


class _Api:
    def __init__(
        self,
        keeper: Keeper,
        verifier: TokenVerifier,
        issuers: tuple[AcceptedIssuer, ...],
        refused: Callable[[str], None],
    ) -> None:
        self._refused = refused
        self._keeper = keeper
        self._verifier = verifier
        rows = [
            (i.url, i.audience, CHALLENGE_CLAIMS[i.issuer_type], i.issuer_type) for i in issuers
        ]
        self._configuration = fulcio.configuration(rows)

    async def signing_cert(self, request: Request) -> Response:
        wanted = fulcio.parse_signing_cert_request(await read_body(request, limit=_MAX_BODY_BYTES))
        chain = await self._issue(wanted, wanted.token or _bearer(request))
        # JSON whatever Accept says: sigstore-python asks for PEM and reads JSON.
        return json_bytes_reply(fulcio.signing_cert_response(chain), headers=NO_STORE)

    async def legacy_signing_cert(self, request: Request) -> Response:
        wanted = fulcio.parse_legacy_request(await read_body(request, limit=_MAX_BODY_BYTES))
        if wanted.csr is None and not wanted.public_key:
            raise RequestRejected(_UNPARSABLE_KEY)
        chain = await self._issue(wanted, _bearer(request))
        return bytes_reply(fulcio.pem_chain(chain), fulcio.PEM_CHAIN_TYPE, 201, NO_STORE)

    async def trust_bundle(self, request: Request) -> Response:
        authorities = await self._keeper.call(GetAuthorities())
        return json_bytes_reply(fulcio.trust_bundle(authorities.chains))

    async def legacy_root_cert(self, request: Request) -> Response:
        authorities = await self._keeper.call(GetAuthorities())
        certificates = [der for chain in authorities.chains for der in chain]
        return bytes_reply(fulcio.pem_chain(certificates), fulcio.PEM_CHAIN_TYPE)

    async def configuration(self, request: Request) -> Response:
        return json_bytes_reply(self._configuration)

    async def _issue(self, wanted: fulcio.SigningCertRequest, token: str) -> tuple[bytes, ...]:
        try:
            principal = principal_from_token(await self._verifier.verify(token))
        except TokenRejected as error:
            self._refused(error.reason)
            raise
        key = certifiable_key(wanted, principal.name)
        identity = certificate_identity(principal)
        issued = await self._keeper.call(
            IssueCertificate(
                key.spki,
                subject_key_id(key.spki),
                identity.san_type,
                identity.san_value,
                identity.extensions,
            )
        )
        return issued.chain


class _Resource:
    """One path: its method, and errors as gRPC gateways write them."""

    def __init__(self, method: str, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._method = method
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != self._method:
            reply: Response = _error(501, _UNIMPLEMENTED, "Method Not Allowed")
        else:
            try:
                reply = await self._answer(Request(scope, receive))
            except ClientDisconnect:
                return
            except CountermarkError as error:
                reply = _problem(error)
        await reply(scope, receive, send)


async def _unknown(request: Request) -> Response:
    return _error(404, _NOT_FOUND, "Not Found")


def _problem(error: CountermarkError) -> Response:
    if isinstance(error, TokenRejected):
        # The body is upstream's, which says nothing; a header of our own says why.
        _log.info("refused identity token: %s", error)
        reason = "".join(c if " " <= c <= "~" else "?" for c in str(error))[:_MAX_REASON_CHARS]
        return _error(400, _INVALID_ARGUMENT, _UNPROVEN_IDENTITY, {REASON_HEADER: reason})
    if isinstance(error, RequestRejected | FormatError):
        return _error(400, _INVALID_ARGUMENT, str(error))
    _log.error("the CA could not answer: %s", error)
    if isinstance(error, CTSubmissionFailed):
        return _error(500, _INTERNAL, _CT_FAILED)
    if isinstance(error, Unavailable):
        wait_s = error.retry_after_s if isinstance(error, Pushback) else 1
        return _error(503, _UNAVAILABLE, str(error), {"retry-after": str(wait_s)})
    return _error(500, _INTERNAL, _BACKEND_FAILED)


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return json_bytes_reply(fulcio.error_body(code, message), status, headers)


def _bearer(request: Request) -> str:
    # Upstream removes the literal word and does not look at the scheme.
    return request.headers.get("authorization", "").replace("Bearer ", "")
