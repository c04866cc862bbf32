# SPDX-License-Identifier: Apache-2.0
"""Verifying a bundle, offline, in the numbered steps of the Sigstore client specification.

    0 shape       done by `Bundle.parse`; chains are looked at here
    1 times       every RFC 3161 timestamp and every promise that is there must hold
    2 chain       the certificate was valid at every proven time
    3 SCT         the certificate is on public record
    4 log         every entry is included in a trusted log
    5 body        every entry records this signature, signer and artifact
    6 signature   over the artifact, or over a statement about it
    7 policy      the signer is whom the caller expects

Every step that fails raises; there is no verdict that could be ignored. "Now" is not an input.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from countermark.core.bundle.bundle import Bundle, TransparencyLogEntry
from countermark.core.bundle.trusted_root import TransparencyLog, TrustedRoot
from countermark.core.crypto.certificate import Certificate, name_text
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    AlgorithmRefused,
    IdentityMismatch,
    InclusionInvalid,
    SignatureInvalid,
    TimeUnproven,
    VerificationError,
)
from countermark.core.intoto.envelope import Envelope
from countermark.core.tsp.response import parse_response
from countermark.core.tsp.verify import verify_timestamp
from countermark.core.verify.artifact import Artifact
from countermark.core.verify.body import check_body
from countermark.core.verify.content import check_hint, check_signature, unlogged_uses
from countermark.core.verify.evidence import Check, Evidence, LogRecord, ProvenTime
from countermark.core.verify.log_entry import (
    find_log,
    promised_time,
    verify_inclusion_proof,
    verify_promise,
)
from countermark.core.verify.managed_key import ManagedKey
from countermark.core.verify.policy import AllOf, AnyOf, Policy
from countermark.core.verify.recorded import Signed
from countermark.core.verify.signer import SignerIdentity
from countermark.core.verify.signer_chain import check_chain, check_no_root, check_scts
from countermark.core.verify.words import authority_name, log_name, operator_of, times, utc, window

if TYPE_CHECKING:
    from countermark.core.verify.witness import WitnessPolicy

Expected: TypeAlias = Policy | PublicKey | ManagedKey
"""Who is to have signed: a policy about certified identities, or one key."""


class Thresholds(NamedTuple):
    """How many independent parties must agree; operators count once each.

    One whose operator the trusted root does not name counts by its URL.

    Attributes:
        times: parties that prove a time (keyless signatures only).
        logs: logs that include the entry.
        scts: CT logs that vouch for the certificate.
        unlogged: whether a signature without any log entry is accepted, and a certificate that
            no CT log vouches for: some private instances only timestamp. What is there must
            hold all the same.
    """

    times: int = 1
    logs: int = 1
    scts: int = 1
    unlogged: bool = False


ONE_OF_EACH = Thresholds()


def verify(
    bundle: Bundle,
    artifact: Artifact,
    trusted_root: TrustedRoot,
    policy: Expected,
    *,
    thresholds: Thresholds = ONE_OF_EACH,
    witnesses: "WitnessPolicy | None" = None,
    root_name: str = "",
) -> Evidence:
    """Check that a bundle proves who signed an artifact and when.

    Args:
        bundle: a parsed bundle.
        artifact: what it is said to be about.
        trusted_root: whom to believe.
        policy: who may have signed; a `PublicKey` or `ManagedKey` for bundles of such a key.
        thresholds: how much agreement to ask for.
        witnesses: who must have cosigned the logs' checkpoints; as many logs as `thresholds`
            asks for must be cosigned so.
        root_name: what to call the trusted root in the evidence.

    Raises a VerificationError of the step that failed, FormatError for parts of the bundle that
    cannot be read, RequestRejected for a policy or digest that does not fit the task.
    """
    run = _Verification(bundle, artifact, trusted_root, thresholds, witnesses)
    try:
        return run.run(policy, root_name)
    except AlgorithmRefused as error:
        refused = SignatureInvalid(str(error))
        refused.passed = tuple(run.checks)
        raise refused from error
    except VerificationError as error:
        error.passed = tuple(run.checks)
        raise


class _Remembered:
    """An artifact that is hashed once however often it is asked."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._digests: dict[str, bytes] = {}

    def digest(self, hash_name: str) -> bytes:
        if hash_name not in self._digests:
            self._digests[hash_name] = self._artifact.digest(hash_name)
        return self._digests[hash_name]


