# SPDX-License-Identifier: Apache-2.0
"""The keeper's half of the embedded issuer: the key, the codes and the local secret.

A development issuer: it believes whatever address is typed. Its tokens say so in a claim.
"""

import asyncio
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from countermark.core.errors import Pushback, RequestRejected, TokenRejected
from countermark.core.identity.token import Claims, message_to_sign, to_base64url, with_signature
from countermark.core.wire.oauth import CLIENT_ID, OUT_OF_BAND, access_token_hash, code_challenge
from countermark.core.wire.oidc import rsa_jwk
from countermark.oidc.devices import INTERVAL_S, LIFETIME_S, DeviceLogins
from countermark.oidc.messages import (
    Decided,
    DecideDevice,
    DeviceCodes,
    DevicePolled,
    FetchKeys,
    GrantCode,
    Granted,
    IssueLocalToken,
    Keys,
    PollDevice,
    RedeemCode,
    StartDevice,
    Tokens,
)
from countermark.ports.clock import Clock, Entropy
from countermark.ports.signer import Signer
from countermark.rpc.message import Handlers

DEVELOPMENT_CLAIM = "countermark_development_issuer"
TOKEN_LIFETIME_S = 600
_CODE_LIFETIME_MS = 60_000
_TYPED_CODE_LIFETIME_MS = 300_000  # a person carries it from the page to a terminal
_CODE_BYTES = 20  # beyond guessing (RFC 6749 section 10.10), and short enough to copy
_MAX_CODES = 1024
_MAX_FIELD = 2048
_MAX_EMAIL = 254
# Plain ASCII addresses with a dotted domain: whatever passes, a certificate can hold.
_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}){0,31}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,31}"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class OtherKey:
    """A key that the issuer does not sign with now; shown until that time, None for always."""

    spki: bytes
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Code:
    grant: GrantCode
    expires_ms: int


