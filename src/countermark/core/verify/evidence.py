# SPDX-License-Identifier: Apache-2.0
"""What a successful verification found out: who signed what, when, and which checks passed.

Only the verifier makes `Evidence`; holding one means that every check in it passed.
"""

from datetime import datetime
from typing import Any, NamedTuple

from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_rfc3339
from countermark.core.intoto.statement import Statement
from countermark.core.verify.signer import EXTENSION_NAMES, SignerIdentity


class Check(NamedTuple):
    """One check that passed.

    Attributes:
        name: stable.
        detail: what it found out, as a phrase.
        step: of the procedure (see `verifier`), 1 to 7.
        found: what was compared,
        expected: with what,
        why: and why the check therefore holds, in plain words.
    """

    name: str
    detail: str
    step: int = 0
    found: str = ""
    expected: str = ""
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """A tree for machines; its keys are stable."""
        tree = {"check": self.name, "step": self.step, "detail": self.detail}
        return {**tree, "found": self.found, "expected": self.expected, "why": self.why}


class ProvenTime(NamedTuple):
    """A time at which the signature existed, and who proves it.

    Attributes:
        time: as stated.
        source: ``timestamp`` (RFC 3161) or ``log`` (integrated time under a promise).
        authority: URL of the authority or log.
    """

    time: datetime
    source: str
    authority: str


class LogRecord(NamedTuple):
    """Where the signature is on public record.

    Attributes:
        log: base URL of the log.
        log_index: the entry's index there, as promised; without a promise, its index in the
            tree of the proof, which differs in logs of several shards.
        tree_size: of the checkpoint it was proven against; 0 for a promise without proof.
    """

    log: str
    log_index: int
    tree_size: int


class Evidence(NamedTuple):
    """The result of a verification.

    Attributes:
        signer: the certified identity; None for a managed key.
        key: the key that made the signature.
        times: at least one for a certified identity, earliest first.
        records: at least one.
        statement: what the signed statement is about; None for a plain signature.
        checks: everything that was checked, in order.
        root: what the caller calls the trusted root that was believed.
    """

    signer: SignerIdentity | None
    key: PublicKey
    times: tuple[ProvenTime, ...]
    records: tuple[LogRecord, ...]
    statement: Statement | None
    checks: tuple[Check, ...]
    root: str = ""

    def to_json(self) -> dict[str, Any]:
        """A tree for machines; its keys are stable."""
        tree: dict[str, Any] = {"root": self.root} if self.root else {}
        if self.signer is not None:
            tree["identity"] = self.signer.name
            tree["issuer"] = self.signer.issuer
            tree["certificate"] = {
                EXTENSION_NAMES[number]: text for number, text in self.signer.extensions
            }
        else:
            tree["keyId"] = self.key.key_id.hex()
        tree["times"] = [
            {"time": to_rfc3339(item.time), "source": item.source, "authority": item.authority}
            for item in self.times
        ]
        tree["log"] = [
            {"log": item.log, "logIndex": item.log_index, "treeSize": item.tree_size}
            for item in self.records
        ]
        if self.statement is not None:
            tree["predicateType"] = self.statement.predicate_type
        tree["checks"] = [check.to_json() for check in self.checks]
        return tree