class _Verification:
    """One run: the inputs, and the checks that have passed so far."""

    def __init__(
        self,
        bundle: Bundle,
        artifact: Artifact,
        root: TrustedRoot,
        thresholds: Thresholds,
        witnesses: "WitnessPolicy | None",
    ) -> None:
        self.bundle = bundle
        self.artifact = _Remembered(artifact)
        self.root = root
        self.thresholds = thresholds
        self.witnesses = witnesses
        self.checks: list[Check] = []

    def run(self, policy: Expected, root_name: str) -> Evidence:
        bundle = self.bundle
        if isinstance(policy, PublicKey):
            policy = ManagedKey(policy)
        leaf, key = self._signer(policy)
        check_hint(bundle.content, self.artifact)
        proven = self._times()
        if leaf is not None:
            at = [item.time for item in proven]
            issuer, check = check_chain(leaf, at, self.root)
            self.checks.append(check)
            scts = max(1, self.thresholds.scts)
            if self.thresholds.unlogged and scts == 1:
                scts = 0  # nobody asked for more than the usual
            self.checks += check_scts(leaf, issuer, self.root, scts, bundle.detached_scts)
        signed = Signed(bundle.content, bundle.signature, leaf, key, self.artifact)
        records, uses = self._log(signed, [item.time for item in proven])
        uses = uses or [unlogged_uses(bundle.content, key)]
        statement, check = check_signature(bundle.content, self.artifact, uses)
        self.checks.append(check)
        signer = self._expected(policy, leaf, [item.time for item in proven])
        ordered, checks = tuple(sorted(proven)), tuple(self.checks)
        return Evidence(signer, key, ordered, tuple(records), statement, checks, root_name)

    def _signer(self, policy: Policy | ManagedKey) -> tuple[Certificate | None, PublicKey]:
        """Step 0: the certificate or key that the bundle is to be judged by."""
        if self.bundle.public_key_hint is not None:
            hint = self.bundle.public_key_hint
            if not isinstance(policy, ManagedKey):
                raise IdentityMismatch(
                    "the bundle was signed with a managed key: give that key",
                    found=f"a key with the hint {hint[:200]!r}",
                    expected=describe(policy),
                )
            content = self.bundle.content
            if isinstance(content, Envelope):
                keyid = content.signatures[0].keyid
                if keyid and keyid != hint:
                    raise SignatureInvalid(
                        "the bundle names two different keys",
                        found=keyid[:200],
                        expected=hint[:200],
                    )
            return None, policy.key
        leaf, *others = (Certificate.parse(data) for data in self.bundle.certificates)
        if isinstance(policy, ManagedKey):
            raise IdentityMismatch(
                "the bundle was signed by a certified identity, not by a key",
                found=f"a certificate {leaf.serial:x}",
                expected=f"key sha256:{policy.key.key_id.hex()}",
            )
        check_no_root(others)
        return leaf, leaf.public_key

    def _times(self) -> list[ProvenTime]:
        """Step 1: times that trusted parties state."""
        proven: list[ProvenTime] = []
        operators: set[str] = set()
        authorities = self.root.timestamp_authorities
        for stamp in self.bundle.timestamps:
            if not authorities:
                raise TimeUnproven("the trusted root lists no timestamp authority")
            try:
                time, authority = verify_timestamp(stamp, self.bundle.signature, authorities)
            except VerificationError as error:
                error.found = error.found or _stated(stamp)
                error.expected = error.expected or self._trusted_timestampers()
                raise
            proven.append(ProvenTime(time, "timestamp", authority.uri))
            operators.add(operator_of(authority))
            name = authority_name(authority)
            self._passed(
                "timestamp",
                f"{utc(time)}, by {authority.uri}",
                1,
                f"a token over this very signature that states {utc(time)}",
                f"{name}, believed {window(authority.validity)}",
                "the token is signed by the authority's certificate, which is for timestamps "
                "alone and, like every certificate above it, was valid at that time",
            )
        for entry in self.bundle.tlog_entries:
            if not entry.inclusion_promise:
                continue  # an integrated time that nobody signed says nothing
            log = find_log(entry, self.root.tlogs, promised_time(entry))
            time = verify_promise(entry, log)
            proven.append(ProvenTime(time, "log", log.base_url))
            operators.add(operator_of(log))
            self._passed(
                "promise",
                f"{utc(time)}, by {log.base_url}",
                1,
                f"a promise over this entry, index {entry.log_index} and {utc(time)}",
                f"{log_name(log)}, believed {window(log.validity)}",
                "the log's key signed entry, index, log id and time together",
            )
        keyless, wanted = self.bundle.public_key_hint is None, max(1, self.thresholds.times)
        if keyless and len(operators) < wanted:
            raise TimeUnproven(
                f"{len(operators)} trusted parties say when the signature was made, {wanted} must",
                found=", ".join(sorted(operators)) or "no proven time",
                expected=f"{wanted} of " + (self._witnesses_of_time() or "nobody"),
            )
        return proven

    def _trusted_timestampers(self) -> str:
        known = self.root.timestamp_authorities[:8]
        told = ", ".join(f"{authority_name(one)} {window(one.validity)}" for one in known)
        return f"a token over the bundle's signature by one of {told}"

    def _witnesses_of_time(self) -> str:
        names = [operator_of(item) for item in self.root.timestamp_authorities[:8]]
        names += [operator_of(log) for log in self.root.tlogs[:8]]
        return ", ".join(dict.fromkeys(names))

    def _log(
        self, signed: Signed, proven: Sequence[datetime]
    ) -> tuple[list[LogRecord], list[tuple[PublicKey, ...]]]:
        """Steps 4 and 5: every entry is in its log, and records this very signature.

        Gives the records and, for each, the ways in which the key may have been used.
        """
        records: list[LogRecord] = []
        uses: list[tuple[PublicKey, ...]] = []
        operators: set[str] = set()
        witnessed: set[str] = set()
        policy = self.witnesses
        for entry in self.bundle.tlog_entries:
            log = find_log(entry, self.root.tlogs, proven)
            _check_log_window(log, proven)
            record = self._included(entry, log)
            uses.append(check_body(entry, signed))
            self._passed(
                "entry",
                f"{entry.kind} {entry.version} of this signature and signer",
                5,
                "digest, signature and signer in the log's entry",
                "digest, signature and signer in the bundle",
                "they are the same, byte for byte",
            )
            records.append(record)
            operators.add(operator_of(log))
            if policy is not None and record.tree_size:
                check = policy.check_entry(entry, log)
                if check is not None:
                    self.checks.append(check)
                    witnessed.add(operator_of(log))
        wanted = max(1, self.thresholds.logs)
        if self.thresholds.unlogged and not records and policy is None:
            return records, uses
        if len(operators) < wanted:
            known = dict.fromkeys(map(operator_of, self.root.tlogs[:16]))
            raise InclusionInvalid(
                f"{len(operators)} trusted logs record the signature, {wanted} must",
                found=", ".join(sorted(operators)) or "no log entry",
                expected=f"{wanted} of " + (", ".join(known) or "nobody"),
            )
        if policy is not None and len(witnessed) < wanted:
            raise policy.too_few(self.bundle.tlog_entries, len(witnessed), wanted)
        return records, uses

    def _included(self, entry: TransparencyLogEntry, log: TransparencyLog) -> LogRecord:
        proof = entry.inclusion_proof
        size = verify_inclusion_proof(entry, proof, log) if proof is not None else 0
        index = entry.log_index
        if proof is not None and not entry.inclusion_promise:
            index = proof.log_index  # the entry's own is nobody's word then
        if proof is not None and size:
            self._passed(
                "inclusion",
                f"index {index} of {log.base_url}",
                4,
                f"root {proof.root_hash.hex()}, computed from this entry as leaf "
                f"{proof.log_index} and {len(proof.hashes)} hashes",
                f"the root in the checkpoint of size {size} of {log_name(log)}",
                "they are the same, and the checkpoint is signed under the log's name by its key",
            )
        elif not entry.inclusion_promise:
            raise InclusionInvalid(
                "a log entry has neither proof nor promise",
                found=f"index {entry.log_index} of {log_name(log)}, unproven",
                expected="an inclusion proof with checkpoint, or a promise",
            )
        return LogRecord(log.base_url, index, size)

    def _expected(
        self, policy: Policy | ManagedKey, leaf: Certificate | None, proven: Sequence[datetime]
    ) -> SignerIdentity | None:
        """Step 7: the signer is who it is to be."""
        if isinstance(policy, ManagedKey):
            policy.check(proven)
            key = f"sha256:{policy.key.key_id.hex()}"
            self._passed(
                "key",
                f"the expected key, {key}",
                7,
                f"a signature that verifies under key {key}; {times(proven)}",
                f"that key, in use {policy.period}",
                "no other key could have made the signature, and no proven time is outside",
            )
            return None
        assert leaf is not None
        signer = SignerIdentity.from_certificate(leaf)
        found = f"{signer.name} ({signer.kind}), by {signer.issuer or 'no issuer'}"
        try:
            detail = policy.check(signer)
        except IdentityMismatch as error:
            error.found = error.found or found
            error.expected = error.expected or describe(policy)
            raise
        self._passed(
            "identity",
            detail,
            7,
            found,
            describe(policy),
            "the certificate names whom the policy asks for",
        )
        return signer

    def _passed(
        self, name: str, detail: str, step: int, found: str, expected: str, why: str
    ) -> None:
        self.checks.append(Check(name, detail, step, found, expected, why))


