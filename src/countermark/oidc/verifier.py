# SPDX-License-Identifier: Apache-2.0
"""Checking identity tokens of the configured issuers, external and embedded."""

from collections.abc import Iterable
from dataclasses import dataclass

from countermark.core.errors import FormatError, TokenRejected, UpstreamDown
from countermark.core.identity.jws import UnknownKey
from countermark.core.identity.token import VerifiedToken, check_claims, parse_token
from countermark.core.wire.oauth import CLIENT_ID
from countermark.oidc.keys import RETRY_MS, CachedKeys, Load
from countermark.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer whose word is taken.

    Attributes:
        url: what its tokens must have as `iss`, exactly.
        type: how its claims become an identity: ``email``, ``github-workflow``.
        load_keys: where its keys come from; see `oidc.keys`.
        audience: what its tokens must be meant for.
        retry_ms: how long to wait before keys are loaded for an unknown key once more.
    """

    url: str
    type: str
    load_keys: Load
    audience: str = CLIENT_ID
    retry_ms: int = RETRY_MS


class IssuerVerifier:
    """The `TokenVerifier` over a fixed list of issuers. Any other issuer's tokens are refused."""

    def __init__(self, issuers: Iterable[TrustedIssuer], clock: Clock) -> None:
        self._clock = clock
        self._issuers = {
            issuer.url: (issuer, CachedKeys(issuer.load_keys, clock, retry_ms=issuer.retry_ms))
            for issuer in issuers
        }

    async def verify(self, token: str) -> VerifiedToken:
        """Check everything but what the claims mean.

        Raises TokenRejected with the reason, UpstreamDown if the issuer's keys can't be had.
        """
        parsed = parse_token(token)
        known = self._issuers.get(parsed.issuer)
        if known is None:
            raise TokenRejected("the token's issuer is not one of those accepted here", "issuer")
        issuer, cache = known
        # Claims before keys: tokens that are bad anyway cause no fetching.
        check_claims(parsed.claims, audience=issuer.audience, now_s=self._clock.now_ms() / 1000)
        try:
            keys = await cache.current()
            try:
                keys.verify(parsed)
            except UnknownKey:
                newer = await cache.newer(keys)
                if newer is None:
                    raise
                newer.verify(parsed)
        except FormatError as error:
            raise UpstreamDown(f"the issuer's documents cannot be used: {error}") from error
        return VerifiedToken(issuer.url, issuer.type, parsed.claims)
