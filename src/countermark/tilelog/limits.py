# SPDX-License-Identifier: Apache-2.0
"""How much a log takes on at once, and how long it waits for company."""

from dataclasses import dataclass

from countermark.core.tlog.tiles import TILE_WIDTH


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds and delays of one log.

    Attributes:
        queued, queued_bytes: what may wait for a round; more is Pushback.
        round_size, round_bytes: what one round takes at most.
        breath_s: the longest pause after a round of several entries, for the next to fill up.
        unpublished, unpublished_bytes: how far publication may lag; beyond it, Pushback.
        quiet_s: publication starts once no round ended for that long …
        coalesce_s: … or that long after the first one, whatever happens.
        pause_s: at least that long between two publications.
        retry_s: after a publication that failed and can be tried again.
        tree_leaves: published leaves whose proofs are kept in memory.
    """

    queued: int = 4096
    queued_bytes: int = 64 * 1024 * 1024
    round_size: int = 512
    round_bytes: int = 16 * 1024 * 1024
    breath_s: float = 0.012
    unpublished: int = 131_072
    unpublished_bytes: int = 256 * 1024 * 1024
    quiet_s: float = 0.05
    coalesce_s: float = 1.0
    pause_s: float = 0.25
    retry_s: float = 1.0
    tree_leaves: int = 64 * TILE_WIDTH
