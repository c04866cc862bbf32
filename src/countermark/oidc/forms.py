# SPDX-License-Identifier: Apache-2.0
"""Reading queries, forms and client authentication, strictly."""

from base64 import b64decode
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request

from countermark.core.errors import FormatError
from countermark.core.wire.oauth import CLIENT_ID, OAuthError
from countermark.httpkit.body import read_body

_FORM_TYPE = "application/x-www-form-urlencoded"
_MAX_BYTES = 16 * 1024
_MAX_FIELDS = 32


def read_query(request: Request) -> dict[str, str]:
    """The query's parameters. Raises FormatError, also for one that is given twice."""
    query: bytes = request.scope["query_string"]
    return _parameters(query, "query")


async def read_form(request: Request) -> dict[str, str]:
    """The body's fields. Raises FormatError, also for one that is given twice, or BodyTooLarge."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _FORM_TYPE:
        raise FormatError("form", f"is not {_FORM_TYPE}")
    return _parameters(await read_body(request, limit=_MAX_BYTES), "form")


def _parameters(data: bytes, what: str) -> dict[str, str]:
    if len(data) > _MAX_BYTES:
        raise FormatError(what, f"is larger than {_MAX_BYTES} bytes")
    try:
        pairs = parse_qsl(
            data.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise FormatError(what, "is not percent-encoded UTF-8") from error
    # RFC 6749 section 3.1: a parameter that comes twice has no meaning. But cosign sends a scope
    # for each word of it when it polls, which can only mean all of them.
    scopes = " ".join(value for name, value in pairs if name == "scope")
    if scopes:
        pairs = [pair for pair in pairs if pair[0] != "scope"] + [("scope", scopes)]
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise FormatError(what, "holds a parameter twice")
    return parameters


def check_client(request: Request, form: dict[str, str]) -> None:
    """Accept the one public client, named by HTTP Basic with an empty secret or in the form.

    Raises OAuthError.
    """
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    authorization = request.headers.get("authorization")
    if authorization is not None:
        named, secret = _basic(authorization)
        if client_id not in ("", named):
            raise OAuthError("invalid_client", "the client is named twice, differently")
        client_id = named
    if client_id != CLIENT_ID or secret:
        raise OAuthError("invalid_client", f"the only client is {CLIENT_ID!r}, without a secret")


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        text = b64decode(encoded.strip(), validate=True).decode("utf-8")
    except ValueError as error:
        raise OAuthError("invalid_client", "the client's HTTP Basic header is malformed") from error
    named, _, secret = text.partition(":")
    # RFC 6749 section 2.3.1: both are form-encoded first.
    return unquote_plus(named), unquote_plus(secret)
