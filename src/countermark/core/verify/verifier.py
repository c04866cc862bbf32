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

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from countermark.core.bundle.bundle import HASH_ALGORITHMS, Bundle
from countermark.core.bundle.trusted_root import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
)
from countermark.core.crypto import der
from countermark.core.crypto.certificate import EKU_CODE_SIGNING, OID_SCT_LIST, Certificate
from countermark.core.crypto.chain import verify_chain
from countermark.core.crypto.keys import PublicKey
from countermark.core.ct.sct import (
    SignedCertificateTimestamp,
    parse_sct_list,
    sct_message_precert,
)
from countermark.core.errors import (
    AlgorithmRefused,
    ChainInvalid,
    FormatError,
    IdentityMismatch,
    InclusionInvalid,
    RequestRejected,
    SCTInvalid,
    SignatureInvalid,
    TimeUnproven,
)
from countermark.core.intoto.envelope import PAYLOAD_TYPE_IN_TOTO, Envelope
from countermark.core.intoto.statement import Statement, parse_statement
from countermark.core.tsp.verify import verify_timestamp
from countermark.core.verify.artifact import Artifact
from countermark.core.verify.body import Signed, check_body
from countermark.core.verify.evidence import Check, Evidence, LogRecord, ProvenTime
from countermark.core.verify.log_entry import find_log, verify_inclusion_proof, verify_promise
from countermark.core.verify.policy import Policy
from countermark.core.verify.signer import SignerIdentity


class Thresholds(NamedTuple):
    """How many independent parties must agree; operators count once each.

    One whose operator the trusted root does not name counts by its URL.

    Attributes:
        times: parties that prove a time (keyless signatures only).
        logs: logs that include the entry.
        scts: CT logs that vouch for the certificate.
    """

    times: int = 1
    logs: int = 1
    scts: int = 1


ONE_OF_EACH = Thresholds()


