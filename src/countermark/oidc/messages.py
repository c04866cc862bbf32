# SPDX-License-Identifier: Apache-2.0
"""What a worker asks of the keeper for logins at the embedded issuer."""

import msgspec

from countermark.rpc.message import Request


class _Secret:
    """Shows nothing of itself, wherever it may be logged."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Keys(msgspec.Struct, frozen=True, array_like=True):
    """The issuer's public keys (DER SubjectPublicKeyInfo), the one in use first."""

    spkis: tuple[bytes, ...]


class FetchKeys(Request[Keys], frozen=True, tag="oidc.keys"):
    """Ask for the keys that the issuer's tokens verify under."""


class Granted(_Secret, msgspec.Struct, frozen=True, array_like=True):
    """A code that can be traded in for tokens, once and soon."""

    code: str


class GrantCode(Request[Granted], frozen=True, tag="oidc.grant"):
    """Somebody said on the login page who they are.

    Attributes:
        email: the address they typed.
        client_id: the client that asked.
        redirect_uri: where the code will be sent.
        challenge: the client's PKCE S256 challenge.
        nonce: what the client wants to find in the ID token; empty for nothing.
    """

    email: str
    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str


class Tokens(_Secret, msgspec.Struct, frozen=True, array_like=True):
    """What a login yields. `access_token` is empty where nobody asked for one."""

    id_token: str
    access_token: str
    lifetime_s: int


class RedeemCode(_Secret, Request[Tokens], frozen=True, tag="oidc.redeem"):
    """Trade in a code; `client_id` and `redirect_uri` must be those it was granted for."""

    code: str
    client_id: str
    redirect_uri: str
    verifier: str


class IssueLocalToken(_Secret, Request[Tokens], frozen=True, tag="oidc.local"):
    """Issue a token to whoever knows the data directory's secret."""

    secret: str
    email: str


class DeviceCodes(_Secret, msgspec.Struct, frozen=True, array_like=True):
    """A login by device code has begun."""

    device_code: str
    user_code: str
    lifetime_s: int
    interval_s: int


class StartDevice(Request[DeviceCodes], frozen=True, tag="oidc.device.start"):
    """Begin a login by device code; `challenge` is a PKCE S256 challenge, or empty."""

    challenge: str


class Decided(msgspec.Struct, frozen=True, array_like=True):
    """The person's word was taken."""


class DecideDevice(_Secret, Request[Decided], frozen=True, tag="oidc.device.decide"):
    """Somebody typed a user code.

    Attributes:
        user_code: eight letters.
        email: who they say they are; not looked at if they refuse.
        allow: whether they want the login.
    """

    user_code: str
    email: str
    allow: bool


class DevicePolled(_Secret, msgspec.Struct, frozen=True, array_like=True):
    """The tokens; without any, `fault` is OAuth's word for why."""

    fault: str
    tokens: Tokens | None


class PollDevice(_Secret, Request[DevicePolled], frozen=True, tag="oidc.device.poll"):
    """Ask what became of a login by device code."""

    device_code: str
    verifier: str
