# SPDX-License-Identifier: Apache-2.0
"""The keeper's part of the trust root: it keeps the TUF repository from expiring."""

import asyncio
import logging
from datetime import UTC, datetime

from countermark.ports.clock import Clock
from countermark.trust.repository import TufRepository

_LOG = logging.getLogger(__name__)


class TrustKeeper:
    """Signs a new timestamp at start and then about daily.

    Nothing of it is answered to workers: they read the files.
    """

    def __init__(self, repository: TufRepository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    async def run(self, *, check_every_s: float = 600) -> None:
        """Work until cancelled.

        Args:
            check_every_s: how often the wall clock is asked whether signing is due. Sleeping
                until then would oversleep on a machine that was suspended.
        """
        due = True
        while True:
            if due:
                await self._refresh()
            await asyncio.sleep(check_every_s)
            due = self._repository.due(self._now())

    async def _refresh(self) -> None:
        try:
            await asyncio.to_thread(self._repository.refresh, self._now())
        except OSError:
            # The old timestamp is good for days yet, and logs need not stop for it.
            _LOG.exception(
                "could not sign the TUF repository anew", extra=self._state(self._repository)
            )
        else:
            _LOG.info("signed the TUF repository anew", extra=self._state(self._repository))

    @staticmethod
    def _state(repository: TufRepository) -> dict[str, str | int]:
        return {
            "timestamp_version": repository.timestamp_version,
            "expires": repository.expires.isoformat(),
        }

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
