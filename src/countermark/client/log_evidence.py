# SPDX-License-Identifier: Apache-2.0
"""What shows that a log lied, in a file that others can check: its own signed checkpoints."""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from countermark.client.instances import home_dir, write_private_file
from countermark.core.errors import ConsistencyInvalid, SettingsError

if TYPE_CHECKING:
    from countermark.client.last_seen import SeenLog

_FOLDER = "evidence"


def refuse(
    seen: "SeenLog", what: str, before: str, now: str, proof: Sequence[bytes] | None = None
) -> ConsistencyInvalid:
    """The error for a log that is not to be believed, with the path of the evidence as a note.

    Args:
        seen: the log.
        what: what is wrong, as a sentence.
        before: the checkpoint that was remembered, a signed note.
        now: the one that does not go with it.
        proof: the consistency proof that the log gave between the two, if any.
    """
    error = ConsistencyInvalid(
        what, found=_head(now), expected=f"a tree that extends {_head(before)}"
    )
    try:
        path = _write(seen, what, before, now, proof)
    except SettingsError as failure:
        error.add_note(f"the evidence could not be kept: {failure}")
    else:
        error.add_note(f"both checkpoints, signed by the log, are in {path}: show them to others")
    return error


def _write(seen: "SeenLog", what: str, before: str, now: str, proof: Sequence[bytes] | None) -> str:
    document = {
        "what": what,
        "log": seen.base_url,
        "origin": seen.origin,
        "logId": seen.log_id.hex(),
        "publicKey": seen.key.public_key.to_pem(),
        "checkpoints": [
            {"from": "remembered", "note": before},
            {"from": "shown now", "note": now},
        ],
        "consistencyProof": None if proof is None else [item.hex() for item in proof],
        "howToCheck": "Both notes are signed by the log's key (C2SP signed-note; the name is the "
        "origin without the tree id). Two roots for one size prove that the log has shown two "
        "trees; other sizes do if the log cannot give a consistency proof (RFC 6962, 2.1.2) from "
        "the smaller to the larger one.",
    }
    data = json.dumps(document, indent=2).encode("ascii")
    # The same evidence is the same file, however often it is met.
    name = hashlib.sha256(data).hexdigest()[:16]
    path = os.path.join(home_dir(), _FOLDER, f"log-{seen.log_id.hex()[:8]}-{name}.json")
    try:
        os.makedirs(home_dir(), mode=0o700, exist_ok=True)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
    if not os.path.exists(path):
        write_private_file(path, data)
    return path


def _head(note: str) -> str:
    from countermark.client.last_seen import parse_checkpoint

    head = parse_checkpoint(note)
    return f"{head.tree_size} entries, root {head.root_hash.hex()}"
