# SPDX-License-Identifier: Apache-2.0
"""What the keeper counts: its logs, what it issues, and when what it vouches with expires."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from countermark.app.keeper_wiring import Parts
from countermark.app.keyring import KeyRing
from countermark.ca.messages import IssueCertificate
from countermark.core.crypto.certificate import Certificate
from countermark.observe import catalogue
from countermark.observe.board import Region
from countermark.observe.catalogue import Family
from countermark.rpc.message import Handler, Handlers, Request
from countermark.tsa.messages import IssueTimestamp


def watch(parts: Parts, keys: KeyRing, region: Region) -> None:
    """Have logs and expiries written down in `region`."""
    for log in parts.logs:
        log.count_in(region)
    for name, chain in (("ca", keys.ca_chain), ("tsa", keys.tsa_chain)):
        for position, der in enumerate(chain):
            expiry_s = Certificate.parse(der).not_after.timestamp()
            region.show(catalogue.CERTIFICATE_EXPIRY, expiry_s, name, str(position))

    def told(expiries: Mapping[str, datetime]) -> None:
        for role, expiry in expiries.items():
            region.show(catalogue.TUF_EXPIRY, expiry.timestamp(), role)

    parts.trust.told = told


def counting(handlers: Handlers, region: Region) -> Handlers:
    """The same handlers, with what they issue counted in `region`."""
    issued: tuple[tuple[type[Request[Any]], Family], ...] = (
        (IssueCertificate, catalogue.CERTIFICATES),
        (IssueTimestamp, catalogue.TIMESTAMPS),
    )
    counted = {request: _counting(handlers[request], region, family) for request, family in issued}
    return {**handlers, **counted}


def _counting(handler: Handler, region: Region, family: Family) -> Handler:
    place = region.series(family)

    async def answer(request: object) -> msgspec.Struct:
        reply = await handler(request)
        region.values[place] += 1.0
        return reply

    return answer
