# SPDX-License-Identifier: Apache-2.0
"""One changed bundle before three judges, and what their disagreement means.

A bundle that we accept and both peers refuse is a finding, unless it is only spelled oddly: then
the same content, spelled canonically, is accepted by a peer. Every other difference with one
peer must be one that `rules` knows.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_base64
from countermark.core.errors import CountermarkError
from countermark.core.intoto.envelope import Envelope
from countermark.core.tsp.response import parse_response
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.policy import Identity, Policy
from countermark.core.verify.verifier import verify
from fuzz.differential.bundles import Mutant
from fuzz.differential.peers import Peer, Question, Verdict
from fuzz.differential.rules import RULES, UNSIGNED, Rule
from fuzz.differential.spelling import spellings

_MEDIA_TYPES = {
    "0.1": "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "0.2": "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "0.3": "application/vnd.dev.sigstore.bundle.v0.3+json",
}


class Case(NamedTuple):
    """A mutant and what everybody says of it."""

    mutant: Mutant
    ours: Verdict
    theirs: dict[str, Verdict]

    @property
    def verdicts(self) -> str:
        """In a word, for counting."""
        return " ".join(
            f"{name} {'accepts' if verdict.ok else 'refuses'}"
            for name, verdict in (("countermark", self.ours), *self.theirs.items())
        )

    def describe(self) -> str:
        """Everything that is needed to look into it."""
        said = [f"{self.mutant.base.name}, change {self.mutant.change}"]
        for name, verdict in (("countermark", self.ours), *self.theirs.items()):
            said.append(
                f"  {name}: {'accepts' if verdict.ok else f'{verdict.kind}: {verdict.why}'}"
            )
        return "\n".join(said)


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        cases: how many bundles were judged.
        accepted: how many we accepted.
        agreed: how many all judges agreed on.
        explained: how often each rule explained a difference.
        unexplained: those that none did.
    """

    cases: int = 0
    accepted: int = 0
    agreed: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[Case] = field(default_factory=list)


def question_of(mutant: Mutant) -> Question:
    """What all judges are asked."""
    base = mutant.base
    return Question(mutant.data, mutant.artifact, base.root, base.san, base.issuer, base.key)


def our_verdict(question: Question) -> Verdict:
    """Ours. Any exception but our own errors is a finding, and so passes through."""
    policy: Policy | PublicKey = Identity(question.san, question.issuer)
    try:
        if question.key:
            policy = PublicKey.from_pem(question.key)
        bundle = Bundle.parse(question.bundle)
        verify(bundle, BytesArtifact(question.artifact), _root(question.root), policy)
    except CountermarkError as error:
        return Verdict(False, error.code, str(error))
    return Verdict(True)


@lru_cache(maxsize=64)
def _root(path: str) -> TrustedRoot:
    return TrustedRoot.parse(Path(path).read_bytes())


def judge(mutants: Iterable[Mutant], peers: Sequence[Peer]) -> Outcome:
    """Ask everybody about every mutant."""
    outcome = Outcome()
    for mutant in mutants:
        question = question_of(mutant)
        ours = our_verdict(question)
        case = Case(mutant, ours, {peer.name: peer.ask(question) for peer in peers})
        outcome.cases += 1
        outcome.accepted += ours.ok
        if all(verdict.ok == ours.ok for verdict in case.theirs.values()):
            outcome.agreed += 1
            continue
        rules = explain(case, peers)
        outcome.explained.update(rules)
        if not rules:
            outcome.unexplained.append(case)
    return outcome


def explain(case: Case, peers: Sequence[Peer]) -> list[str]:
    """The ids that explain every difference of a case; none if any of them is left."""
    if case.ours.ok:
        return _explain_acceptance(case, peers)
    rules = [_rule(peer.name, False, case.ours) for peer in peers if case.theirs[peer.name].ok]
    return [rule.name for rule in rules if rule is not None] if all(rules) else []


