# SPDX-License-Identifier: Apache-2.0
"""Identity tokens: signed JWTs (RFC 7515, RFC 7519) in which an issuer says who somebody is.

Taking one apart, checking its claims, and writing one. Whether its signature holds is for `jws`
to say, and which issuer's keys to ask for, for the service that verifies tokens.
"""

import math
import re
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import msgspec

from countermark.core.errors import TokenRejected

Claims: TypeAlias = Mapping[str, Any]

MAX_TOKEN_BYTES = 16 * 1024
NOT_BEFORE_LEEWAY_S = 300  # Fulcio forgives an issuer's fast clock this much, and expiry nothing
# Counting dots before splitting: GHSA-f83f-xpx7-ffpw, where splitting came first.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_TO_STANDARD = bytes.maketrans(b"-_+/", b"+/!!")  # the standard alphabet is none of ours
_JSON_OBJECT = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token said, after its signature, audience and times were found good.

    Attributes:
        issuer_url: the `iss` claim, equal to the URL of a configured issuer.
        issuer_type: how the issuer's claims become an identity: ``email``, ``github-workflow``.
        claims: all its claims, JSON values.
    """

    issuer_url: str
    issuer_type: str
    claims: Claims


class TokenVerifier(Protocol):
    """Finds out whether a token is one of a trusted issuer's, and still good."""

    async def verify(self, token: str) -> VerifiedToken:
        """Check everything but what the claims mean.

        Raises TokenRejected with the reason, UpstreamDown if the issuer's keys can't be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token taken apart. Anybody could have written it.

    Attributes:
        header: the JOSE header.
        claims: the payload.
        signature: over everything before the last dot of `text`.
        text: the token itself, a secret.
    """

    header: Claims
    claims: Claims
    signature: bytes = field(repr=False)
    text: str = field(repr=False)

    @property
    def issuer(self) -> str:
        """The `iss` claim, good only for choosing whose keys to try. Raises TokenRejected."""
        issuer = self.claims.get("iss")
        if not isinstance(issuer, str) or not issuer:
            raise TokenRejected("the token names no issuer")
        return issuer


def parse_token(text: str) -> UnverifiedToken:
    """Take a compact token apart. Raises TokenRejected; the error never holds any of the token."""
    if len(text) > MAX_TOKEN_BYTES:
        raise TokenRejected(f"the token is larger than {MAX_TOKEN_BYTES} bytes")
    if text.count(".") != 2 or not _COMPACT.fullmatch(text):
        raise TokenRejected("the token is not three parts of base64url text joined by dots")
    header, payload, signature = text.split(".")
    return UnverifiedToken(
        _json(header, "header"),
        _json(payload, "payload"),
        from_base64url(signature, "signature"),
        text,
    )


def _json(part: str, what: str) -> Claims:
    try:
        return _JSON_OBJECT.decode(from_base64url(part, what))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TokenRejected(f"the token's {what} is not a JSON object") from error


def from_base64url(text: str, what: str) -> bytes:
    """Decode unpadded base64url (RFC 7515 section 2), one spelling only. Raises TokenRejected."""
    try:
        standard = text.encode("ascii").translate(_TO_STANDARD) + b"=" * (-len(text) % 4)
        data = a2b_base64(standard, strict_mode=True)
    except (ValueError, UnicodeEncodeError) as error:
        raise TokenRejected(f"the token's {what} is not base64url") from error
    if to_base64url(data) != text:
        raise TokenRejected(f"the token's {what} is not canonical base64url")
    return data


def to_base64url(data: bytes) -> str:
    """Encode as unpadded base64url."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def check_claims(claims: Claims, *, audience: str, now_s: float) -> None:
    """Check audience and times, as Fulcio does: no leeway on `exp`, five minutes on `nbf`.

    Args:
        claims: claims whose signature was checked.
        audience: what `aud` must be or contain.
        now_s: Unix time in seconds.
    """
    audiences = claims.get("aud")
    if isinstance(audiences, str):
        audiences = [audiences]
    if not isinstance(audiences, list) or audience not in audiences:
        raise TokenRejected(f"the token is not meant for {audience!r}", "audience")
    if now_s >= _numeric_date(claims, "exp"):
        raise TokenRejected("the token has expired", "expired")
    if "nbf" in claims and now_s < _numeric_date(claims, "nbf") - NOT_BEFORE_LEEWAY_S:
        raise TokenRejected("the token is not valid yet", "not-yet-valid")


def _numeric_date(claims: Claims, name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRejected(f"the token's {name!r} claim is not a time")
    if isinstance(value, float) and not math.isfinite(value):
        raise TokenRejected(f"the token's {name!r} claim is not a time")
    return value  # an integer of any size: no float may be made of it


def subject_to_sign(claims: Claims) -> str:
    """What a client signs to prove that it holds its key: the e-mail address, or else `sub`.

    Raises TokenRejected if the token has neither.
    """
    email, subject = claims.get("email"), claims.get("sub")
    verified = claims.get("email_verified")
    # 1 equals True, but is not what an issuer says of an address.
    if isinstance(email, str) and email and (verified is True or verified in ("true", "True")):
        return email
    if not isinstance(subject, str) or not subject:
        raise TokenRejected("the token names no subject")
    return subject


def message_to_sign(claims: Claims, *, algorithm: str, key_id: str) -> bytes:
    """The first two parts of a new token: what its issuer signs."""
    header = {"alg": algorithm, "kid": key_id, "typ": "JWT"}
    parts = (to_base64url(msgspec.json.encode(part)) for part in (header, claims))
    return ".".join(parts).encode("ascii")


def with_signature(message: bytes, signature: bytes) -> str:
    """The finished token."""
    return f"{message.decode('ascii')}.{to_base64url(signature)}"
