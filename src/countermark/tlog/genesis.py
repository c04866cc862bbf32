# SPDX-License-Identifier: Apache-2.0
"""The first two entries of every shard.

Several clients mishandle log index 0 and empty inclusion proofs (proto3 JSON omits zeros), so
nobody's own entry should be there. These are ordinary hashedrekord entries: the shard's key signs
a description of the shard, which anybody can rebuild from public facts.
"""

import hashlib
from typing import Final

from countermark.core.canonical_json import canonical_json
from countermark.core.errors import AlgorithmRefused
from countermark.core.rekor import hashedrekord
from countermark.core.rekor.shard import Shard
from countermark.core.rekor.stored import stored_search_keys
from countermark.ports.signer import Signer
from countermark.tilelog.personality import Submission
from countermark.tlog.personality import submission

GENESIS_ENTRIES: Final = 2


def genesis_artifact(shard: Shard, base_url: str, number: int) -> bytes:
    """What genesis entry `number` (1 or 2) signs: canonical JSON that describes the shard."""
    return canonical_json(
        {
            "baseUrl": base_url,
            "genesisEntry": number,
            "logID": shard.log_id.hex(),
            "origin": shard.origin,
            "treeID": str(shard.tree_id),
        }
    )


def genesis_submissions(shard: Shard, base_url: str, signer: Signer) -> tuple[Submission, ...]:
    """The entries to add to a new, empty shard, in order.

    Raises AlgorithmRefused for a key that can make no hashedrekord (pure Ed25519).
    """
    hash_name = signer.public_key.hash_name
    if not hash_name:
        raise AlgorithmRefused("a v1 log's key must be ECDSA or RSA")
    submissions: list[Submission] = []
    for number in range(1, GENESIS_ENTRIES + 1):
        artifact = genesis_artifact(shard, base_url, number)
        body = hashedrekord.canonical_body(
            hash_name,
            hashlib.new(hash_name, artifact).hexdigest(),
            signer.sign(artifact),
            signer.public_key.to_pem(),
        )
        submissions.append(submission(body, stored_search_keys(body)))
    return tuple(submissions)
