# SPDX-License-Identifier: Apache-2.0
"""The documents of OpenID Connect, for both sides: discovery, keys, and the token endpoint's.

The code flow itself is in `oauth`.
"""

import hashlib
from typing import ClassVar, Self

import msgspec

from countermark.core.crypto import der
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError
from countermark.core.identity.token import to_base64url

DISCOVERY_PATH = "/.well-known/openid-configuration"
LOCAL_TOKEN_PATH = "/oidc/local-token"  # noqa: S105 - a path
LOCAL_SECRET_HEADER = "Countermark-Local-Secret"  # noqa: S105 - a header's name
MAX_DOCUMENT_BYTES = 256 * 1024


class Document(msgspec.Struct, frozen=True):
    """A JSON object of known members; unknown ones are ignored."""

    what: ClassVar[str] = "document"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read JSON. Raises FormatError."""
        if len(data) > MAX_DOCUMENT_BYTES:
            raise FormatError(cls.what, f"is larger than {MAX_DOCUMENT_BYTES} bytes")
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FormatError(cls.what, f"is not the JSON expected: {error}") from error

    def serialize(self) -> bytes:
        """Encode as JSON."""
        return msgspec.json.encode(self)


class Discovery(Document, frozen=True, kw_only=True):
    """An issuer's description of itself (OpenID Connect Discovery 1.0 section 3).

    A reader must compare `issuer` with the URL it asked at, exactly.
    """

    what: ClassVar[str] = "discovery document"

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    device_authorization_endpoint: str = ""
    response_types_supported: tuple[str, ...] = ("code",)
    response_modes_supported: tuple[str, ...] = ("query",)
    grant_types_supported: tuple[str, ...] = ("authorization_code",)
    subject_types_supported: tuple[str, ...] = ("public",)
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    scopes_supported: tuple[str, ...] = ("openid", "email")
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    code_challenge_methods_supported: tuple[str, ...] = ()
    claims_supported: tuple[str, ...] = ()


class TokenReply(Document, frozen=True, kw_only=True):
    """A successful answer of the token endpoint (RFC 6749 section 5.1).

    sigstore-python takes the access token for the identity token, so it must be one too.
    """

    what: ClassVar[str] = "token reply"

    id_token: str
    access_token: str = ""
    token_type: str = "Bearer"  # noqa: S105 - the type's name
    expires_in: int = 0


class TokenFault(Document, frozen=True):
    """An unsuccessful answer of the token endpoint (RFC 6749 section 5.2)."""

    what: ClassVar[str] = "token error"

    error: str
    error_description: str = ""


class LocalTokenRequest(Document, frozen=True):
    """What the shortcut for scripts is sent; `LOCAL_SECRET_HEADER` holds the local secret."""

    what: ClassVar[str] = "local token request"

    email: str


def rsa_jwk(key: PublicKey) -> dict[str, str]:
    """An RSA key as a JWK (RFC 7518 section 6.3.1) named by its RFC 7638 thumbprint."""
    info = der.Reader(key.spki, "RSA public key").sequence()
    info.sequence()
    bits = der.decode_bit_string(info.read(), "RSA public key")
    numbers = der.Reader(bits, "RSA public key").sequence()
    modulus, exponent = (_unsigned(numbers.integer()) for _ in range(2))
    members = {"e": exponent, "kty": "RSA", "n": modulus}
    thumbprint = hashlib.sha256(msgspec.json.encode(members)).digest()
    return members | {"alg": "RS256", "kid": to_base64url(thumbprint), "use": "sig"}


def jwks(*keys: PublicKey) -> bytes:
    """A JWK Set of RSA keys."""
    return msgspec.json.encode({"keys": [rsa_jwk(key) for key in keys]})


def _unsigned(value: int) -> str:
    return to_base64url(value.to_bytes((value.bit_length() + 7) // 8))
