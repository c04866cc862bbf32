# SPDX-License-Identifier: Apache-2.0
"""Where an issuer's keys come from, and how long they are believed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import FormatError, Unavailable, UpstreamDown
from countermark.core.identity.jws import KeySet
from countermark.core.wire.oidc import DISCOVERY_PATH, Discovery, jwks
from countermark.oidc.messages import FetchKeys
from countermark.ports.clock import Clock
from countermark.rpc.message import Keeper

Load: TypeAlias = Callable[[], Awaitable[KeySet]]

FRESH_MS = 3_600_000
STALE_MS = 24 * FRESH_MS
RETRY_MS = 10_000
EMBEDDED_RETRY_MS = 250  # the keeper of this very instance is asked, not a stranger


class Fetcher(Protocol):
    """Gets a document by its address; blocks. Raises UpstreamDown."""

    def fetch(self, url: str) -> bytes:
        """The document's bytes, of bounded size."""
        ...


class CachedKeys:
    """Keys that are loaded when they are first needed, and again when they are old or unknown.

    One load at a time, and at most one in `retry_ms`, however many tokens ask for it: a flood
    of bad tokens is not passed on to the issuer. While the issuer is down, keys serve on for
    `STALE_MS`; keys that it withdrew are forgotten with the next load.
    """

    def __init__(self, load: Load, clock: Clock, *, retry_ms: int = RETRY_MS) -> None:
        self._load = load
        self._clock = clock
        self._retry_ms = retry_ms
        self._lock = asyncio.Lock()
        self._keys: KeySet | None = None
        self._loaded_ms = 0
        self._tried_ms: int | None = None

    async def current(self) -> KeySet:
        """Keys to check a token with. Raises UpstreamDown if none can be had."""
        if self._keys is not None and self._age_ms() < FRESH_MS:
            return self._keys
        async with self._lock:
            if (self._keys is None or self._age_ms() >= FRESH_MS) and self._may_try():
                await self._try_to_load()
            if self._keys is None or self._age_ms() >= STALE_MS:
                raise UpstreamDown("the issuer's keys cannot be had")
            return self._keys

    async def newer(self, known: KeySet) -> KeySet | None:
        """Keys loaded after `known`, or None if there are none to be had yet."""
        async with self._lock:
            if self._keys is known and self._may_try():
                await self._try_to_load()
            return None if self._keys is known else self._keys

    async def _try_to_load(self) -> None:
        self._tried_ms = self._clock.now_ms()
        try:
            self._keys = await self._load()
        except (Unavailable, FormatError):
            if self._keys is None:
                raise
            return
        self._loaded_ms = self._tried_ms

    def _age_ms(self) -> int:
        # A clock that was set back makes keys look new; no older than ever is a fair reading.
        return abs(self._clock.now_ms() - self._loaded_ms)

    def _may_try(self) -> bool:
        if self._tried_ms is None:
            return True
        return abs(self._clock.now_ms() - self._tried_ms) >= self._retry_ms


def discovered_keys(issuer_url: str, fetcher: Fetcher) -> Load:
    """Keys as the issuer's discovery document leads to them (OpenID Connect Discovery 1.0)."""

    async def load() -> KeySet:
        address = issuer_url.rstrip("/") + DISCOVERY_PATH
        document = Discovery.parse(await asyncio.to_thread(fetcher.fetch, address))
        if document.issuer != issuer_url:
            raise FormatError("discovery document", f"is not of issuer {issuer_url}")
        return KeySet.parse(await asyncio.to_thread(fetcher.fetch, document.jwks_uri))

    return load


def pinned_keys(data: bytes) -> Load:
    """Keys of a JWK Set given beforehand, for issuers that cannot be reached.

    Raises FormatError at once if it is none.
    """
    keys = KeySet.parse(data)

    async def load() -> KeySet:
        return keys

    return load


def embedded_keys(keeper: Keeper) -> Load:
    """Keys of the embedded issuer, which the keeper holds."""

    async def load() -> KeySet:
        reply = await keeper.call(FetchKeys())
        return KeySet.parse(jwks(*map(PublicKey.from_spki, reply.spkis)))

    return load
