# SPDX-License-Identifier: Apache-2.0
"""The keeper's part of the trust root: it keeps the TUF repository from expiring."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from countermark.core.errors import Unavailable
from countermark.ports.clock import Clock
from countermark.ports.objects import ObjectStore
from countermark.ports.signer import Signer

if TYPE_CHECKING:
    from countermark.trust.repository import TufRepository

_LOG = logging.getLogger(__name__)


class TrustKeeper:
    """Signs a new timestamp at start and then about daily.

    Nothing of it is answered to workers: they read the files.

    Attributes:
        told: called with each role's expiry whenever it was looked at.
    """

    def __init__(self, objects: ObjectStore, online: Signer, clock: Clock) -> None:
        self.told: Callable[[Mapping[str, datetime]], None] = lambda expiries: None
        self._objects = objects
        self._online = online
        self._clock = clock

    async def run(self, *, check_every_s: float = 600) -> None:
        """Work until cancelled.

        Args:
            check_every_s: how often the wall clock is asked whether signing is due. Sleeping
                until then would oversleep on a machine that was suspended.

        Raises InvariantBroken if the repository is damaged or of another key.
        """
        repository = await asyncio.to_thread(self._open)
        self.told(repository.expiries)
        due = True
        while True:
            if due:
                await self._refresh(repository)
            await asyncio.sleep(check_every_s)
            due = repository.due(self._now())

    def _open(self) -> "TufRepository":
        # Imported here, in a thread: python-tuf costs a tenth of a second of a start that
        # nobody should wait for.
        from countermark.trust.repository import TufRepository

        return TufRepository.open(self._objects, self._online)

    async def _refresh(self, repository: "TufRepository") -> None:
        try:
            await asyncio.to_thread(repository.refresh, self._now())
        except Unavailable as error:
            # The old timestamp is good for days yet, and logs need not stop for it.
            _LOG.error("could not sign the TUF repository anew: %s", error)
        else:
            expires = repository.expires.isoformat()
            self.told(repository.expiries)
            _LOG.info("signed the TUF repository anew", extra={"expires": expires})

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