def _explain_acceptance(case: Case, peers: Sequence[Peer]) -> list[str]:
    """Why we accept what others refuse: they would, were it spelled plainly, or a rule says so."""
    spelled = spellings(case.mutant.data)
    question = question_of(case.mutant)
    plain = question._replace(bundle=canonical(case.mutant.data))
    restored = question._replace(bundle=canonical(case.mutant.data, case.mutant.base.data))
    found: set[str] = set()
    believers, judges = 0, 0
    for peer in peers:
        verdict = case.theirs[peer.name] if case.theirs[peer.name].ok else peer.ask(plain)
        if not verdict.ok and restored.bundle != plain.bundle and peer.ask(restored).ok:
            verdict = Verdict(True)
            found.add(UNSIGNED)
        rule = None if verdict.ok else _rule(peer.name, True, verdict)
        believers += verdict.ok
        judges += not (rule is not None and rule.lacks)
        if case.theirs[peer.name].ok:
            continue
        names = {rule.name} if rule is not None else spelled if verdict.ok else set[str]()
        if not names and UNSIGNED not in found:
            return []
        found |= names
    # Alone we believe only what one of those that know of such bundles believes too, but for
    # what the rules of a peer say of it when the other one knows of no such bundles.
    return sorted(found) if believers or judges < len(peers) else []


def _rule(peer: str, we_accept: bool, refusal: Verdict) -> Rule | None:
    for rule in RULES:
        if rule.explains(peer, we_accept, refusal):
            return rule
    return None


def canonical(data: bytes, original: bytes = b"") -> bytes:
    """What we understood of a bundle, in the spelling that everybody reads, same version.

    With an original, its timestamps stand for those whose signed parts are the same.
    """
    bundle = Bundle.parse(data)
    if original:
        known = {_signed_part(stamp): stamp for stamp in Bundle.parse(original).timestamps}
        known_ones = [known.get(_signed_part(stamp), stamp) for stamp in bundle.timestamps]
        bundle = bundle._replace(timestamps=tuple(known_ones))
    material: dict[str, Any] = {}
    if bundle.public_key_hint is not None:
        material["publicKey"] = {"hint": bundle.public_key_hint}
    elif bundle.version == "0.3":
        material["certificate"] = {"rawBytes": to_base64(bundle.certificates[0])}
    else:
        chain = [{"rawBytes": to_base64(data)} for data in bundle.certificates]
        material["x509CertificateChain"] = {"certificates": chain}
    material["tlogEntries"] = [_entry(entry) for entry in bundle.tlog_entries]
    if bundle.timestamps:
        stamps = [{"signedTimestamp": to_base64(stamp)} for stamp in bundle.timestamps]
        material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    tree: dict[str, Any] = {
        "mediaType": _MEDIA_TYPES[bundle.version],
        "verificationMaterial": material,
    }
    content = bundle.content
    if isinstance(content, Envelope):
        tree["dsseEnvelope"] = {
            "payload": to_base64(content.payload),
            "payloadType": content.payload_type,
            "signatures": [
                {"sig": to_base64(item.sig), "keyid": item.keyid} for item in content.signatures
            ],
        }
    else:
        tree["messageSignature"] = {"signature": to_base64(content.signature)}
        if content.digest:
            digest = {"algorithm": content.hash_algorithm, "digest": to_base64(content.digest)}
            tree["messageSignature"]["messageDigest"] = digest
    return json.dumps(tree).encode("ascii")


def _signed_part(stamp: bytes) -> tuple[bytes, bytes, bytes]:
    token = parse_response(stamp)
    return token.info.der, token.signed_bytes, token.signature


def _entry(entry: Any) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "logIndex": str(entry.log_index),
        "logId": {"keyId": to_base64(entry.log_id)},
        "kindVersion": {"kind": entry.kind, "version": entry.version},
        "integratedTime": str(entry.integrated_time),
        "canonicalizedBody": to_base64(entry.canonicalized_body),
    }
    if entry.inclusion_promise:
        tree["inclusionPromise"] = {"signedEntryTimestamp": to_base64(entry.inclusion_promise)}
    if (proof := entry.inclusion_proof) is not None:
        tree["inclusionProof"] = {
            "logIndex": str(proof.log_index),
            "rootHash": to_base64(proof.root_hash),
            "treeSize": str(proof.tree_size),
            "hashes": [to_base64(item) for item in proof.hashes],
        }
        if proof.checkpoint:
            tree["inclusionProof"]["checkpoint"] = {"envelope": proof.checkpoint}
    return tree