class LoginKeeper:
    """Grants codes and issues tokens. Codes live in memory: a restart forgets them."""

    def __init__(
        self,
        issuer_url: str,
        signer: Signer,
        clock: Clock,
        entropy: Entropy,
        *,
        local_secret: str,
    ) -> None:
        """Take charge of an issuer.

        Args:
            issuer_url: its `iss`, e.g. ``http://localhost:7446/oidc``.
            signer: an RSA key.
            clock: for expiry.
            entropy: for codes and token IDs.
            local_secret: what the shortcut for scripts must present; not empty.
        """
        if not local_secret:
            raise ValueError("the local secret is empty")
        self._issuer_url = issuer_url
        self._signer = signer
        self._key_id = rsa_jwk(signer.public_key)["kid"]
        self._clock = clock
        self._entropy = entropy
        self._local_secret = local_secret.encode("utf-8")
        self._codes: dict[str, _Code] = {}
        self._devices = DeviceLogins(clock, entropy)
        self._others: tuple[OtherKey, ...] = ()

    def publish(self, others: Sequence[OtherKey]) -> None:
        """Show these keys, too: one that will sign next, and those whose tokens still are good."""
        self._others = tuple(others)

    def handlers(self) -> Handlers:
        """What this half answers."""
        return {
            FetchKeys: self._fetch_keys,
            GrantCode: self._grant,
            RedeemCode: self._redeem,
            IssueLocalToken: self._issue_locally,
            StartDevice: self._start_device,
            DecideDevice: self._decide_device,
            PollDevice: self._poll_device,
        }

    async def _fetch_keys(self, _: FetchKeys) -> Keys:
        now_ms = self._clock.now_ms()
        own = self._signer.public_key.spki
        others = (key.spki for key in self._others if key.until_ms is None or now_ms < key.until_ms)
        return Keys((own, *(spki for spki in others if spki != own)))

    async def _grant(self, message: GrantCode) -> Granted:
        check_email(message.email)
        if message.client_id != CLIENT_ID or any(
            len(text) > _MAX_FIELD
            for text in (message.redirect_uri, message.challenge, message.nonce)
        ):
            raise RequestRejected("the login request is not one of ours")
        now_ms = self._clock.now_ms()
        self._codes = {code: held for code, held in self._codes.items() if now_ms < held.expires_ms}
        if len(self._codes) >= _MAX_CODES:
            raise Pushback("too many logins are under way")
        typed = message.redirect_uri == OUT_OF_BAND
        lifetime_ms = _TYPED_CODE_LIFETIME_MS if typed else _CODE_LIFETIME_MS
        code = to_base64url(self._entropy.bytes(_CODE_BYTES))
        self._codes[code] = _Code(message, now_ms + lifetime_ms)
        return Granted(code)

    async def _redeem(self, message: RedeemCode) -> Tokens:
        # Taken out before anything is checked: whoever presents a code uses it up (RFC 6749
        # section 10.5), so a stolen one without its PKCE verifier is worth nothing.
        held = self._codes.pop(message.code, None)
        if held is None or self._clock.now_ms() >= held.expires_ms:
            raise RequestRejected("the code is unknown, used or expired")
        grant = held.grant
        proof = code_challenge(message.verifier).encode("ascii")
        if (
            not hmac.compare_digest(proof, grant.challenge.encode("utf-8"))
            or message.client_id != grant.client_id
            or message.redirect_uri != grant.redirect_uri
        ):
            raise RequestRejected("the code was granted for another request")
        return await self._both_tokens(grant.email, {"nonce": grant.nonce} if grant.nonce else {})

    async def _both_tokens(self, email: str, extra: Claims) -> Tokens:
        access_token = await self._token(email)
        claims = {**extra, "at_hash": access_token_hash(access_token)}
        return Tokens(await self._token(email, claims), access_token, TOKEN_LIFETIME_S)

    async def _start_device(self, message: StartDevice) -> DeviceCodes:
        if len(message.challenge) > _MAX_FIELD:
            raise RequestRejected("the login request is not one of ours")
        device_code, user_code = self._devices.start(message.challenge)
        return DeviceCodes(device_code, user_code, LIFETIME_S, INTERVAL_S)

    async def _decide_device(self, message: DecideDevice) -> Decided:
        if message.allow:
            check_email(message.email)
        self._devices.decide(message.user_code, message.email, allow=message.allow)
        return Decided()

    async def _poll_device(self, message: PollDevice) -> DevicePolled:
        email, fault = self._devices.poll(message.device_code, message.verifier)
        if not email:
            return DevicePolled(fault, None)
        return DevicePolled("", await self._both_tokens(email, {}))

    async def _issue_locally(self, message: IssueLocalToken) -> Tokens:
        given = message.secret.encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._local_secret):
            raise TokenRejected("the local secret is wrong")
        check_email(message.email)
        return Tokens(await self._token(message.email), "", TOKEN_LIFETIME_S)

    async def _token(self, email: str, extra: Claims | None = None) -> str:
        now_s = self._clock.now_ms() // 1000
        claims = {
            "iss": self._issuer_url,
            # Clients differ in which of the two they sign as proof of possession.
            "sub": email,
            "email": email,
            "email_verified": True,
            "aud": CLIENT_ID,
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + TOKEN_LIFETIME_S,
            "jti": to_base64url(self._entropy.bytes(16)),
            DEVELOPMENT_CLAIM: True,
            **(extra or {}),
        }
        message = message_to_sign(claims, algorithm="RS256", key_id=self._key_id)
        # An RSA signature takes most of a millisecond, which the logs should not wait for.
        signature = await asyncio.to_thread(self._signer.sign, message)
        return with_signature(message, signature)


def check_email(address: str) -> None:
    """Refuse what is not a plain e-mail address. Raises RequestRejected."""
    if len(address) > _MAX_EMAIL or not _EMAIL.fullmatch(address):
        raise RequestRejected("that is not a plain e-mail address")
