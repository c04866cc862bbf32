# SPDX-License-Identifier: Apache-2.0
"""The keeper's part of the trust root: it keeps the TUF repository from expiring, and publishes."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from countermark.core.errors import Unavailable
from countermark.ports.clock import Clock
from countermark.ports.objects import ObjectStore
from countermark.ports.signer import Signer

if TYPE_CHECKING:
    from countermark.trust.repository import TufRepository

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


class TrustKeeper:
    """Signs a new timestamp at start and then about daily; publishes what it is told to.

    Workers read the files.

    Attributes:
        told: called with each role's expiry whenever it was looked at.
    """

    def __init__(self, objects: ObjectStore, online: Signer, clock: Clock) -> None:
        self.told: Callable[[Mapping[str, datetime]], None] = lambda expiries: None
        self._objects = objects
        self._online = online
        self._clock = clock
        self._lock = asyncio.Lock()
        self._repository: TufRepository | None = None

    async def run(self, *, check_every_s: float = 600) -> None:
        """Work until cancelled.

        Args:
            check_every_s: how often the wall clock is asked whether signing is due. Sleeping
                until then would oversleep on a machine that was suspended.

        Raises InvariantBroken if the repository is damaged or of another key.
        """
        await self.change(lambda repository: None)
        due = True
        while True:
            if due:
                await self._refresh()
            await asyncio.sleep(check_every_s)
            due = await self.change(lambda repository: repository.due(self.now()))

    async def change(self, work: "Callable[[TufRepository], T]") -> T:
        """Do something with the repository, in a thread and alone. Raises what that raises."""
        async with self._lock:
            if self._repository is None:
                self._repository = await asyncio.to_thread(self._open)
            repository = self._repository
            result = await asyncio.to_thread(work, repository)
            self.told(repository.expiries)
        return result

    def now(self) -> datetime:
        """The time."""
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)

    def _open(self) -> "TufRepository":
        # Imported here, in a thread: python-tuf costs a tenth of a second of a start that
        # nobody should wait for.
        from countermark.trust.repository import TufRepository

        return TufRepository.open(self._objects, self._online)

    async def _refresh(self) -> None:
        try:
            expires = await self.change(self._sign_anew)
        except Unavailable as error:
            # The old timestamp is good for days yet, and logs need not stop for it.
            _LOG.error("could not sign the TUF repository anew: %s", error)
        else:
            _LOG.info("signed the TUF repository anew", extra={"expires": expires.isoformat()})

    def _sign_anew(self, repository: "TufRepository") -> datetime:
        repository.refresh(self.now())
        return repository.expires