def verify(
    bundle: Bundle,
    artifact: Artifact,
    trusted_root: TrustedRoot,
    policy: Policy | PublicKey,
    *,
    thresholds: Thresholds = ONE_OF_EACH,
    root_name: str = "",
) -> Evidence:
    """Check that a bundle proves who signed an artifact and when.

    Args:
        bundle: a parsed bundle.
        artifact: what it is said to be about.
        trusted_root: whom to believe.
        policy: who may have signed; a `PublicKey` for bundles of a managed key.
        thresholds: how much agreement to ask for.
        root_name: what to call the trusted root in the evidence.

    Raises a VerificationError of the step that failed, FormatError for parts of the bundle that
    cannot be read, RequestRejected for a policy or digest that does not fit the task.
    """
    try:
        return _Verification(bundle, artifact, trusted_root, thresholds).run(policy, root_name)
    except AlgorithmRefused as error:
        raise SignatureInvalid(str(error)) from error


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
        self, bundle: Bundle, artifact: Artifact, root: TrustedRoot, thresholds: Thresholds
    ) -> None:
        self.bundle = bundle
        self.artifact = _Remembered(artifact)
        self.root = root
        self.thresholds = thresholds
        self.checks: list[Check] = []

    def run(self, policy: Policy | PublicKey, root_name: str) -> Evidence:
        bundle = self.bundle
        leaf, key = self._signer(policy)
        self._check_hint()
        times = self._times()
        if leaf is not None:
            issuer = self._chain(leaf, times)
            self._sct(leaf, issuer)
        signed = Signed(bundle.content, bundle.signature, leaf, key, self.artifact)
        records, hash_names = self._log(signed, times)
        statement = self._signature(key, hash_names)
        signer = None
        if isinstance(policy, PublicKey):
            self._passed("key", f"the expected key, sha256:{key.key_id.hex()}")
        else:
            assert leaf is not None
            signer = SignerIdentity.from_certificate(leaf)
            self._passed("identity", policy.check(signer))
        ordered, checks = tuple(sorted(times)), tuple(self.checks)
        return Evidence(signer, key, ordered, tuple(records), statement, checks, root_name)

    def _passed(self, name: str, detail: str) -> None:
        self.checks.append(Check(name, detail))

    def _signer(self, policy: Policy | PublicKey) -> tuple[Certificate | None, PublicKey]:
        """Step 0: the certificate or key that the bundle is to be judged by."""
        if self.bundle.public_key_hint is not None:
            if not isinstance(policy, PublicKey):
                raise IdentityMismatch("the bundle was signed with a managed key: give that key")
            content = self.bundle.content
            if isinstance(content, Envelope):
                keyid = content.signatures[0].keyid
                if keyid and keyid != self.bundle.public_key_hint:
                    raise SignatureInvalid("the bundle names two different keys")
            return None, policy
        if isinstance(policy, PublicKey):
            raise IdentityMismatch("the bundle was signed by a certified identity, not by a key")
        leaf, *others = (Certificate.parse(data) for data in self.bundle.certificates)
        for other in others:
            if other.is_self_issued and other.basic_constraints()[0]:
                raise ChainInvalid("the bundle brings a root certificate along")
        return leaf, leaf.public_key

    def _times(self) -> list[ProvenTime]:
        """Step 1: times that trusted parties state."""
        times: list[ProvenTime] = []
        operators: set[str] = set()
        for stamp in self.bundle.timestamps:
            if not self.root.timestamp_authorities:
                raise TimeUnproven("the trusted root lists no timestamp authority")
            time, authority = verify_timestamp(
                stamp, self.bundle.signature, self.root.timestamp_authorities
            )
            times.append(ProvenTime(time, "timestamp", authority.uri))
            operators.add(authority.operator or authority.uri)
            self._passed("timestamp", f"{_utc(time)}, by {authority.uri}")
        for entry in self.bundle.tlog_entries:
            if not entry.inclusion_promise:
                continue  # an integrated time that nobody signed says nothing
            log = find_log(entry, self.root.tlogs)
            time = verify_promise(entry, log)
            times.append(ProvenTime(time, "log", log.base_url))
            operators.add(log.operator or log.base_url)
            self._passed("promise", f"{_utc(time)}, by {log.base_url}")
        keyless = self.bundle.public_key_hint is None
        if keyless and len(operators) < max(1, self.thresholds.times):
            raise TimeUnproven(
                f"{len(operators)} trusted parties say when the signature was made, "
                f"{max(1, self.thresholds.times)} must"
            )
        return times

    def _chain(self, leaf: Certificate, times: list[ProvenTime]) -> Certificate:
        """Step 2: an authority that was believed, and a valid path, at every proven time."""
        refusal: ChainInvalid | None = None
        for authority in self.root.certificate_authorities:
            issuers = authority.certificates
            if issuers[0].subject != leaf.issuer:
                continue
            try:
                for proven in times:
                    if not authority.validity.covers(proven.time):
                        raise ChainInvalid("the trusted root limits the authority to another time")
                    verify_chain(leaf, issuers, proven.time, purpose=EKU_CODE_SIGNING)
            except ChainInvalid as error:
                refusal = error
                continue
            self._passed("certificate", f"issued by {_name(authority)}, valid at the proven time")
            return issuers[0]
        raise refusal or ChainInvalid("the certificate's issuer is not in the trusted root")

    def _sct(self, leaf: Certificate, issuer: Certificate) -> None:
        """Step 3: embedded SCTs of trusted CT logs; those of unknown logs are passed over."""
        vouching: dict[str, str] = {}
        for sct in _scts(leaf.der):
            time = _from_ms(sct.timestamp_ms)
            for log in self.root.ctlogs:
                if log.log_id == sct.log_id and log.validity.covers(time):
                    _verify_sct(leaf.der, issuer.der, sct, log.public_key)
                    vouching[log.operator or log.base_url] = f"{_utc(time)}, by {log.base_url}"
        if len(vouching) < max(1, self.thresholds.scts):
            raise SCTInvalid(
                f"{len(vouching)} trusted certificate logs vouch for the certificate, "
                f"{max(1, self.thresholds.scts)} must"
            )
        for detail in vouching.values():
            self._passed("sct", detail)

    def _log(
        self, signed: Signed, times: list[ProvenTime]
    ) -> tuple[list[LogRecord], frozenset[str]]:
        """Steps 4 and 5: every entry is in its log, and records this very signature.

        Gives the records and the hashes that they say the artifact was signed under.
        """
        records: list[LogRecord] = []
        hash_names: set[str] = set()
        operators: set[str] = set()
        for entry in self.bundle.tlog_entries:
            log = find_log(entry, self.root.tlogs)
            self._check_log_window(log, times)
            proof = entry.inclusion_proof
            size = verify_inclusion_proof(entry, proof, log) if proof is not None else 0
            index = entry.log_index
            if proof is not None and not entry.inclusion_promise:
                index = proof.log_index  # the entry's own is nobody's word then
            if size:
                self._passed("inclusion", f"index {index} of {log.base_url}")
            elif not entry.inclusion_promise:
                raise InclusionInvalid("a log entry has neither proof nor promise")
            hash_names.add(check_body(entry, signed))
            self._passed("entry", f"{entry.kind} {entry.version} of this signature and signer")
            records.append(LogRecord(log.base_url, index, size))
            operators.add(log.operator or log.base_url)
        if len(operators) < max(1, self.thresholds.logs):
            raise InclusionInvalid(
                f"{len(operators)} trusted logs record the signature, "
                f"{max(1, self.thresholds.logs)} must"
            )
        return records, frozenset(hash_names)

    @staticmethod
    def _check_log_window(log: TransparencyLog, times: list[ProvenTime]) -> None:
        # A key that was retired, perhaps because it leaked, must not vouch for later signatures.
        if not all(log.validity.covers(proven.time) for proven in times):
            raise InclusionInvalid(
                f"the trusted root limits the key of {log.base_url} to another time"
            )
        if not times and log.validity.end is not None:
            raise TimeUnproven(
                f"the key of {log.base_url} was retired, and no time is proven to be before that"
            )

    def _check_hint(self) -> None:
        # Nobody signed the hint, but a changed file is best told of by what was wrong with it.
        content = self.bundle.content
        if isinstance(content, Envelope) or not content.digest:
            return
        hash_name = HASH_ALGORITHMS.get(content.hash_algorithm)
        if hash_name is None:
            raise FormatError("messageDigest", "is of an unknown algorithm")
        if self.artifact.digest(hash_name) != content.digest:
            raise SignatureInvalid("the artifact is not the one that was signed")

    def _signature(self, key: PublicKey, hash_names: frozenset[str]) -> Statement | None:
        """Step 6: the signature over the artifact, or over a statement that lists it."""
        content = self.bundle.content
        if isinstance(content, Envelope):
            key.verify(content.signatures[0].sig, content.pae(), "signature")
            if content.payload_type != PAYLOAD_TYPE_IN_TOTO:
                named = content.payload_type[:200]
                raise SignatureInvalid(f"a {named!r} payload names no artifact")
            statement = parse_statement(content.payload)
            name = self._subject(statement)
            self._passed("signature", f"over a statement about {name or 'the artifact'}")
            return statement
        for hash_name in hash_names:
            # Old clients hashed with SHA-256 for every curve, and the log entry says if so.
            if hash_name not in (key.hash_name, "sha256") or not key.hash_name:
                raise SignatureInvalid(f"a {key.details} key does not sign {hash_name} digests")
            digest = self.artifact.digest(hash_name)
            key.verify_digest(content.signature, digest, hash_name, "signature")
        self._passed("signature", "over the artifact")
        return None

    def _subject(self, statement: Statement) -> str:
        unknown: RequestRejected | None = None
        for subject in statement.subjects:
            try:
                if subject.digests and all(
                    self.artifact.digest(hash_name) == digest
                    for hash_name, digest in subject.digests.items()
                ):
                    return subject.name
            except RequestRejected as error:  # the one digest at hand is of another algorithm
                unknown = error
        raise unknown or SignatureInvalid("the signed statement is about other artifacts")


@lru_cache(maxsize=256)
def _scts(leaf_der: bytes) -> tuple[SignedCertificateTimestamp, ...]:
    extension = Certificate.parse(leaf_der).extension(OID_SCT_LIST)
    if extension is None:
        raise SCTInvalid("the certificate carries no SCT")
    return parse_sct_list(der.decode(extension.value, "SCT list", der.OCTET_STRING).content)


@lru_cache(maxsize=256)
def _verify_sct(
    leaf_der: bytes, issuer_der: bytes, sct: SignedCertificateTimestamp, key: PublicKey
) -> None:
    # Remembered: all signatures that a signer makes at a time share a certificate.
    leaf, issuer = Certificate.parse(leaf_der), Certificate.parse(issuer_der)
    message = sct_message_precert(
        sct.timestamp_ms, issuer.issuer_key_hash, leaf.tbs_without(OID_SCT_LIST), sct.extensions
    )
    sct.verify(key, message)


def _from_ms(timestamp_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise FormatError("SCT", "states no possible time") from error


def _name(authority: CertificateAuthority) -> str:
    return authority.uri or authority.common_name or "a trusted authority"


def _utc(time: datetime) -> str:
    return f"{time.isoformat(' ', 'seconds')[:19]} UTC"
