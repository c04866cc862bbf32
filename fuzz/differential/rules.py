# SPDX-License-Identifier: Apache-2.0
"""The differences between our verdicts and others' that are known and meant.

docs/reference/differences.md says in words what each of them is; a test holds the two together.
"""

import re
from typing import NamedTuple

from fuzz.differential.peers import Verdict

PYTHON, JS = "sigstore-python", "sigstore-js"


class Rule(NamedTuple):
    """One known difference in substance.

    Attributes:
        name: its id on the page.
        peers: with whom.
        we_accept: whether we accept and the peer refuses, or the other way round.
        kind: pattern for the whole kind of the refuser's error.
        why: pattern for a part of its words.
        lacks: whether the peer knows nothing of the matter, so that its refusal says nothing.
    """

    name: str
    peers: tuple[str, ...]
    we_accept: bool
    kind: str
    why: str
    lacks: bool = False

    def explains(self, peer: str, we_accept: bool, refusal: Verdict) -> bool:
        """Whether a difference with a peer is of this kind."""
        return (
            peer in self.peers
            and we_accept == self.we_accept
            and bool(re.fullmatch(self.kind, refusal.kind) and re.search(self.why, refusal.why))
        )


_BOTH = (PYTHON, JS)
_INTOTO = r"Integrated time only supported|Unsupported DSSE log entry type: intoto"
_DIGEST = r"messageSignature\.messageDigest"
_NOTE = r"^(signed note|note signature|note key name|checkpoint): |^envelope: is not a JSON string"
_PROOF = (
    r"^(rootHash|treeSize|logIndex|hashes|inclusionProof): |is not in a tree of|inclusion proof has"
    r"|does not lead to its own root|for another tree than its checkpoint"
)
_STAMP = r"^(a |the )?timestamp|^certificate in a timestamp|trusted parties say when"

_WINDOW = r"^the trusted root limits |^0 trusted certificate logs vouch "

# What we accept and a peer refuses, beyond spelling.
RULES: tuple[Rule, ...] = (
    Rule("intoto-entries", (PYTHON,), True, "VerificationError", _INTOTO, lacks=True),
    Rule(
        "managed-keys", (PYTHON,), True, "InvalidBundle", r"expected certificate( chain)? in",
        lacks=True,
    ),
    Rule("no-message-digest", _BOTH, True, "InvalidBundle|ValidationError", _DIGEST),
    Rule(
        "promise-only", _BOTH, True, "InvalidBundle|TypeError",
        r"^entry must contain inclusion proof|\(reading 'envelope'\)$", lacks=True,
    ),
    Rule("managed-key-time", (JS,), True, "TIMESTAMP_ERROR", r"^expected 1 timestamps, got 0$"),
    # What we refuse and a peer accepts.
    Rule("proof-agrees", _BOTH, False, "format|inclusion-invalid", _PROOF),
    Rule(
        "one-index", _BOTH, False, "inclusion-invalid",
        r"^the entry and its proof name different indexes$",
    ),
    Rule("note-syntax", _BOTH, False, "format", _NOTE),
    Rule(
        "note-name", _BOTH, False, "inclusion-invalid", r"^the checkpoint (has no signature|is of)"
    ),
    Rule("base64-junk", _BOTH, False, "format", r": is not base64"),
    Rule(
        "digest-label", _BOTH, False, "format|signature-invalid",
        r"^messageDigest: is of an unknown|^the artifact is not the one that was signed$",
    ),
    Rule("subject", (JS,), False, "signature-invalid", r"^the signed statement is about other"),
    Rule("one-content", (JS,), False, "format", r": needs exactly one "),
    Rule("version-material", (JS,), False, "format", r": does not belong in a version"),
    Rule("coerced-types", (JS,), False, "format", r": (is|holds something that is) not (a J|t)"),
    Rule("windows", _BOTH, False, ".*-(unproven|invalid)", _WINDOW),
    Rule("every-timestamp", _BOTH, False, "format|time-unproven|signature-invalid", _STAMP),
    Rule("certificate-der", (JS,), False, "format", r"^certificate: "),
    Rule("log-id", (PYTHON,), False, "format|inclusion-invalid", r"^(keyId|logId): |^no trusted"),
    Rule("promise-checked", (PYTHON,), False, "inclusion-invalid", r"^the promise was not signed"),
)  # fmt: skip

# A timestamp that differs from its original in nothing that its authority signed.
UNSIGNED = "timestamp-unsigned-parts"
# Ways of writing the same content that we read and somebody else does not.
SPELLINGS = (
    "number-for-string",
    "enum-number",
    "url-safe-or-unpadded-base64",
    "proto-names",
    "unknown-fields",
    "empty-for-absent",
    "absent-for-zero",
)
