# SPDX-License-Identifier: Apache-2.0
"""What a distrust list means for evidence, and how it could be got around."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from countermark.core.bundle.bundle import (
    Bundle,
    InclusionProof,
    MessageSignature,
    TransparencyLogEntry,
)
from countermark.core.bundle.trusted_root import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
    Validity,
)
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.distrust.check import check_distrust, prune, refusal_of
from countermark.core.distrust.document import DistrustList
from countermark.core.distrust.packages import names_package
from countermark.core.distrust.subject import (
    CertificateHash,
    KeyHash,
    LoggedEntry,
    Package,
    SignerName,
    Subject,
)
from countermark.core.errors import AlgorithmRefused, Distrusted
from countermark.core.intoto.statement import Statement
from countermark.core.intoto.statement import Subject as StatementSubject
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.tsp.request import SIGSTORE_POLICY, TimestampRequest
from countermark.core.tsp.token import TokenTemplate
from countermark.core.verify.evidence import Evidence, ProvenTime
from countermark.core.verify.signer import SignerIdentity
from countermark.drivers.keys.file import P256, create_key
from countermark.drivers.system import SystemEntropy
from countermark.trust.authorities import issue_tsa_chain

NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
LOG_ID = b"i" * 32
BODY = b'{"kind":"hashedrekord"}'
EVE = SignerIdentity("email", "eve@example.org", "https://issuer", ())


@pytest.fixture
def key(tmp_path: Path) -> PublicKey:
    return create_key(tmp_path / "key", P256, b"secret").public_key


def entry(*, index: int = 5, in_tree: int = 2, promise: bytes = b"set") -> TransparencyLogEntry:
    proof = InclusionProof(in_tree, b"r" * 32, 9, (), "checkpoint")
    return TransparencyLogEntry(index, LOG_ID, "hashedrekord", "0.0.1", 1, promise, proof, BODY)


def bundle(logged: TransparencyLogEntry | None = None) -> Bundle:
    content = MessageSignature(b"sig", "SHA2_256", b"d" * 32)
    return Bundle("0.3", (b"certificate",), None, (logged or entry(),), (), content)


def evidence(
    key: PublicKey,
    *,
    signer: SignerIdentity | None = EVE,
    names: tuple[str, ...] = (),
    times: tuple[datetime, ...] = (NOW,),
) -> Evidence:
    statement = None
    if names:
        subjects = tuple(StatementSubject(name, {"sha256": b"d" * 32}) for name in names)
        statement = Statement("https://slsa.dev/provenance/v1", subjects)
    proven = tuple(ProvenTime(time, "log", "https://log") for time in times)
    return Evidence(signer, key, proven, (), statement, ())


def listing(*subjects: Subject) -> DistrustList:
    found = DistrustList.empty("https://sigstore.example.org", NOW)
    for subject in subjects:
        found = found.with_entry(subject, "it leaked", "ada", NOW)
    return found


def why(found: Evidence, signed: Bundle, listed: DistrustList) -> str:
    """Why it is distrusted, and who says so; empty if it is not."""
    try:
        check_distrust(signed, found, [listed])
    except Distrusted as error:
        return "\n".join((str(error), *error.__notes__))
    return ""


def refused(found: Evidence, signed: Bundle, *subjects: Subject) -> bool:
    told = why(found, signed, listing(*subjects))
    assert not told or ("it leaked" in told and "added 2026-11-22T07:00:00Z by ada" in told)
    return bool(told)


def test_keys_certificates_and_names(key: PublicKey) -> None:
    found, signed = evidence(key), bundle()
    digest = hashlib.sha256(b"certificate").digest()
    for subject in (
        KeyHash(key.key_id),
        CertificateHash(digest),
        SignerName("eve@example.org", ""),
        SignerName("Eve@Example.org", "https://issuer/"),
        SignerName("eve@example.org", "https://ISSUER"),
    ):
        assert refused(found, signed, subject), subject
    for subject in (
        KeyHash(digest),
        CertificateHash(key.key_id),
        SignerName("ev@example.org", ""),
        SignerName("eve@example.org.evil.com", ""),
        SignerName("eve@example.org", "https://issuer.evil.com"),
    ):
        assert not refused(found, signed, subject), subject
    assert not refused(evidence(key, signer=None), signed, SignerName("eve@example.org", ""))
    # URIs match exactly: their paths may differ in case.
    workflow = "https://github.com/o/r/.github/workflows/W.yml@refs/heads/main"
    ci = EVE._replace(kind="uri", name=workflow)
    assert refused(evidence(key, signer=ci), signed, SignerName(workflow, ""))
    assert not refused(evidence(key, signer=ci), signed, SignerName(workflow.lower(), ""))


def test_a_lifted_entry_holds_no_more(key: PublicKey) -> None:
    found = listing(KeyHash(key.key_id))
    with pytest.raises(Distrusted):
        check_distrust(bundle(), evidence(key), [found])
    lifted = found.with_lifted(1, "found again", "bob", NOW)
    detail = check_distrust(bundle(), evidence(key), [lifted])
    assert detail == "version 3 of https://sigstore.example.org's list"
    with pytest.raises(Distrusted):  # another list still says so
        check_distrust(bundle(), evidence(key), [lifted, found])


def test_any_proven_time_in_the_window_counts(key: PublicKey) -> None:
    day = timedelta(days=1)
    found = DistrustList.empty("https://s", NOW).with_entry(
        KeyHash(key.key_id), "it leaked", "ada", NOW, start=NOW, end=NOW + day
    )
    for times, good in (
        ((NOW - day,), True),
        ((NOW + 2 * day,), True),
        ((NOW,), False),
        ((NOW + day,), False),
        ((NOW - day, NOW + timedelta(hours=1)), False),
        ((), False),  # a key's signature of no proven time
    ):
        told = why(evidence(key, times=times), bundle(), found)
        assert (not told) is good, times
        assert good or "signatures from 2026-11-22T07:00:00Z to 2026-11-23T07:00:00Z" in told


def test_entries_by_leaf_and_by_index(key: PublicKey) -> None:
    found = evidence(key)
    leaf = LoggedEntry(b"", None, leaf_hash(BODY))
    by_index = LoggedEntry(LOG_ID, 5, b"")
    for logged in (entry(), entry(promise=b""), entry(index=77, promise=b"")):
        assert refused(found, bundle(logged), leaf)
    assert refused(found, bundle(), by_index)
    assert not refused(found, bundle(entry(index=6)), by_index)
    assert not refused(found, bundle(entry(index=6, in_tree=5)), by_index)
    assert not refused(found, bundle(), LoggedEntry(b"o" * 32, 5, b""))
    assert not refused(found, bundle(), LoggedEntry(b"", None, b"o" * 32))
    # Without a promise nobody signed the index: whatever could be the entry is taken for it.
    assert refused(found, bundle(entry(index=77, in_tree=5, promise=b"")), by_index)
    assert refused(found, bundle(entry(index=5, in_tree=2, promise=b"")), by_index)


@pytest.mark.parametrize(
    ("name", "purl", "hit"),
    [
        ("pkg:npm/%40scope/name@1.2.3", "pkg:npm/%40scope/name@1.2.3", True),
        ("pkg:npm/%40sc%6fpe/name@1.2.3", "pkg:npm/%40scope/name@1.2.3", True),
        ("pkg:npm/name@1.2.3?arch=x86#lib", "pkg:npm/name@1.2.3", True),
        ("pkg:npm/name@1.2.30", "pkg:npm/name@1.2.3", False),
        ("pkg:npm/name", "pkg:npm/name@1.2.3", False),
        ("Some.Name-1.0-py3-none-any.whl", "pkg:pypi/some-name@1.0", True),
        ("some_name-1.0-1-cp311-cp311-linux_x86_64.whl", "pkg:pypi/some-name@1.0", True),
        ("some_name-1.0.tar.gz", "pkg:pypi/some-name@1.0", True),
        ("some-name-1.0.zip", "pkg:pypi/some-name@1.0", True),
        ("some_name-1.0.1.tar.gz", "pkg:pypi/some-name@1.0", False),
        ("some_name-1.0.tar.gz", "pkg:npm/some-name@1.0", False),
        ("x" * 5000, "pkg:npm/name@1", False),
        ("", "pkg:npm/name@1", False),
    ],
)
def test_packages(key: PublicKey, name: str, purl: str, hit: bool) -> None:
    assert names_package(name, purl) is hit
    found = evidence(key, names=("other.txt", name))
    assert refused(found, bundle(), Package(purl)) is hit
    assert not refused(evidence(key), bundle(), Package(purl))


def test_a_timestampers_key_that_came_along_with_its_token(tmp_path: Path, key: PublicKey) -> None:
    root = create_key(tmp_path / "tsa-root", P256, b"secret")
    private = create_key(tmp_path / "tsa", P256, b"secret")
    leaf, *_ = issue_tsa_chain("h", root, private.public_key, NOW, SystemEntropy()).chain
    template = TokenTemplate(Certificate.parse(leaf), policy=SIGSTORE_POLICY)
    request = TimestampRequest(
        "sha256", hashlib.sha256(b"sig").digest(), nonce=1, certificates=True
    )
    draft = template.draft(request, serial=2, time=NOW)
    stamp = draft.with_signature(private.sign(draft.message_to_sign))
    stamped = bundle()._replace(timestamps=(stamp,))
    assert refused(evidence(key), stamped, KeyHash(private.public_key.key_id))
    assert not refused(evidence(key), stamped, KeyHash(root.public_key.key_id))
    assert not refused(evidence(key), bundle(), KeyHash(private.public_key.key_id))


def test_a_key_that_cannot_be_read_hides_no_other_of_its_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [create_key(tmp_path / name, P256, b"secret") for name in ("root", "leaf")]
    chain = issue_tsa_chain("h", keys[0], keys[1].public_key, NOW, SystemEntropy()).chain
    readable = Certificate.public_key.fget  # type: ignore[attr-defined]

    def public_key(certificate: Certificate) -> PublicKey:
        if certificate.der == chain[-1]:
            raise AlgorithmRefused("of a curve that is not known here")
        found: PublicKey = readable(certificate)
        return found

    monkeypatch.setattr(Certificate, "public_key", property(public_key))
    authority = CertificateAuthority("h", "tsa", "tsa", chain, Validity(NOW))
    trusted = TrustedRoot((), (), (), (authority,))
    pruned = prune(trusted, [listing(KeyHash(keys[1].public_key.key_id))], [NOW])
    assert pruned is not None
    assert pruned.root.timestamp_authorities == ()


def test_logs_and_authorities_are_left_out_of_the_root(tmp_path: Path, key: PublicKey) -> None:
    def log(name: str) -> TransparencyLog:
        made = create_key(tmp_path / name, P256, b"secret").public_key
        return TransparencyLog(
            name, "SHA2_256", made.spki, made.details, Validity(NOW), made.key_id
        )

    def authority(name: str) -> CertificateAuthority:
        root = create_key(tmp_path / f"{name}-root", P256, b"secret")
        leaf = create_key(tmp_path / name, P256, b"secret").public_key
        chain = issue_tsa_chain("localhost", root, leaf, NOW, SystemEntropy()).chain
        return CertificateAuthority("localhost", name, name, chain, Validity(NOW))

    root = TrustedRoot(
        (log("log"), log("log-2")), (authority("ca"),), (log("ct"),), (authority("tsa"),)
    )
    assert prune(root, [listing(KeyHash(key.key_id))], [NOW]) is None
    tsa = root.timestamp_authorities[0].certificates
    for subject, left in (
        (KeyHash(root.tlogs[0].log_id), root._replace(tlogs=root.tlogs[1:])),
        (KeyHash(root.ctlogs[0].log_id), root._replace(ctlogs=())),
        (KeyHash(tsa[0].public_key.key_id), root._replace(timestamp_authorities=())),
        (KeyHash(tsa[1].public_key.key_id), root._replace(timestamp_authorities=())),
    ):
        found = listing(subject)
        pruned = prune(root, [found], [NOW])
        assert pruned is not None
        assert pruned.root == left
        assert "it leaked" in str(refusal_of(pruned))
        assert prune(root, [found.with_lifted(1, "r", "b", NOW)], [NOW]) is None
        later = DistrustList.empty("https://s", NOW).with_entry(
            subject, "it leaked", "ada", NOW, start=NOW + timedelta(seconds=1)
        )
        assert prune(root, [later], [NOW]) is None