def _stated(stamp: bytes) -> str:
    """What a timestamp that is not believed says of itself."""
    token = parse_response(stamp)  # it was read before
    signer, over = name_text(token.signer_issuer), token.info.digest.hex()
    return (
        f"a token of {utc(token.info.time)}, over {token.info.hash_name}:{over}, "
        f"signed with certificate {token.signer_serial:x} of {signer}"
    )


def describe(policy: object) -> str:
    """What a policy asks for, as a phrase."""
    if isinstance(policy, AllOf | AnyOf):
        word = " and " if isinstance(policy, AllOf) else " or "
        parts = [describe(part) for part in policy.policies]
        return parts[0] if len(parts) == 1 else f"({word.join(parts)})"
    fields: dict[str, object] = getattr(policy, "_asdict", dict)()
    told = ", ".join(f"{name} {value}" for name, value in fields.items())
    return told or type(policy).__name__


def _check_log_window(log: TransparencyLog, proven: Sequence[datetime]) -> None:
    # A key that was retired, perhaps because it leaked, must not vouch for later signatures.
    if not all(log.validity.covers(time) for time in proven):
        raise InclusionInvalid(
            f"the trusted root limits the key of {log.base_url} to another time",
            found=f"signed at {times(proven)}",
            expected=window(log.validity),
        )
    if not proven and log.validity.end is not None:
        raise TimeUnproven(
            f"the key of {log.base_url} was retired, and no time is proven to be before that",
            found="no proven time",
            expected=window(log.validity),
        )
