# SPDX-License-Identifier: Apache-2.0
"""An entry as API v1 shows it: body, integrated time, promise and inclusion proof."""

from countermark.core.bundle.bundle import InclusionProof
from countermark.core.rekor.shard import Shard
from countermark.core.wire import rekor_v1 as wire
from countermark.tlog.messages import Added, Found, HeadView


class EntryObjects:
    """Writes the entries of one shard."""

    def __init__(self, shard: Shard) -> None:
        self._log_id_hex = shard.log_id.hex()
        self._first_index = shard.first_index

    def write(self, body: bytes, entry: Added | Found, head: HeadView, entry_id: str) -> bytes:
        """One entry as a JSON object, ``{"<entry id>":{…}}``, proven against `head`."""
        return wire.entry_object(
            entry_id,
            body,
            entry.time_ms // 1000,
            self._log_id_hex,
            self._first_index + entry.index,
            InclusionProof(
                entry.index, head.root_hash, head.tree_size, entry.proof, head.checkpoint
            ),
            entry.promise,
        )
