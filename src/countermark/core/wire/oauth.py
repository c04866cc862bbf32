# SPDX-License-Identifier: Apache-2.0
"""The authorization code flow as Sigstore's clients speak it, for both sides.

PKCE S256 (RFC 6749, RFC 7636) for public clients on the same machine (RFC 8252): a loopback
redirect, or a code to copy by hand. No secrets, no other flows. Percent-encoding is the caller's.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from countermark.core.errors import FormatError, RequestRejected
from countermark.core.identity.token import to_base64url

CLIENT_ID = "sigstore"
SCOPE = "openid email"
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"

_MAX_PARAMETER = 2048
_MAX_CODE = 128
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)  # RFC 7636 section 4.1
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_LOOPBACK = re.compile(
    r"(?P<origin>http://(?:localhost|127\.0\.0\.1|\[::1\])(?::(?P<port>[1-9][0-9]{0,4}))?)"
    r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?",
    re.ASCII,
)


class OAuthError(RequestRejected):
    """A refusal of the code flow, by its name in RFC 6749 sections 4.1.2.1 and 5.2."""

    code = "oauth"

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error

    def __reduce__(self) -> tuple[type["OAuthError"], tuple[str, str]]:
        return (type(self), (self.error, str(self)))


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What a client asks of the login page.

    Attributes:
        client_id: who asks; the audience of the token.
        redirect_uri: where the code goes: loopback, or `OUT_OF_BAND`.
        challenge: base64url of SHA-256 of the client's PKCE verifier.
        state: handed back untouched.
        nonce: goes into the ID token.
        login_hint: an e-mail address to suggest.
    """

    client_id: str
    redirect_uri: str
    challenge: str
    state: str = ""
    nonce: str = ""
    login_hint: str = ""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "AuthorizationRequest":
        """Check a query. Unknown parameters are ignored.

        Raises FormatError while the redirect cannot be trusted (then nothing is sent there),
        OAuthError for what the client must be told.
        """
        for name, value in parameters.items():
            if len(value) > _MAX_PARAMETER:
                raise FormatError(
                    f"parameter {name[:32]!r}", f"is longer than {_MAX_PARAMETER} characters"
                )
        client_id = parameters.get("client_id", "")
        if client_id != CLIENT_ID:
            raise FormatError("the client's ID", f"is not {CLIENT_ID!r}, the only one known here")
        redirect_uri = parameters.get("redirect_uri", "")
        redirect_origin(redirect_uri)
        if parameters.get("response_type") != "code":
            raise OAuthError("unsupported_response_type", "response_type is not 'code'")
        if "openid" not in parameters.get("scope", "").split():
            raise OAuthError("invalid_scope", "scope does not hold 'openid'")
        if parameters.get("code_challenge_method") != "S256":
            raise OAuthError("invalid_request", "code_challenge_method is not 'S256'")
        challenge = parameters.get("code_challenge", "")
        if not _CHALLENGE.fullmatch(challenge):
            raise OAuthError("invalid_request", "code_challenge is not a SHA-256 in base64url")
        if "none" in parameters.get("prompt", "").split():
            raise OAuthError("login_required", "this issuer always asks")
        state, nonce, hint = (parameters.get(n, "") for n in ("state", "nonce", "login_hint"))
        return cls(client_id, redirect_uri, challenge, state, nonce, hint)

    def to_parameters(self) -> dict[str, str]:
        """The query that asks for this."""
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": SCOPE,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
        }
        optional = {"state": self.state, "nonce": self.nonce, "login_hint": self.login_hint}
        return parameters | {name: value for name, value in optional.items() if value}


@dataclass(frozen=True, slots=True)
class CodeExchange:
    """What a client trades a code in with at the token endpoint.

    Attributes:
        code: as the redirect brought it.
        redirect_uri: the one the code was asked for with.
        verifier: the PKCE secret that the challenge was made of.
    """

    code: str
    redirect_uri: str
    verifier: str

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "CodeExchange":
        """Check a form. Raises OAuthError."""
        if parameters.get("grant_type") != "authorization_code":
            raise OAuthError("unsupported_grant_type", "grant_type is not 'authorization_code'")
        code, redirect_uri, verifier = (
            parameters.get(name, "") for name in ("code", "redirect_uri", "code_verifier")
        )
        if not code or len(code) > _MAX_CODE or len(redirect_uri) > _MAX_PARAMETER:
            raise OAuthError("invalid_request", "code or redirect_uri is missing or too long")
        if not _VERIFIER.fullmatch(verifier):
            raise OAuthError("invalid_request", "code_verifier is missing or malformed")
        return cls(code, redirect_uri, verifier)

    def to_parameters(self) -> dict[str, str]:
        """The form to post, with the client's name and an empty secret as HTTP Basic."""
        return {
            "grant_type": "authorization_code",
            "code": self.code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }


def redirect_origin(uri: str) -> str:
    """Accept loopback redirects (RFC 8252 section 7.3) and `OUT_OF_BAND`, nothing else.

    No user info, query or fragment: what is left has one reading in every URL parser. Returns
    the redirect's origin, empty for `OUT_OF_BAND`. Raises FormatError.
    """
    if uri == OUT_OF_BAND:
        return ""
    match = _LOOPBACK.fullmatch(uri) if len(uri) <= _MAX_PARAMETER else None
    if match is None or int(match["port"] or 80) > 65535:
        raise FormatError("the redirect address", "is not a plain http address of this machine")
    return match["origin"]


def code_challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636 section 4.2)."""
    return to_base64url(hashlib.sha256(verifier.encode("utf-8")).digest())


def access_token_hash(access_token: str) -> str:
    """`at_hash` of an RS256 ID token (OpenID Connect Core section 3.1.3.6)."""
    return to_base64url(hashlib.sha256(access_token.encode("ascii")).digest()[:16])
