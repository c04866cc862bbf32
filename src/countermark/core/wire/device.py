# SPDX-License-Identifier: Apache-2.0
"""The device authorization grant (RFC 8628) with PKCE, for both sides.

A program without a browser shows a short code; a person types it into a page, in a browser
anywhere; the program asks the token endpoint until that has happened.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from countermark.core.errors import FormatError
from countermark.core.wire.oauth import CLIENT_ID, SCOPE, OAuthError
from countermark.core.wire.oidc import Document

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, so no words
CODE_LENGTH = 8
_MAX_DEVICE_CODE = 128
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What a program asks for to begin with.

    Attributes:
        challenge: PKCE S256 challenge; empty for a client that has none.
    """

    challenge: str

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "DeviceRequest":
        """Check a form. Raises OAuthError."""
        if "openid" not in parameters.get("scope", "").split():
            raise OAuthError("invalid_scope", "scope does not hold 'openid'")
        challenge = parameters.get("code_challenge", "")
        method = parameters.get("code_challenge_method", "")
        if (challenge or method) and not (method == "S256" and _CHALLENGE.fullmatch(challenge)):
            raise OAuthError("invalid_request", "code_challenge is not a SHA-256 in base64url")
        return cls(challenge)

    def to_parameters(self) -> dict[str, str]:
        """The form to post."""
        return {
            "client_id": CLIENT_ID,
            "scope": SCOPE,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
        }


class DeviceStarted(Document, frozen=True, kw_only=True):
    """The answer (RFC 8628 section 3.2): a secret for the program, a short code for the person."""

    what: ClassVar[str] = "device authorization reply"

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str = ""
    expires_in: int
    interval: int = 5


@dataclass(frozen=True, slots=True)
class DevicePoll:
    """What a program asks the token endpoint while it waits (RFC 8628 section 3.4)."""

    device_code: str
    verifier: str

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "DevicePoll":
        """Check a form. Raises OAuthError."""
        code, verifier = parameters.get("device_code", ""), parameters.get("code_verifier", "")
        if not code or len(code) > _MAX_DEVICE_CODE:
            raise OAuthError("invalid_request", "device_code is missing or too long")
        if verifier and not _VERIFIER.fullmatch(verifier):
            raise OAuthError("invalid_request", "code_verifier is malformed")
        return cls(code, verifier)

    def to_parameters(self) -> dict[str, str]:
        """The form to post."""
        return {
            "grant_type": DEVICE_GRANT,
            "device_code": self.device_code,
            "client_id": CLIENT_ID,
            "code_verifier": self.verifier,
        }


def read_user_code(text: str) -> str:
    """A code as somebody typed it: any case, any punctuation. Raises FormatError."""
    letters = "".join(char for char in text.upper()[:64] if char.isalnum())
    if len(letters) != CODE_LENGTH or set(letters) - set(CODE_LETTERS):
        raise FormatError("the code", f"is not one of {CODE_LENGTH} letters like those shown")
    return letters


def show_user_code(code: str) -> str:
    """A code as it is shown: two groups of letters."""
    return f"{code[:4]}-{code[4:]}"
