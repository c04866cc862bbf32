# SPDX-License-Identifier: Apache-2.0
"""Tokens, claims, key sets, the login's forms and the CA's messages."""

import asyncio
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.types import Message, Receive

from countermark.ca.possession import certifiable_key
from countermark.client.identity import IdentityToken
from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import CountermarkError, FormatError, RequestRejected, TokenRejected
from countermark.core.identity.claims import certificate_identity, principal_from_token
from countermark.core.identity.jws import KeySet
from countermark.core.identity.profile import IssuerProfile, LeafTemplate, subject_key_id
from countermark.core.identity.token import (
    VerifiedToken,
    check_claims,
    from_base64url,
    parse_token,
    subject_to_sign,
    to_base64url,
)
from countermark.core.wire import fulcio
from countermark.core.wire.oauth import AuthorizationRequest, CodeExchange, OAuthError
from countermark.core.wire.oidc import Discovery, LocalTokenRequest, TokenFault, TokenReply
from countermark.oidc.fetch import check_reachable
from countermark.oidc.forms import check_client, read_form, read_query
from countermark.oidc.keeper import check_email
from fuzz.context import key_set
from fuzz.target import Refusals, Target, any_of

NOW_S = 1_800_000_000.0
_ISSUER = IssuerProfile(b"\x30\x00", bytes(20), "PKIX_ECDSA_P256_SHA_256")


def _token(data: bytes) -> bool:
    text = data.decode("utf-8", "replace")
    taken = False
    with Refusals(TokenRejected):
        parsed = parse_token(text)
        _ = parsed.issuer
        key_set().verify(parsed)
        check_claims(parsed.claims, audience="sigstore", now_s=NOW_S)
        taken = True
    with Refusals(TokenRejected):
        token = IdentityToken.parse(text)
        token.check_alive(NOW_S)
    with Refusals(TokenRejected):
        assert to_base64url(from_base64url(text, "part")) == text
    return taken


def _claims(data: bytes) -> bool:
    """The JSON of claims whose signature was good: an issuer may say anything."""
    try:
        claims = msgspec.json.decode(data, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    taken = False
    with Refusals(TokenRejected):
        check_claims(claims, audience="sigstore", now_s=NOW_S)
    with Refusals(TokenRejected):
        assert subject_to_sign(claims) in (claims.get("email"), claims.get("sub"))
    for kind in ("email", "github-workflow"):
        with Refusals(RequestRejected):
            principal = principal_from_token(VerifiedToken("https://issuer", kind, claims))
            assert principal.name == claims["email" if kind == "email" else "sub"]
            identity = certificate_identity(principal)
            assert identity.san_value.isascii()
            key = key_spki()
            leaf = LeafTemplate.for_identity(
                identity, key, subject_key_id(key), _ISSUER, serial=1, not_before_s=1
            )
            read = Certificate.parse(leaf.certificate(leaf.tbs(), b"sig"))
            (name,) = read.subject_alternative_names()
            assert (name.kind, name.value) == (identity.san_type, identity.san_value)
            assert len(read.extensions) == 5 + len(identity.extensions)
            taken = True
    return taken


def key_spki() -> bytes:
    """An Ed25519 key that nobody holds: the base point."""
    return bytes.fromhex("302a300506032b6570032100" + "58" + "66" * 31)


def _jwks(data: bytes) -> bool:
    with Refusals(FormatError):
        assert KeySet.parse(data).keys
        return True
    return False


def _form(data: bytes) -> bool:
    """A query or form as sent, and below it an Authorization header."""
    sent, _, authorization = data.partition(b"\n")
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    if authorization:
        headers.append((b"authorization", authorization))
    scope = {"type": "http", "method": "POST", "query_string": sent, "headers": headers}
    taken = False
    with Refusals(FormatError):
        parameters = read_query(Request(scope))
        form = asyncio.run(read_form(Request(scope, _once(sent))))
        assert parameters == form
        with Refusals(FormatError, OAuthError):
            asked = AuthorizationRequest.from_parameters(parameters)
            parts = urlsplit(asked.redirect_uri)
            assert parts.scheme == "urn" or parts.hostname in ("localhost", "127.0.0.1", "::1")
            taken = True
        with Refusals(OAuthError):
            CodeExchange.from_parameters(parameters)
            taken = True
        with Refusals(OAuthError):
            check_client(Request(scope), form)
    return taken


def _once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _signing_request(data: bytes) -> bool:
    taken = False
    for parse in (fulcio.parse_signing_cert_request, fulcio.parse_legacy_request):
        with Refusals(FormatError):
            wanted = parse(data)
            with Refusals(RequestRejected):
                certifiable_key(wanted, "ann@example.com")
                taken = True
    return taken


def _reply(data: bytes) -> bool:
    """What a client reads of services that may be anybody's."""
    assert isinstance(fulcio.error_message(data), str)
    reader = any_of(
        fulcio.parse_signing_cert_response,
        Discovery.parse,
        TokenReply.parse,
        TokenFault.parse,
        LocalTokenRequest.parse,
        lambda data: fulcio.first_pem_block(data, "x"),
        lambda data: check_email(LocalTokenRequest.parse(data).email),
        lambda data: check_reachable(Discovery.parse(data).jwks_uri),
        but=(CountermarkError,),
    )
    return reader.run(data)


TARGETS = (
    Target("token", _token),
    Target("claims", _claims, 8192),
    Target("jwks", _jwks, 8192),
    Target("form", _form, 4096),
    Target("signing-request", _signing_request),
    Target("reply", _reply),
)
